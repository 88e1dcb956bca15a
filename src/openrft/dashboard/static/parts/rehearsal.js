// @ts-check
/** A rehearsal: whether a job can learn, and what that is concluded from. */
import { change, count, duration, interval, number, percent, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { Chip } from "./elements.js";
import { ScoreBars } from "./score_bars.js";
import { Line, Text } from "./text.js";

/** @type {[string, string, string][]} */
const OUTCOMES = [["all_wrong", "all wrong", "bad"], ["mixed", "mixed", "good"], ["all_right", "all right", "quiet"]];

/** @param {{found: any, isOld?: boolean}} props `isOld`: the form has changed since */
export const Rehearsal = ({ found, isOld = false }) => html`<section class="panel stack" aria-label="Rehearsal"
  id="rehearsal" data-verdict=${found.verdict}>
  <header class="section-head"><h3>${found.can_learn ? "It can learn" : "As it is, it cannot learn"}</h3>
    <${Chip} tone=${found.can_learn ? "good" : "bad"}>${found.verdict.replaceAll("_", " ")}</${Chip}>
    ${isOld && html`<${Chip} tone="warn">of an earlier version of this form</${Chip}>`}</header>
  <p>${found.sentence}</p>
  ${found.advice && html`<p><strong>What to do:</strong> ${found.advice}</p>`}
  ${found.findings.filter((/** @type {any} */ one) => one.sentence !== found.sentence).map((/** @type {any} */ one) => html`<div class="notice">
    <${Chip} tone=${one.stops ? "bad" : "warn"}>${one.code.replaceAll("_", " ")}</${Chip}> ${one.sentence}${one.advice ? html`<br /><span class="faint">${one.advice}</span>` : null}</div>`)}
  <p class="hint">${found.num_rows} of ${found.num_file_rows} training rows × ${found.num_samples} answers of ${found.model}; an answer passes from ${number(found.passing_score)} on.</p>
  <table class="bars"><caption class="unseen">Prompts by what their answers came to</caption><tbody>
    ${OUTCOMES.map(([name, title, tone]) => html`<tr><th scope="row">${title}</th>
      <td class="number">${percent(found.outcomes[name].value)}</td>
      <td class="faint">${percent(found.outcomes[name].low)} to ${percent(found.outcomes[name].high)}</td>
      <td class="bar-cell ${tone}" aria-hidden="true"><span
        style=${{ width: `${100 * found.outcomes[name].value}%` }}></span></td></tr>`)}</tbody></table>
  <dl class="facts">
    <dt title="Prompts whose answers get different scores: only they teach anything">With a signal</dt>
    <dd>${found.is_signal_lower_bound ? "at least " : ""}${percent(found.signal.value)} at group size ${found.group_size}</dd>
    <dt>Mean score</dt><dd>${interval(found.mean_score?.value, found.mean_score?.low, found.mean_score?.high)}</dd>
    <dt>Graded</dt><dd>${count(found.coverage.num_graded)} of ${count(found.coverage.num_answers)} answers</dd>
    <dt>Cut off</dt><dd>${count(found.readability.num_truncated)} at ${found.max_completion_tokens} tokens${found.readability.num_unparsed ? `; ${count(found.readability.num_unparsed)} did not parse` : ""}</dd>
    <dt>Graded twice</dt><dd>${found.repeats && found.repeats.num_answers ? (found.repeats.num_changed ? `${found.repeats.num_changed} of ${found.repeats.num_answers} changed` : "always the same score") : "not tried"}</dd>
    <dt>A grade takes</dt><dd>${duration(found.latency?.p50_seconds)}, at most ${duration(found.latency?.max_seconds)}</dd>
    <dt>The job</dt><dd>${count(found.size.num_steps)} steps, ${count(found.size.num_answers)} answers, ${duration(found.pace?.job_seconds)} without updates</dd>
    ${found.spending.map((/** @type {any} */ one) => html`<dt>Grader ${one.model}</dt>
      <dd>${one.job_cost === null || one.job_cost === undefined ? "no price known" : `about ${number(one.job_cost)} for the job`}</dd>`)}
  </dl>
  ${found.coverage.errors.map((/** @type {any} */ one) => html`<div>
    <${Chip} tone="bad">${String(one.kind ?? one.code).replaceAll("_", " ")}</${Chip}> ${one.grader ?? ""} × ${one.count}
    <${Text} text=${one.message} label="The commonest failure" most=${1500} /></div>`)}
  <${ScoreBars} title="Scores of all answers" buckets=${found.histogram} />
  <${Exploits} attacks=${found.attacks} />
  <details><summary>Highest and lowest graded answers</summary>
    ${[["Highest", found.highest], ["Lowest", found.lowest]].map(([title, some]) => html`<h4>${title}</h4>${some.map((/** @type {any} */ one) => html`<div class="raw-row">
      <span class="role">Line ${one.line}: <strong>${reward(one.score)}</strong></span>
        <${Text} text=${one.prompt} most=${400} /><${Text} text=${one.answer} most=${600} />
      <p class="hint"><${Line} text=${one.explanation} most=${300} /></p></div>`)}`)}</details>
</section>`;

/** Answers without content: none of them should be paid. @param {{attacks: any[]}} props */
function Exploits({ attacks }) {
  const exploits = attacks.filter((one) => one.is_exploit).length;
  return html`<details open=${exploits > 0}><summary>Paid without an answer? ${exploits ? `${exploits} exploit${exploits === 1 ? "" : "s"}` : "nothing found"}</summary>
    <div class="table-box" tabindex="0" role="region" aria-label="Answers without content"><table><thead><tr>
      <th scope="col">Instead of an answer</th><th scope="col" class="number">Score</th>
      <th scope="col" class="number">Passed</th><th scope="col" class="number">Against the base [95 %]</th></tr></thead>
        <tbody>
      ${[...attacks].sort((a, b) => Number(b.is_exploit) - Number(a.is_exploit) || (b.mean ?? 0) - (a.mean ?? 0)).map((one) => html`<tr>
        <th scope="row">${one.is_exploit && html`<${Chip}
          tone="bad">exploit</${Chip}>`} ${one.name}${one.is_control ? " (for comparison: no model sees it)" : ""}</th>
        <td class="number">${reward(one.mean)}</td><td class="number">${one.num_passed} of ${one.num_rows}</td>
        <td class="number">${change(one.difference)} [${change(one.low)}, ${change(one.high)}]</td></tr>`)}</tbody></table></div></details>`;
}
