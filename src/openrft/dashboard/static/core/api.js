// @ts-check
/**
 * The way to the server: its public API, with the cookie that logging in has set.
 *
 *     const job = await get(`/v1/fine_tuning/jobs/${id}`);
 *     await post(`/v1/fine_tuning/jobs/${id}/pause`);
 *
 * Every failure is an {@link ApiError} with the sentence that the server said.
 */
import { navigate } from "./router.js";

const HEADER = { "x-openrft": "1" };
const MOST_TRIES = 5;
const MOST_WAIT = 5; // seconds

export class ApiError extends Error {
  /**
   * @param {number} status HTTP status; 0 when the server could not be reached
   * @param {string} message
   * @param {{code?: string|null, param?: string|null, requestId?: string|null}} [more]
   */
  constructor(status, message, more = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = more.code ?? null;
    this.param = more.param ?? null;
    this.requestId = more.requestId ?? null;
  }
}

/**
 * @param {string} path
 * @param {Record<string, any>} [params] query; null, undefined and "" are left out, arrays are repeated
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export const get = (path, params, options = {}) => ask("GET", path + queryOf(params), undefined, options);

/**
 * @param {string} path
 * @param {any} [body] JSON
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export const post = (path, body, options = {}) => ask("POST", path, body, options);

/** @param {string} path @returns {Promise<any>} */
export const remove = (path) => ask("DELETE", path);

/**
 * Upload a file.
 * @param {File} file
 * @param {string} [purpose]
 * @returns {Promise<any>} the file object
 */
export async function upload(file, purpose = "fine-tune") {
  const form = new FormData();
  form.append("purpose", purpose);
  form.append("file", file);
  return read(await reach("/v1/files", { method: "POST", headers: HEADER, body: form }));
}

/**
 * Text of a file or an export.
 * @param {string} path
 * @param {{signal?: AbortSignal}} [options]
 */
export async function text(path, options = {}) {
  const answer = await reach(path, { headers: HEADER, signal: options.signal });
  if (!answer.ok) await read(answer);
  return answer.text();
}

/**
 * The pieces of an answer that streams by server-sent events (`data: {…}` lines, `[DONE]` at the end).
 * @param {string} path
 * @param {any} body
 * @param {{signal?: AbortSignal}} [options]
 * @returns {AsyncGenerator<any>}
 */
export async function* stream(path, body, options = {}) {
  const answer = await reach(path, { ...jsonRequest("POST", body), signal: options.signal });
  if (!answer.ok || !answer.body) await read(answer);
  const reader = /** @type {ReadableStream} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6).trim();
      if (data === "[DONE]") return;
      const piece = JSON.parse(data);
      if (piece.error) throw new ApiError(500, piece.error.message, piece.error);
      yield piece;
    }
  }
}

/**
 * Every item of a list, page by page.
 * @param {string} path
 * @param {Record<string, any>} [params]
 * @param {number} [most] items after which it stops
 * @returns {Promise<any[]>}
 */
export async function all(path, params = {}, most = 1000) {
  const found = [];
  let after;
  do {
    const page = await get(path, { limit: 100, ...params, after });
    found.push(...page.data);
    after = page.has_more ? (page.next_cursor ?? page.last_id) : undefined;
  } while (after && found.length < most);
  return found;
}

/** @param {Record<string, any>} [params] */
export function queryOf(params) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") search.append(name, String(one));
    }
  }
  const written = search.toString();
  return written ? `?${written}` : "";
}

/** @param {string} method @param {string} path @param {any} [body] @param {{signal?: AbortSignal}} [options] */
async function ask(method, path, body, options = {}) {
  const request = { ...jsonRequest(method, body), signal: options.signal };
  let answer = await reach(path, request);
  // The server does few heavy things at once and says when to come back.
  for (let tries = 0; method === "GET" && answer.status === 429 && tries < MOST_TRIES; tries += 1) {
    const seconds = Number(answer.headers.get("retry-after") ?? NaN);
    if (!(seconds <= MOST_WAIT)) break;
    await new Promise((done) => setTimeout(done, 1000 * (seconds || 0.5)));
    if (options.signal?.aborted) throw new DOMException("gone", "AbortError");
    answer = await reach(path, request);
  }
  return read(answer);
}

/** @param {string} method @param {any} body @returns {RequestInit} */
function jsonRequest(method, body) {
  if (body === undefined) return { method, headers: HEADER };
  return { method, headers: { ...HEADER, "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** @param {string} path @param {RequestInit} request */
async function reach(path, request) {
  try {
    return await fetch(path, request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached. Is openrft serve still running?");
  }
}

/** @param {Response} answer */
async function read(answer) {
  const requestId = answer.headers.get("x-request-id");
  if (answer.status === 204) return null;
  const isJson = (answer.headers.get("content-type") ?? "").includes("json");
  const body = isJson ? await answer.json() : await answer.text();
  if (answer.ok) return body;
  if (answer.status === 401 && location.pathname !== "/login") {
    navigate(`/login?next=${encodeURIComponent(location.pathname + location.search)}`, { replace: true });
  }
  const error = body?.error ?? {};
  throw new ApiError(answer.status, error.message ?? `The server answered ${answer.status}.`, { ...error, requestId });
}
