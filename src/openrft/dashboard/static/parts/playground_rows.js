// @ts-check
/** Rows of files and rollouts as prompts: the messages that a model is asked, and the item that a grader reads. */
import { get, text } from "../core/api.js";
import { bytes } from "../core/format.js";

const MOST_BYTES = 32e6; // of a file that the page reads whole
const ROLES = new Set(["system", "developer", "user", "assistant", "tool"]);

/**
 * @typedef {{role: string, content: string}} Message
 * @typedef {{messages: Message[], item: any, lines: number|null}} Source
 */

/** @type {{file: string, lines: Promise<string[]>}|null} */
let kept = null; // the file that was read last: going from row to row asks once

/**
 * What the address points to: a line of a file, or a rollout of a job with the row of its training file.
 * @param {{file?: string, line?: string, job?: string, rollout?: string}} query
 * @returns {Promise<Source|null>}
 */
export async function readSource({ file, line, job, rollout }) {
  if (file) return fromFile(file, Number(line ?? 1));
  if (!job || !rollout) return null;
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(job)}`;
  const [found, whole] = await Promise.all([get(`${path}/rollouts/${encodeURIComponent(rollout)}`), get(path)]);
  const row = await fromFile(whole.training_file, found.line).catch(() => null); // deleted; its prompt is still here
  return { messages: messagesOf(found.prompt), item: row?.item ?? null, lines: null };
}

/** @param {string} file @param {number} line @returns {Promise<Source>} */
async function fromFile(file, line) {
  if (kept?.file !== file) kept = { file, lines: readLines(file) };
  const lines = await kept.lines.catch((error) => {
    kept = null;
    throw error;
  });
  const written = lines[line - 1];
  if (!written?.trim()) throw new Error(`The file has no row at line ${line}; it has ${lines.length} lines.`);
  const row = JSON.parse(written);
  const item = row.item ?? row; // rows of evals are wrapped
  const messages = row.messages ?? [{ role: "user", content: JSON.stringify(item, null, 2) }];
  return { messages: messagesOf(messages), item, lines: lines.length };
}

/** @param {string} file */
async function readLines(file) {
  const path = `/v1/files/${encodeURIComponent(file)}`;
  const facts = await get(path);
  if (facts.bytes > MOST_BYTES) {
    throw new Error(`${facts.filename} has ${bytes(facts.bytes)}, too much to pick rows from. Paste a prompt instead.`);
  }
  return (await text(`${path}/content`)).replace(/\n+$/, "").split("\n");
}

/**
 * A conversation up to where the model speaks, with what requests may carry.
 * @param {any[]} messages
 * @returns {Message[]}
 */
function messagesOf(messages) {
  const known = messages.filter((one) => ROLES.has(one.role));
  const last = known.findLastIndex((one) => one.role !== "assistant");
  return known.slice(0, last + 1).map((one) => ({ role: one.role, content: textOf(one.content) }));
}

/** @param {any} content */
const textOf = (content) =>
  typeof content === "string" ? content : Array.isArray(content) ? content.map((part) => part.text ?? "").join("") : "";
