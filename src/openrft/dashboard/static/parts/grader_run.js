// @ts-check
/** A grader tried on some rows: the base model answers, or a person does, and every grade is shown whole. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get, post, stream } from "../core/api.js";
import { count, duration, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { Chip, Problem } from "./elements.js";
import { errorsOf, hasFailed } from "./grade_errors.js";
import { Line, Messages, Text } from "./text.js";

/**
 * @typedef {Object} Trial
 * @property {number} line
 * @property {any} item the row
 * @property {string} answer
 * @property {"idle"|"answering"|"grading"|"done"} state
 * @property {any} result answer of graders/run
 * @property {any} error
 */

/**
 * @param {{grader: string, isGood: boolean, model: string, fileId: string, numRows: number, method: string, options?: any}} props
 *   `grader`: its JSON; `options`: what the chat request gets besides, as a response format
 */
export function GraderRun({ grader, isGood, model, fileId, numRows, method, options = {} }) {
  const [wanted, setWanted] = useState({ rows: 4, from: 1 });
  const [trials, setTrials] = useState(/** @type {Trial[]} */ ([]));
  const [error, setError] = useState(/** @type {any} */ (null));
  const abort = useRef(/** @type {AbortController|null} */ (null));
  const [isAtWork, setAtWork] = useState(false);
  useEffect(() => () => abort.current?.abort(), []);
  const change = (/** @type {number} */ at, /** @type {Partial<Trial>} */ more) =>
    setTrials((all) => all.map((one, index) => (index === at ? { ...one, ...more } : one)));

  const load = async () => {
    const { rows } = await get(`/v1/files/${fileId}/preview`, { method, rows: wanted.rows, after: wanted.from - 1 });
    /** @type {Trial[]} */
    const fresh = rows.map((/** @type {any} */ row) => ({ line: row.line, item: row.content, answer: "", state: "idle", result: null, error: null }));
    setTrials(fresh);
    return fresh;
  };
  const grade = async (/** @type {number} */ at, /** @type {Trial} */ trial, /** @type {AbortSignal} */ signal) => {
    change(at, { state: "grading", error: null });
    try {
      const body = { grader: JSON.parse(grader), item: trial.item, model_sample: trial.answer };
      change(at, { state: "done", result: await post("/v1/fine_tuning/alpha/graders/run", body, { signal }) });
    } catch (one) {
      change(at, { state: "done", result: null, error: signal.aborted ? null : one });
    }
  };
  const answer = async (/** @type {number} */ at, /** @type {Trial} */ trial, /** @type {AbortSignal} */ signal) => {
    change(at, { state: "answering", answer: "", result: null, error: null });
    let text = "";
    const body = { model, messages: promptOf(trial.item), stream: true, ...options };
    for await (const piece of stream("/v1/chat/completions", body, { signal })) {
      text += piece.choices?.[0]?.delta?.content ?? "";
      change(at, { answer: text });
    }
    return { ...trial, answer: text };
  };
  /** @param {(at: number, trial: Trial, signal: AbortSignal) => Promise<void>} work @param {() => Promise<Trial[]>} which */
  const each = async (work, which) => {
    abort.current = new AbortController();
    const { signal } = abort.current;
    setAtWork(true);
    setError(null);
    let at = 0;
    try {
      // One after the other: the table fills from the top, and a small machine is not asked for all at once.
      for (const trial of await which()) {
        if (signal.aborted) break;
        await work(at, trial, signal);
        at += 1;
      }
    } catch (one) {
      if (!signal.aborted) setError(one);
      change(at, { state: "idle" });
    }
    setAtWork(false);
  };
  const answerAll = () => each(async (at, trial, signal) => grade(at, await answer(at, trial, signal), signal), load);
  const gradeAll = () => each(grade, async () => trials);
  const number = (/** @type {string} */ name) => (/** @type {any} */ e) => setWanted({ ...wanted, [name]: Math.max(1, Number(e.currentTarget.value) || 1) });
  const done = trials.filter((one) => one.result);
  return html`<div class="stack" id="grader-run">
    <div class="row">
      <label>Rows <input class="short" type="number" min="1" max="50" value=${wanted.rows}
        onInput=${number("rows")} /></label>
      <label>from line <input class="short" type="number" min="1" value=${wanted.from}
        onInput=${number("from")} /></label>
      <button type="button" class="primary" disabled=${!isGood || !model || !fileId || isAtWork}
        onClick=${answerAll}>Let ${model || "the base model"} answer, and grade</button>
      <button type="button" disabled=${!fileId || isAtWork}
        onClick=${() => load().catch(setError)}>Type answers myself</button>
      <button type="button" disabled=${!isGood || isAtWork || trials.length === 0}
        onClick=${gradeAll}>Grade again</button>
      ${isAtWork && html`<button type="button" onClick=${() => abort.current?.abort()}>Stop</button>`}
    </div>
    ${!fileId ? html`<p class="hint">Choose a training file first.</p>` : !isGood ? html`<p
      class="hint">The grader has to be well-formed first.</p>`
      : numRows > 0 && trials.length === 0 ? html`<p
        class="hint">An answer that your grader fails on shows here in seconds; in training it would cost the job.</p>` : null}
    <${Problem} error=${error} />
    ${trials.length > 0 && html`<${Trials} trials=${trials} change=${change} isAtWork=${isAtWork} />
      <p class="hint" role="status" data-graded=${done.length}>${done.length} of ${trials.length} graded${summaryOf(done)}</p>`}
  </div>`;
}

/** What the grades come to. Those that failed are no zeros. @param {Trial[]} done */
function summaryOf(done) {
  const rewards = done.filter((one) => !hasFailed(one.result)).map((one) => one.result.reward);
  const failed = done.length - rewards.length;
  const mean = rewards.reduce((sum, one) => sum + one, 0) / rewards.length;
  return [
    failed ? `, ${failed} of them failed` : "",
    rewards.length ? `, mean reward ${failed ? "of the others " : ""}${reward(mean)}` : "", ".",
    rewards.length > 1 && new Set(rewards).size === 1 ? " All the same: a grader that tells no answers apart teaches nothing." : "",
  ].join("");
}

/** @param {{trials: Trial[], change: (at: number, more: Partial<Trial>) => void, isAtWork: boolean}} props */
const Trials = ({ trials, change, isAtWork }) => html`<div class="table-box" role="region"
  aria-label="Graded sample rows" tabindex="0"><table class="trials">
  <thead><tr><th scope="col">Row</th><th scope="col">Answer</th><th scope="col" class="number">Reward</th>
    <th scope="col">Parts</th>
    <th scope="col">Errors</th><th scope="col" class="number">Time</th>
      <th scope="col" class="number">Tokens</th></tr></thead>
  <tbody>${trials.map((one, at) => html`<tr key=${one.line} data-state=${one.state}>
    <th scope="row"><details><summary>Line ${one.line}: <${Line} text=${lastOf(one.item)} most=${80} /></summary>
      <${Messages} messages=${promptOf(one.item)} /><${Text} text=${withoutPrompt(one.item)}
        label="Other keys of the row" /></details></th>
    <td><textarea rows="3" class="mono" aria-label=${`Answer to line ${one.line}`} value=${one.answer}
      readonly=${isAtWork} dir="auto"
      placeholder=${one.state === "answering" ? "…" : "type or paste an answer"}
      onInput=${(/** @type {any} */ e) => change(at, { answer: e.currentTarget.value, result: null, state: "idle" })}></textarea></td>
    ${one.result ? html`<${GradeCells} result=${one.result} />` : html`<td
      class="number">${one.state === "grading" ? "…" : "–"}</td><td></td>
      <td>${one.error && html`<span class="wrong-note" role="alert">${one.error.message}</span>`}</td><td></td>
        <td></td>`}
  </tr>`)}</tbody></table></div>`;

/** Cells of a grade, as graders/run tells it. @param {{result: any}} props */
function GradeCells({ result }) {
  const { metadata } = result;
  const flags = errorsOf(result);
  const details = Object.entries(metadata.errors).filter(([, value]) => typeof value === "string" && value !== "");
  const parts = Object.entries(metadata.scores ?? {});
  const tokens = metadata.token_usage;
  return html`<td class="number" data-reward=${result.reward}>${hasFailed(result) ? html`<s
    title="Grading failed. In training that is no zero: the answer is left out">${reward(0)}</s>` : reward(result.reward)}</td>
    <td>${parts.map(([name, score]) => html`<div class="part-score">
      <${Line} text=${name} most=${40} /> <strong>${score === null ? "failed" : reward(/** @type {number} */ (score))}</strong></div>`)}</td>
    <td>${flags.map((name) => html`<${Chip}
      tone=${name === "sample_parse_error" ? "warn" : "bad"}>${name.replaceAll("_", " ")}</${Chip}> `)}
      ${details.map(([name, text]) => html`<${Text} text=${text} label=${name.replaceAll("_", " ")} most=${1500} />`)}
      ${flags.length === 0 && html`<span class="faint">none</span>`}</td>
    <td class="number">${duration(metadata.execution_time)}</td>
    <td class="number" title=${tokens ? `${tokens.prompt_tokens} read, ${tokens.completion_tokens} written by ${metadata.sampled_model_name ?? "models"}` : "no model was asked"}>${tokens ? count(tokens.total_tokens) : "–"}</td>`;
}

/** What the model is asked: a row's messages without the answer that a supervised row ends with. @param {any} item */
export function promptOf(item) {
  const messages = Array.isArray(item?.messages) ? item.messages : [];
  return messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;
}

/** @param {any} item */
const lastOf = (item) => promptOf(item).at(-1)?.content ?? "";

/** @param {any} item */
const withoutPrompt = (item) => Object.fromEntries(Object.entries(item).filter(([key]) => key !== "messages"));
