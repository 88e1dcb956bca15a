// @ts-check
/** How one row did at each visit, as bars: higher and greener is better, a gap where nothing was graded. */
import { isNumber, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { shareOf, toneOf } from "./reward.js";

const MOST_BARS = 60;

/**
 * @typedef {{first: number, last: number, mean: number|null}} Bar visits that one bar stands for, and their mean
 */

/**
 * The visits as at most 60 bars; of longer runs each stands for several neighbours.
 * @param {number[]} steps @param {(number|null)[]} means
 * @returns {Bar[]}
 */
export function barsOf(steps, means) {
  const size = Math.ceil(steps.length / MOST_BARS) || 1;
  const bars = [];
  for (let at = 0; at < steps.length; at += size) {
    const known = means.slice(at, at + size).filter(isNumber);
    const mean = known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : null;
    bars.push({ first: steps[at], last: steps[Math.min(at + size, steps.length) - 1], mean });
  }
  return bars;
}

/** @param {{steps: number[], means: (number|null)[], range: [number, number], asNumbers: boolean}} props */
export function HeatStrip({ steps, means, range, asNumbers }) {
  const bars = barsOf(steps, means);
  if (asNumbers) {
    return html`<ol class="strip-numbers">${bars.map(
      (bar) => html`<li><span class="faint">${stepsOf(bar)}</span> ${reward(bar.mean)}</li>`,
    )}</ol>`;
  }
  return html`<span class="strip" role="img" aria-label=${sentence(bars)}>${bars.map((bar) => {
    const share = isNumber(bar.mean) ? shareOf(bar.mean, range) : null;
    return html`<span class=${`bar ${share === null ? "none" : toneOf(share)}`} title=${said(bar)}
      style=${{ "--share": `${Math.round(100 * (share ?? 1))}%` }}></span>`;
  })}</span>`;
}

/** @param {Bar} bar */
const stepsOf = (bar) => (bar.first === bar.last ? `${bar.first}` : `${bar.first}–${bar.last}`);

/** @param {Bar} bar */
const said = (bar) => `step ${stepsOf(bar)}: ${reward(bar.mean)}`;

/** @param {Bar[]} bars */
const sentence = (bars) =>
  bars.length
    ? `From ${said(bars[0])} to ${said(bars[bars.length - 1])}, ${bars.length} ${bars.length === 1 ? "bar" : "bars"}`
    : "no visits";
