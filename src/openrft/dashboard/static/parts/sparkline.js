// @ts-check
/** A job's curve in the size of a word, with a sentence that says the same. */
import { isNumber, number, reward } from "../core/format.js";
import { html } from "../core/html.js";

const WIDTH = 120;
const HEIGHT = 32;
const EDGE = 3; // pixels that dots need

/** @typedef {{steps: number[], train: (number|null)[], valid: (number|null)[]}} SmallCurve */

/**
 * Training as a line, validations as dots that are joined.
 * @param {{curve: SmallCurve|null, isLoss?: boolean}} props
 */
export function Sparkline({ curve, isLoss = false }) {
  const known = [...(curve?.train ?? []), ...(curve?.valid ?? [])].filter(isNumber);
  if (!curve || known.length < 2) return html`<span class="faint" title="Drawn from two steps on">–</span>`;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const [first, last] = [curve.steps[0], curve.steps[curve.steps.length - 1]];
  const across = (/** @type {number} */ step) => EDGE + ((step - first) / (last - first || 1)) * (WIDTH - 2 * EDGE);
  const up = (/** @type {number} */ value) => HEIGHT - EDGE - ((value - low) / (high - low || 1)) * (HEIGHT - 2 * EDGE);
  const points = (/** @type {(number|null)[]} */ values) =>
    curve.steps.flatMap((step, at) => (isNumber(values[at]) ? [[across(step), up(values[at])]] : []));
  const [train, valid] = [points(curve.train), points(curve.valid)];
  const sentence = inWords(curve, isLoss);
  return html`<svg class="sparkline" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} width=${WIDTH} height=${HEIGHT} role="img"
      aria-label=${sentence} data-points=${curve.steps.length}>
    <title>${sentence}</title>
    <path class="train" d=${path(train)} /><path class="valid" d=${path(valid)} />
    ${valid.map(([x, y]) => html`<circle class="valid-dot" cx=${x} cy=${y} r="2" />`)}
  </svg>`;
}

/** @param {number[][]} points */
const path = (points) => points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** "Training reward 0.120 → 0.480, validation 0.200 → 0.450, steps 0 to 40". @param {SmallCurve} curve @param {boolean} isLoss */
export function inWords(curve, isLoss) {
  const shown = isLoss ? number : reward;
  const ends = (/** @type {(number|null)[]} */ values) => {
    const known = values.filter(isNumber);
    return known.length ? `${shown(known[0])} → ${shown(known[known.length - 1])}` : "not measured";
  };
  const what = isLoss ? "loss" : "reward";
  const last = curve.steps[curve.steps.length - 1];
  return `Training ${what} ${ends(curve.train)}, validation ${ends(curve.valid)}, steps ${curve.steps[0]} to ${last}`;
}
