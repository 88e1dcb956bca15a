// @ts-check
/** Runs side by side: how they ended, what they were told differently, and their models on the same rows. */
import { change, count, duration, interval, isNumber, number, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { Chip, Section, Status } from "./elements.js";
import { elapsed, methodOf } from "./job_rows.js";
import { Table } from "./table.js";
import { Line } from "./text.js";

/**
 * @typedef {Object} Run
 * @property {string} id
 * @property {string} label told apart from the other runs' labels
 * @property {any} summary of the API
 * @property {any} settings of the API, or null
 * @property {Record<string, import("./compare_axis.js").Line>} series
 */

/** @param {{runs: Run[]}} props */
export function EndTable({ runs }) {
  const last = (/** @type {Run} */ run, /** @type {string} */ name) => run.series[name]?.values.findLast(isNumber) ?? null;
  const value = (/** @type {Run} */ run, /** @type {number|null} */ one) => (methodOf(run.summary) === "supervised" ? number(one) : reward(one));
  return html`<${Table} label="Results" rows=${runs} rowKey=${(/** @type {Run} */ run) => run.id} columns=${[
    { title: "Run", isHead: true, cell: (/** @type {Run} */ run) => html`<a href=${`/finetune/${run.id}`}><${Line} text=${run.label} most=${50} /></a>` },
    { title: "Status", cell: (/** @type {Run} */ run) => html`<${Status} status=${run.summary.job.status} />` },
    { title: "Base", isNumber: true, cell: (/** @type {Run} */ run) => value(run, run.summary.base) },
    { title: "Best", isNumber: true, cell: (/** @type {Run} */ run) => value(run, run.summary.best) },
    { title: "Gain, 95 % interval", isNumber: true, cell: (/** @type {Run} */ run) => html`<${Gain} run=${run} />` },
    { title: "Steps", isNumber: true, cell: (/** @type {Run} */ run) => count(run.summary.step) },
    { title: "Training", isNumber: true, cell: (/** @type {Run} */ run) => minutes(last(run, "time/spent_minutes")) },
    { title: "From start to end", isNumber: true, cell: (/** @type {Run} */ run) => duration(elapsed(run.summary.job)) },
    { title: "Samples", isNumber: true, cell: (/** @type {Run} */ run) => count(last(run, "rollout/total")) },
    { title: "Tokens", isNumber: true, cell: (/** @type {Run} */ run) => count(last(run, "spent/tokens")) },
    { title: "Grader cost", isNumber: true, cell: (/** @type {Run} */ run) => money(last(run, "spent/grader_cost")) },
  ]} />`;
}

/** @param {{run: Run}} props */
function Gain({ run }) {
  const { report, gain } = run.summary;
  if (isNumber(report?.gain)) {
    const isLoss = methodOf(run.summary) === "supervised";
    const text = isLoss ? `${number(report.gain)} [${number(report.low)}, ${number(report.high)}]` : (report.gain > 0 ? "+" : "") + interval(report.gain, report.low, report.high);
    return html`<span title=${report.sentence}>${text}</span>`;
  }
  return isNumber(gain) ? html`${change(gain)} <span class="faint">so far</span>` : "–";
}

/** @param {number|null} value */
const minutes = (value) => duration(value === null ? null : 60 * value);

/** @param {number|null} value US dollars, by the prices in the settings */
const money = (value) => (isNumber(value) ? `$${value.toFixed(2)}` : "–");

/** @param {{runs: Run[], rows: {key: string, values: (string|undefined)[]}[]}} props */
export const DiffTable = ({ runs, rows }) => html`<div class="differs"><${Table} label="Configuration" rows=${rows}
  rowKey=${(/** @type {any} */ row) => row.key} columns=${[
    { title: "Option", isHead: true, cell: (/** @type {any} */ row) => html`<code>${row.key}</code>` },
    ...runs.map((run, place) => ({
      title: html`<${Line} text=${run.label} most=${40} />`,
      cell: (/** @type {any} */ row) => (row.values[place] === undefined ? html`<span class="faint">not set</span>` : html`<${Line} text=${row.values[place]} most=${200} />`),
    })),
  ]} /></div>`;

/**
 * @param {{comparison: any, runs: Run[]}} props `comparison`: `fine_tuning.comparison` of the API
 */
export function SameRows({ comparison, runs }) {
  const label = (/** @type {string} */ id) => runs.find((run) => run.id === id)?.label ?? id;
  const [first] = runs;
  return html`<${Section} id="same-rows" title="On the same held-out rows"
      note=${`Each model less that of ${first.label}, row by row: what makes a row hard is in both and cancels.`}>
    <${Table} label="On the same held-out rows" rows=${comparison.pairs} rowKey=${(/** @type {any} */ pair) => pair.second} columns=${[
      { title: "Run", isHead: true, cell: (/** @type {any} */ pair) => html`<${Line} text=${label(pair.second)} most=${50} />` },
      { title: "Rows in both", isNumber: true, cell: (/** @type {any} */ pair) => count(pair.rows?.paired) },
      { title: "First run", isNumber: true, cell: (/** @type {any} */ pair) => written(pair, pair.first_mean) },
      { title: "This run", isNumber: true, cell: (/** @type {any} */ pair) => written(pair, pair.second_mean) },
      { title: "Difference, 95 % interval", isNumber: true, cell: (/** @type {any} */ pair) => differenceOf(pair) },
      { title: "p", isNumber: true, cell: (/** @type {any} */ pair) => number(pair.p_value) },
      { title: "Better / worse / same", isNumber: true, cell: (/** @type {any} */ pair) => (pair.problem === null ? `${pair.better} / ${pair.worse} / ${pair.same}` : "–") },
      { title: "Verdict", cell: (/** @type {any} */ pair) => html`<${Verdict} pair=${pair} />` },
    ]} />
  </${Section}>`;
}

/** @param {any} pair @param {number|undefined} value */
const written = (pair, value) => (pair.metric === "loss" ? number(value) : reward(value));

/** @param {any} pair */
function differenceOf(pair) {
  if (pair.problem !== null) return "–";
  const [low, high] = pair.interval;
  return pair.metric === "loss" ? `${number(pair.difference)} [${number(low)}, ${number(high)}]` : (pair.difference > 0 ? "+" : "") + interval(pair.difference, low, high);
}

/** @param {{pair: any}} props */
function Verdict({ pair }) {
  if (pair.problem !== null) return html`<span class="faint">${pair.problem}</span>`;
  const [low, high] = pair.interval;
  const isLoss = pair.metric === "loss";
  const caution = pair.same_grader ? "" : " Their graders differ, so the scores may not mean the same.";
  if (low <= 0 && high >= 0) return html`<${Chip}>no difference shown</${Chip}>${caution}`;
  const isBetter = isLoss ? high < 0 : low > 0;
  return html`<${Chip} tone=${isBetter ? "good" : "bad"}>${isBetter ? "better" : "worse"}</${Chip}>${caution}`;
}
