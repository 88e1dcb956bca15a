// @ts-check
/** One rollout as a card: in a group beside the others, in lists one below the other. */
import { useEffect, useRef } from "preact/hooks";
import { count } from "../core/format.js";
import { html } from "../core/html.js";
import { query } from "../core/router.js";
import { Chip } from "./elements.js";
import { Grade } from "./grade.js";
import { afterThoughts, Output } from "./output.js";
import { Advantage, reasonName, Reward, whyLeftOut } from "./reward.js";
import { Line, Messages, Text } from "./text.js";

/**
 * @param {{rollout: any, job: string, range?: [number, number], search?: string, most?: number, isInList?: boolean,
 *   isCurrent?: boolean}} props `isInList`: it tells its step and prompt, which a group has in common
 */
export function Completion({ rollout, job, range, search = "", most = 1500, isInList = false, isCurrent = false }) {
  const place = `Step ${rollout.step}, sample ${rollout.sample + 1}`;
  return html`<article class="completion ${isInList ? "in-list" : ""}" tabindex="-1"
      aria-label=${`${place}: rollout ${rollout.id}`} data-item=${rollout.id} data-current=${isCurrent || null}>
    <header class="completion-head">
      <${Reward} reward=${rollout.reward} range=${range} isLeftOut=${rollout.left_out !== null} />
      <${Advantage} advantage=${rollout.advantage} />
      <a class="place" href=${addressOf(job, rollout.id)}>${isInList ? place : `Sample ${rollout.sample + 1}`}</a>
    </header>
    <${Marks} rollout=${rollout} />
    <div class="completion-parts">
      <div class="completion-body">
        ${isInList && html`<${Prompt} rollout=${rollout} job=${job} search=${search} />`}
        <${Output} output=${rollout.output} search=${search} most=${most} />
        <${Answer} rollout=${rollout} />
      </div>
      <${Grade} grade=${rollout.grade} search=${search} />
    </div>
  </article>`;
}

/**
 * Completions of one prompt. The one that the address names by its `sample`, as an alert does, is marked and in view.
 * @param {{rollouts: any[], job: string, range: [number, number]}} props
 */
export function SideBySide({ rollouts, job, range }) {
  const box = useRef(/** @type {HTMLDivElement|null} */ (null));
  const isMeant = (/** @type {any} */ one) => String(one.sample) === query.value.sample;
  useEffect(() => {
    const meant = /** @type {HTMLElement|null|undefined} */ (box.current?.querySelector("[data-current]"));
    if (box.current && meant) box.current.scrollLeft = meant.offsetLeft - box.current.offsetLeft;
  }, [query.value.sample]);
  return html`<div class="columns" role="region" tabindex="0" aria-label="Completions side by side" ref=${box}>
    ${rollouts.map((one) => html`<${Completion} key=${one.id} rollout=${one} job=${job} range=${range} most=${1200}
      isCurrent=${isMeant(one)} />`)}</div>`;
}

/** The address of a job's rollouts. @param {string} job */
const pageOf = (job) => `/finetune/${encodeURIComponent(job)}/rollouts`;

/** The address of a rollout. @param {string} job @param {string} rollout */
export const addressOf = (job, rollout) => `${pageOf(job)}/${encodeURIComponent(rollout)}`;

/** The address of a prompt across steps. @param {string} job @param {string} example */
export const exampleAddress = (job, example) => `${pageOf(job)}?example=${encodeURIComponent(example)}`;

/** What is to be known of a rollout beside its reward. @param {{rollout: any}} props */
export const Marks = ({ rollout }) => html`<div class="row rollout-marks">
  <span class="faint" title="Tokens of the answer">${count(rollout.completion_tokens)} tokens</span>
  ${rollout.reasoning_tokens
    ? html`<span class="faint">${count(rollout.reasoning_tokens)} of them thoughts</span>`
    : null}
  ${rollout.finish_reason === "length"
    ? html`<${Chip} tone="warn" title="It reached the limit of tokens before it ended">cut at the limit</${Chip}>`
    : null}
  ${rollout.left_out
    ? html`<${Chip} tone="warn" title=${whyLeftOut(rollout.left_out)}>left out: ${reasonName(rollout.left_out)}</${Chip}>`
    : null}
  ${rollout.grade?.error ? html`<${Chip} tone="bad">grading failed</${Chip}>` : null}
</div>`;

/** What the graders read, where that is something else than the output after its thoughts. @param {{rollout: any}} props */
export const Answer = ({ rollout }) =>
  typeof rollout.answer === "string" && rollout.answer.trim() !== afterThoughts(rollout.output).trim()
    ? html`<div class="answer"><span class="faint">The answer that is graded</span>
        <${Text} text=${rollout.answer} most=${600} label="Answer" /></div>`
    : null;

/**
 * The prompt in a list: its end in a line, whole when opened.
 * @param {{rollout: any, job: string, search: string}} props
 */
const Prompt = ({ rollout, job, search }) => html`<details class="prompt" open=${isFound(rollout.prompt, search)}>
  <summary><${Line} text=${lastOf(rollout.prompt)} most=${160} /></summary>
  <${Messages} messages=${rollout.prompt} search=${search} />
  <p><a href=${exampleAddress(job, rollout.example)}>This prompt at every step</a></p>
</details>`;

/** @param {any} prompt */
const lastOf = (prompt) => {
  const content = Array.isArray(prompt) ? prompt.at(-1)?.content : prompt;
  return Array.isArray(content) ? content.map((part) => part?.text ?? "").join("") : content;
};

/** @param {any} prompt @param {string} search */
const isFound = (prompt, search) =>
  search !== "" && (JSON.stringify(prompt) ?? "").toLowerCase().includes(JSON.stringify(search).slice(1, -1).toLowerCase());
