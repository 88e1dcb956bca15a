// @ts-check
/** What one model answered: text as it comes, how fast, and what the grader says once an answer has ended. */
import { post } from "../core/api.js";
import { count, duration, number, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Busy, Chip, Problem } from "./elements.js";
import { errorsOf, hasFailed } from "./grade_errors.js";
import { Output } from "./output.js";
import { Reward } from "./reward.js";
import { Line, Text } from "./text.js";

/** @typedef {import("./playground_run.js").Answer} Answer */

/**
 * @param {{model: string, answer: Answer|null, grader: any, item: any, stop: () => void, remove: (() => void)|null}}
 *   props
 */
export function Column({ model, answer, grader, item, stop, remove }) {
  return html`<section class="panel answer-column" aria-label=${model} data-model=${model}
    data-status=${answer?.status ?? "empty"}>
    <header class="row"><h2><${Line} text=${model} most=${90} /></h2><span class="actions">
      ${answer?.status === "running" && html`<button type="button" class="small" onClick=${stop}
        aria-label=${`Stop ${model}`}>Stop</button>`}
      ${remove && html`<button type="button" class="small" onClick=${remove}
        aria-label=${`Take ${model} out`}>✕</button>`}</span></header>
    <p class="faint" role="status">${answer ? figuresOf(answer) : "Not asked yet."}</p>
    ${answer?.error && html`<${Problem} error=${answer.error} />`}
    ${answer?.choices.map((choice, place) => html`<${Choice} key=${place} choice=${choice}
      title=${answer.choices.length > 1 ? `Sample ${place + 1}` : "Answer"}
      isRunning=${answer.status === "running"} grader=${grader} item=${item} />`)}
  </section>`;
}

/** @param {Answer} answer */
function figuresOf(answer) {
  if (answer.status === "running" && answer.first === null) return "Waiting for the first token …";
  const { tokens, seconds, first } = answer;
  const speed = tokens && seconds !== null && first !== null ? tokens / Math.max(seconds - first, 1e-3) : null;
  const parts = [
    answer.first !== null && html`<span data-first-token=${answer.first}>first token ${duration(answer.first)}</span>`,
    answer.tokens !== null && html`<span>${count(answer.tokens)} tokens</span>`,
    speed !== null && html`<span data-speed=${speed}>${number(Math.round(speed * 10) / 10)} tokens/s</span>`,
    answer.status === "stopped" && html`<span>stopped</span>`,
  ].filter(Boolean);
  return parts.map((part, place) => html`${place ? " · " : ""}${part}`);
}

/**
 * @param {{choice: import("./playground_run.js").Choice, title: string, isRunning: boolean, grader: any, item: any}}
 *   props
 */
function Choice({ choice, title, isRunning, grader, item }) {
  const isEnded = choice.finish !== null;
  return html`<article class="answer-card" aria-label=${title}
    data-characters=${choice.text.length + choice.reasoning.length} data-ended=${isEnded}>
    ${choice.reasoning && html`<details
      open=${!choice.text}><summary>Thoughts (${count(choice.reasoning.length)} characters)</summary><${Text}
        text=${choice.reasoning} label="Thoughts" /></details>`}
    ${choice.text ? html`<${Output} output=${choice.text} most=${8000} />` : isRunning ? html`<p
      class="faint">…</p>` : isEnded && html`<p class="faint">The answer is empty.</p>`}
    ${choice.finish === "length" && html`<${Chip} tone="warn"
      title="It reached the limit of tokens before it ended">cut at the limit</${Chip}>`}
    ${isEnded && grader && html`<${LiveGrade} grader=${grader} item=${item} text=${choice.text} />`}
  </article>`;
}

/** What the grader says of an answer. @param {{grader: any, item: any, text: string}} props */
function LiveGrade({ grader, item, text }) {
  const body = { grader, model_sample: text, item };
  const path = "/v1/fine_tuning/alpha/graders/run";
  const found = useLoad((signal) => post(path, body, { signal }), [JSON.stringify(body)]);
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return html`<${Busy} what="Grading" />`;
  const { reward: score, sub_rewards: parts, metadata } = found.data;
  return html`<div class="live-grade" role="group" aria-label="Grade" data-reward=${score}>
    <div class="row"><${Reward} reward=${hasFailed(found.data) ? null : score} />
      ${Object.entries(parts).map(([name, value]) => html`<span class="faint"><${Line} text=${name}
        most=${40} /> ${reward(/** @type {number} */ (value))}</span>`)}
      <span class="faint">graded in ${duration(metadata.execution_time)}</span></div>
    ${errorsOf(found.data).map((name) => html`<p
      class="wrong-note">${name.replaceAll("_", " ")}${detailOf(metadata.errors, name)}</p>`)}
  </div>`;
}

/** @param {any} errors @param {string} name */
function detailOf(errors, name) {
  const detail = errors[`${name}_details`] ?? errors[`${name}_type`];
  return detail ? html`: <${Line} text=${detail} most=${300} />` : "";
}
