// @ts-check
/** Who works and who waits: a lane for each part of a step, the latest steps one after another. */
import { duration, isNumber, percent } from "../core/format.js";
import { html } from "../core/html.js";
import { Table } from "./table.js";

const STEPS = 12;
const LANES = /** @type {const} */ (["Sampler", "Grader", "Trainer", "Evaluation"]);
const COLORS = { Sampler: 1, Grader: 2, Trainer: 3, Evaluation: 4 };

/** @typedef {{lane: typeof LANES[number], from: number, seconds: number, step: number}} Stretch */

/**
 * When each lane works, in seconds since the first of the steps.
 * @param {Record<string, import("../core/series.js").Points>} series
 * @returns {{stretches: Stretch[], ends: {step: number, at: number}[], total: number}}
 */
export function laneStretches(series) {
  const steps = (series["time/step_seconds"]?.steps ?? []).slice(-STEPS);
  /** @type {Map<string, Map<number, any>>} */
  const known = new Map();
  const value = (/** @type {string} */ name, /** @type {number} */ step) => {
    if (!known.has(name)) known.set(name, new Map(series[name]?.steps.slice(-2 * STEPS).map((one, place) => [one, series[name].values.slice(-2 * STEPS)[place]])));
    const found = known.get(name)?.get(step);
    return isNumber(found) ? found : 0;
  };
  /** @type {Stretch[]} */
  const stretches = [];
  const ends = [];
  let now = 0;
  for (const step of steps) {
    const add = (/** @type {Stretch["lane"]} */ lane, /** @type {number} */ seconds) => {
      if (seconds > 0) stretches.push({ lane, from: now, seconds, step });
      now += Math.max(0, seconds);
    };
    const begun = now;
    add("Sampler", value("time/sampling_seconds", step));
    add("Grader", value("time/grading_seconds", step) + value("time/waiting_seconds", step));
    add("Trainer", value("time/update_seconds", step));
    now = Math.max(now, begun + value("time/step_seconds", step));
    add("Evaluation", value("time/evaluation_seconds", step));
    ends.push({ step, at: now });
  }
  return { stretches, ends, total: now };
}

/** @param {{series: Record<string, any>}} props */
export function Timeline({ series }) {
  const { stretches, ends, total } = laneStretches(series);
  if (!total) return html`<p class="faint">No step has been timed yet.</p>`;
  const used = LANES.filter((lane) => stretches.some((one) => one.lane === lane));
  const lanes = used.map((lane) => {
    const busy = stretches.filter((one) => one.lane === lane).reduce((sum, one) => sum + one.seconds, 0);
    return { lane, busy, idle: 1 - busy / total };
  });
  const sentence = lanes.map(({ lane, idle }) => `${lane} idle ${percent(idle)}`).join(", ");
  return html`<figure class="timeline" id="timeline" data-steps=${ends.length}>
    <svg viewBox=${`0 0 1000 ${30 * used.length}`} style=${{ height: `${30 * used.length}px` }} preserveAspectRatio="none" role="img" aria-label=${`The latest ${ends.length} steps, ${duration(total)}: ${sentence}`}>
      ${used.map((_, row) => html`<rect x="0" y=${row * 30 + 4} width="1000" height="22" class="lane" />`)}
      ${stretches.map((one) => html`<rect x=${(1000 * one.from) / total} y=${used.indexOf(one.lane) * 30 + 4} width=${Math.max(0.8, (1000 * one.seconds) / total)} height="22"
        style=${{ fill: `var(--series-${COLORS[one.lane]})` }}><title>${`Step ${one.step}, ${one.lane.toLowerCase()}: ${duration(one.seconds)}`}</title></rect>`)}
      ${ends.slice(0, -1).map(({ at }) => html`<line x1=${(1000 * at) / total} x2=${(1000 * at) / total} y1="0" y2="200" class="step-end" />`)}
    </svg>
    <${Table} label="Lanes" rows=${lanes} columns=${[
      { title: "Lane", isHead: true, cell: (/** @type {any} */ row) => html`<span class="swatch dots" style=${{ color: `var(--series-${COLORS[/** @type {Stretch["lane"]} */ (row.lane)]})` }}></span> ${row.lane}` },
      { title: "Busy", isNumber: true, cell: (/** @type {any} */ row) => duration(row.busy) },
      { title: "Idle", isNumber: true, cell: (/** @type {any} */ row) => percent(row.idle) },
    ]} />
  </figure>`;
}

const KINDS = [
  { name: "Minutes", spent: "time/spent_minutes", budget: "budget/minutes", write: (/** @type {number} */ value) => duration(60 * value) },
  { name: "Tokens", spent: "spent/tokens", budget: "budget/tokens", write: (/** @type {number} */ value) => Math.round(value).toLocaleString("en-US") },
  { name: "Grading cost", spent: "spent/grader_cost", budget: "budget/grader_cost", write: (/** @type {number} */ value) => value.toFixed(2) },
];

/** What was spent, and how much of it is allowed. @param {{series: Record<string, any>}} props */
export function Budgets({ series }) {
  const last = (/** @type {string} */ name) => series[name]?.values.findLast(isNumber);
  const rows = KINDS.map((kind) => ({ ...kind, used: last(kind.spent), most: last(kind.budget) })).filter((one) => isNumber(one.used));
  if (!rows.length) return html`<p class="faint">Nothing was spent yet.</p>`;
  return html`<dl class="budgets" id="budgets">${rows.map(({ name, used, most, write }) => html`<div>
    <dt>${name}</dt>
    <dd>${write(used)}${isNumber(most) ? ` of ${write(most)} (${percent(used / most)})` : html` <span class="faint">no limit</span>`}
    ${isNumber(most) && html`<progress max=${most} value=${Math.min(used, most)} aria-label=${`${name} of the budget`}></progress>`}</dd></div>`)}</dl>
    <p class="faint">A job whose budget is spent pauses itself; resuming grants as much again.</p>`;
}
