// @ts-check
/** A grade whole: its score, why, what the grader read and printed, what failed, and the same of every part. */
import { count, duration, isNumber, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { visible } from "../core/visible.js";
import { Chip } from "./elements.js";
import { Dot } from "./reward.js";
import { Line, Text } from "./text.js";

/**
 * @param {{grade: any, name?: string, search?: string, isOpen?: boolean, depth?: number}} props
 *   `isOpen`: what was printed is shown at once
 */
export function Grade({ grade, name = grade.grader, search = "", isOpen = false, depth = 0 }) {
  const parts = Object.entries(grade.sub_grades ?? {});
  return html`<div class="grade" role="group" aria-label=${`Grade ${visible(String(name))}`} data-score=${grade.score ?? "none"}>
    <div class="grade-head"><${Dot} reward=${grade.score} />
      <span class="grade-name"><${Line} text=${name} most=${60} /></span>
      <span class="number">${isNumber(grade.score) ? reward(grade.score) : "no score"}</span></div>
    ${grade.unparsed && html`<${Chip} tone="warn" title="The answer is not the JSON that the grader reads">did not parse</${Chip}>`}
    <${Failure} title="Failed" error=${grade.error} />
    <${Failure} title="Failed; the grader's invalid_grade stands in" error=${grade.replaced} />
    ${isText(grade.extracted) && html`<div class="row"><span class="faint">Read from the answer:</span>
      <code><${Line} text=${grade.extracted} most=${200} /></code></div>`}
    ${grade.explanation && html`<div class="small-text">
      <${Text} text=${grade.explanation} most=${600} search=${search} label="Explanation" /></div>`}
    ${grade.printed && html`<details open=${isOpen || Boolean(grade.error)}>
      <summary>Printed by the grader (${count(grade.printed.length)} characters)</summary>
      <div class="printed"><${Text} text=${grade.printed} most=${2000} label="Printed" /></div></details>`}
    ${isOpen && html`<${Spent} grade=${grade} />`}
    ${parts.length > 0 && depth < 20 && html`<div class="grade-parts">${parts.map(
      ([key, part]) => html`<${Grade} key=${key} grade=${part} name=${key} search=${search} isOpen=${isOpen}
        depth=${depth + 1} />`,
    )}</div>`}
  </div>`;
}

/** @param {any} value */
const isText = (value) => value !== null && value !== undefined && value !== "";

/** @param {{title: string, error: any}} props */
const Failure = ({ title, error }) =>
  error
    ? html`<div class="failure"><p><b>${title}</b>: <${Line} text=${error.kind} most=${60} /></p>
        <div class="printed"><${Text} text=${error.message} most=${1500} label="Error" /></div></div>`
    : null;

/** What grading took. @param {{grade: any}} props */
function Spent({ grade }) {
  const models = Object.entries(grade.usage ?? {});
  const isSlow = grade.seconds >= 0.001;
  if (!isSlow && !models.length) return null;
  return html`<p class="faint">${isSlow ? `Took ${duration(grade.seconds)}. ` : ""}
    ${models.map(
      ([model, used]) => html`<span><${Line} text=${model} most=${60} />:
        ${` ${count(used.prompt_tokens)} tokens in, ${count(used.completion_tokens)} out. `}</span>`,
    )}</p>`;
}
