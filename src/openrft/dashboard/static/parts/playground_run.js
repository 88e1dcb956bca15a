// @ts-check
/** One model answering: its stream, and what is measured of it. */
import { ApiError, stream } from "../core/api.js";

const LOADING = 503; // models answer a little later than the server does
const MOST_TRIES = 30;

/**
 * @typedef {{text: string, reasoning: string, finish: string|null}} Choice
 * @typedef {{model: string, status: "running"|"done"|"stopped"|"failed", choices: Choice[], first: number|null,
 *   seconds: number|null,
 *   tokens: number|null, error: any}} Answer `first`: seconds until the first piece; `seconds`: until the end
 */

/**
 * Ask `model`, and tell every change, at most one for each picture that the browser draws.
 * @param {string} model
 * @param {any} asked the body beside the model
 * @param {(answer: Answer) => void} changed
 * @returns {{stop: () => void}}
 */
export function ask(model, asked, changed) {
  const abort = new AbortController();
  const began = performance.now();
  const since = () => (performance.now() - began) / 1000;
  /** @type {Answer} */
  const answer = {
    model, status: "running", choices: choicesFor(asked.n ?? 1), first: null, seconds: null, tokens: null, error: null,
  };
  let frame = 0;
  const show = () => {
    frame = 0;
    changed({ ...answer, choices: answer.choices.map((choice) => ({ ...choice })) });
  };
  const later = () => (frame ||= requestAnimationFrame(show));

  const run = async () => {
    try {
      for await (const piece of pieces({ model, ...asked }, abort.signal)) {
        if (piece.usage) answer.tokens = piece.usage.completion_tokens;
        for (const one of piece.choices) {
          if (add(answer.choices[one.index], one)) answer.first ??= since();
        }
        later();
      }
      answer.status = "done";
    } catch (error) {
      answer.status = abort.signal.aborted ? "stopped" : "failed";
      answer.error = abort.signal.aborted ? null : error;
    }
    answer.seconds = since();
    cancelAnimationFrame(frame);
    show();
  };
  show();
  run();
  return { stop: () => abort.abort() };
}

/**
 * The stream; while the server is still loading what answers, it is asked again.
 * @param {any} body
 * @param {AbortSignal} signal
 */
async function* pieces(body, signal) {
  const asked = { ...body, stream: true, stream_options: { include_usage: true } };
  for (let tries = 1; ; tries += 1) {
    try {
      return yield* stream("/v1/chat/completions", asked, { signal });
    } catch (error) {
      const isLoading = error instanceof ApiError && error.status === LOADING && tries < MOST_TRIES;
      if (!isLoading) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

/** @param {number} count @returns {Choice[]} */
const choicesFor = (count) => Array.from({ length: count }, () => ({ text: "", reasoning: "", finish: null }));

/** Whether the piece brought any text. @param {Choice|undefined} choice @param {any} piece */
function add(choice, piece) {
  if (!choice) return false;
  const { content, reasoning_content: reasoning, refusal, tool_calls: calls } = piece.delta;
  const text = (content ?? "") + (refusal ?? "") + (calls ? JSON.stringify(calls) : "");
  choice.text += text;
  choice.reasoning += reasoning ?? "";
  choice.finish = piece.finish_reason ?? choice.finish;
  return Boolean(text || reasoning);
}
