// @ts-check
/** A mean with its interval, drawn small on an axis that a whole column shares. */
import { isNumber } from "../core/format.js";
import { html } from "../core/html.js";

const WIDTH = 200;
const HEIGHT = 18;
const MIDDLE = HEIGHT / 2;
const NEAR = 0.25; // of the width: closer than this, two numbers would run into each other

/** @typedef {{from: number, to: number}} Axis */

/**
 * An axis that holds all of these numbers, and some air; of shares and rewards within 0 and 1 it does not go beyond.
 * @param {(number|null|undefined)[]} values
 * @returns {Axis}
 */
export function axisOf(values) {
  const known = values.filter(isNumber);
  if (!known.length) return { from: 0, to: 1 };
  const low = Math.min(...known);
  const high = Math.max(...known);
  const air = (high - low || Math.abs(high) || 1) * 0.06;
  return { from: low >= 0 ? Math.max(0, low - air) : low - air, to: high <= 1 ? Math.min(1, high + air) : high + air };
}

/**
 * @param {{axis: Axis, mean: number|null|undefined, low?: number|null, high?: number|null, mark?: number|null, tone?:
 *   string, label: string}} props
 *   `mark` is a dashed line: zero, or the base; `label` says the same in words
 */
export function IntervalMark({ axis, mean, low, high, mark, tone = "", label }) {
  const place = (/** @type {number} */ value) => (WIDTH * (value - axis.from)) / (axis.to - axis.from);
  const middle = isNumber(mean) ? place(mean) : 0;
  return html`<svg class=${`interval-mark ${tone}`} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none"
    role="img" aria-label=${label}>
    <line class="rail" x1="0" x2=${WIDTH} y1=${MIDDLE} y2=${MIDDLE} />
    ${isNumber(mark) && html`<line class="base" x1=${place(mark)} x2=${place(mark)} y1="0" y2=${HEIGHT} />`}
    ${isNumber(low) && isNumber(high) && html`<rect class="span" x=${place(low)}
      width=${Math.max(1, place(high) - place(low))} y=${MIDDLE - 3} height="6" rx="2" />`}
    ${isNumber(mean) && html`<rect class="mean" x=${middle - 2} width="4" y="2" height=${HEIGHT - 4} rx="1" />`}
  </svg>`;
}

/**
 * The numbers at the ends of an axis, and of its mark, for the head of the column.
 * @param {{axis: Axis, mark?: number|null, show: (value: number) => string}} props
 */
export function AxisEnds({ axis, mark, show }) {
  const place = isNumber(mark) ? (mark - axis.from) / (axis.to - axis.from) : null;
  return html`<span class="axis-ends" aria-hidden="true">
    <span>${place === null || place > NEAR ? show(axis.from) : ""}</span>
    ${place !== null && html`<span class="at"
      style=${{ left: `${100 * place}%` }}>${show(/** @type {number} */ (mark))}</span>`}
    <span>${place === null || place < 1 - NEAR ? show(axis.to) : ""}</span></span>`;
}
