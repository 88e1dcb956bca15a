// @ts-check
/** The four axes on which runs are laid over one another, and a run's numbers along each. */
import { isNumber } from "../core/format.js";

/**
 * @typedef {Object} Axis
 * @property {string} title
 * @property {string} label under the chart
 * @property {string|null} metric the series that says how far along the axis a step is; null: the step itself
 * @property {string} note
 */

/** @type {Record<string, Axis>} */
export const AXES = {
  step: { title: "Steps", label: "step", metric: null, note: "Fair for runs with the same batch and group size." },
  samples: { title: "Samples", label: "samples", metric: "rollout/total", note: "Completions sampled in training so far." },
  time: { title: "Time", label: "minutes", metric: "time/spent_minutes", note: "Minutes of training, waiting and pauses left out." },
  tokens: { title: "Tokens", label: "tokens", metric: "spent/tokens", note: "Tokens spent so far, as budgets count them." },
};

/** @typedef {{steps: number[], values: (number|null)[]}} Line of the API's metrics */

/**
 * A series over another axis than steps. Where two steps lie at one place, the later one counts.
 * @param {Line|undefined} line
 * @param {Line|undefined} axis values along the axis by step; undefined: the steps themselves
 * @param {boolean} isSteps
 * @returns {Line}
 */
export function along(line, axis, isSteps) {
  if (!line) return { steps: [], values: [] };
  if (isSteps) return line;
  if (!axis) return { steps: [], values: [] };
  /** @type {Line} */
  const moved = { steps: [], values: [] };
  let at = -1;
  for (const [number, step] of line.steps.entries()) {
    // Long series come thinned out, each at steps of its own: the latest place that is known at this step.
    while (at + 1 < axis.steps.length && axis.steps[at + 1] <= step) at += 1;
    const place = at < 0 ? 0 : axis.values[at];
    if (!isNumber(place)) continue;
    if (moved.steps[moved.steps.length - 1] === place) moved.values[moved.values.length - 1] = line.values[number];
    else {
      moved.steps.push(place);
      moved.values.push(line.values[number]);
    }
  }
  return moved;
}
