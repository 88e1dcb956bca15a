// @ts-check
/** What a chart can be drawn over instead of steps: samples, tokens, time. Between known steps it is interpolated. */

/** @typedef {import("./series.js").Points} Points */

/** Name in the address → what stands at the axis, and the metric that gives it. */
export const AXES = /** @type {Record<string, {label: string, metric: string|null}>} */ ({
  step: { label: "step", metric: null },
  samples: { label: "samples", metric: "rollout/total" },
  tokens: { label: "tokens", metric: "spent/tokens" },
  minutes: { label: "minutes of training", metric: "time/spent_minutes" },
  hours: { label: "hours since its start", metric: null },
});

/**
 * A function from steps to places on the axis; null where nothing is known of it.
 * @param {string} axis
 * @param {Record<string, Points>} series
 * @param {any[]} events of the job: they know when each step was
 * @returns {((steps: number[]) => number[])|null}
 */
export function axisOf(axis, series, events) {
  const metric = AXES[axis]?.metric;
  const known = metric ? series[metric] : axis === "hours" ? hoursOf(events) : null;
  if (!known?.steps.length) return null;
  const [steps, values] = known.steps[0] > 0 && metric ? [[0, ...known.steps], [0, ...known.values]] : [known.steps, known.values];
  return (wanted) => interpolated(steps, /** @type {number[]} */ (values), wanted);
}

/** @param {any[]} events @returns {{steps: number[], values: number[]}|null} */
function hoursOf(events) {
  const told = events.filter((event) => event.type === "metrics" && typeof event.data?.step === "number");
  // Of a very long run only the newest events are here, and its first hours are not known.
  if (!told.length || told[0].data.step > 1) return null;
  const start = told[0]?.created_at ?? 0;
  /** @type {Map<number, number>} a step that was made twice counts when it was last made */
  const at = new Map(told.map((event) => [event.data.step, (event.created_at - start) / 3600]));
  const steps = [...at.keys()].sort((a, b) => a - b);
  return { steps, values: steps.map((step) => at.get(step) ?? 0) };
}

/** @param {number[]} steps @param {number[]} values @param {number[]} wanted all rising */
function interpolated(steps, values, wanted) {
  let at = 0;
  return wanted.map((step) => {
    while (at < steps.length - 2 && steps[at + 1] < step) at += 1;
    const next = Math.min(at + 1, steps.length - 1);
    if (next === at) return values[at];
    const share = Math.min(1, Math.max(0, (step - steps[at]) / (steps[next] - steps[at])));
    return values[at] + share * (values[next] - values[at]);
  });
}
