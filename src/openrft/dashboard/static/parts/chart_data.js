// @ts-check
/**
 * What a chart makes of its numbers before it draws them. Pure: numbers in, numbers out.
 *
 * @typedef {Object} Series
 * @property {string} name
 * @property {string} label
 * @property {number[]} steps rising
 * @property {(number|null|undefined)[]} values null where the number could not be had
 * @property {(number|null|undefined)[]} [low] lower end of what each value stands for
 * @property {(number|null|undefined)[]} [high]
 * @property {"line"|"dots"|"area"} [kind] dots: measured now and then, with interval bars, and never smoothed
 * @property {boolean} [smooth] false: a line that is shown as it is
 * @property {number} [color] 1…8
 */
import { isNumber } from "../core/format.js";

/**
 * All steps of the series in order, and each series' values at them; undefined where a series says nothing of a step.
 * @param {{steps: number[], values: any[]}[]} series
 * @returns {{steps: number[], columns: any[][]}}
 */
export function aligned(series) {
  const [first] = series;
  if (!first) return { steps: [], columns: [] };
  if (series.every((one) => one.steps === first.steps || sameSteps(one.steps, first.steps))) {
    return { steps: first.steps, columns: series.map((one) => one.values) };
  }
  const steps = Array.from(new Set(series.flatMap((one) => one.steps))).sort((a, b) => a - b);
  return { steps, columns: series.map((one) => placed(steps, one.steps, one.values)) };
}

/** The values at `steps`, which has all of `own`. @param {number[]} steps @param {number[]} own @param {any[]} values */
export function placed(steps, own, values) {
  const found = new Array(steps.length);
  let at = 0;
  for (let place = 0; place < steps.length && at < own.length; place += 1) {
    if (steps[place] === own[at]) found[place] = values[at++];
  }
  return found;
}

/** @param {number[]} a @param {number[]} b */
function sameSteps(a, b) {
  if (a.length !== b.length) return false;
  for (let place = 0; place < a.length; place += 1) if (a[place] !== b[place]) return false;
  return true;
}

/**
 * Exponential moving average without the bias towards its start: the first value is itself.
 * @param {(number|null|undefined)[]} values gaps stay gaps and do not count
 * @param {number} weight of what was before, from 0 (as it is) to 0.99
 */
export function smoothed(values, weight) {
  if (weight <= 0) return values;
  let mean = 0;
  let share = 1; // weight ** number of values so far
  return values.map((value) => {
    if (!isNumber(value)) return value;
    mean = weight * mean + (1 - weight) * value;
    share *= weight;
    return mean / (1 - share);
  });
}

/**
 * Each column on top of those before it.
 * @param {any[][]} columns
 */
export function stackedUp(columns) {
  /** @type {number[]} */
  let below = [];
  return columns.map((column, number) => {
    const sum = Array.from(column, (value, place) => (isNumber(value) ? value : 0) + (number ? below[place] : 0));
    below = sum;
    return sum;
  });
}

/**
 * Lowest and highest value to show.
 * @param {(number|null|undefined)[][]} lines their outliers may be left out: below the 1st and above the 99th percentile
 * @param {(number|null|undefined)[][]} always values that are always seen
 * @param {boolean} isRobust
 * @returns {{low: number, high: number, outside: number}} outside: values that are not seen
 */
export function limits(lines, always, isRobust) {
  const all = extremes(lines);
  const fixed = extremes(always);
  if (!all) return { ...(fixed ?? { low: 0, high: 1 }), outside: 0 };
  let { low, high } = all;
  const some = isRobust ? sampled(lines) : [];
  if (some.length >= 20) {
    const [p1, p99] = [0.01, 0.99].map((share) => some[Math.round(share * (some.length - 1))]);
    // What lies a little outside is no outlier: to leave it out would save no room.
    const room = (p99 - p1) / 2;
    if (low < p1 - room) low = p1;
    if (high > p99 + room) high = p99;
  }
  if (fixed) {
    low = Math.min(low, fixed.low);
    high = Math.max(high, fixed.high);
  }
  return { low, high, outside: low > all.low || high < all.high ? countOutside(lines, low, high) : 0 };
}

const MOST_SAMPLED = 5000;

/** Their values in order; of very many some in even distances, which is enough for a percentile. @param {(number|null|undefined)[][]} lines */
function sampled(lines) {
  const total = lines.reduce((sum, line) => sum + line.length, 0);
  const stride = Math.ceil(total / MOST_SAMPLED);
  const found = [];
  for (const line of lines) {
    for (let place = 0; place < line.length; place += stride) if (isNumber(line[place])) found.push(line[place]);
  }
  return Float64Array.from(/** @type {number[]} */ (found)).sort();
}

/** @param {(number|null|undefined)[][]} lines @param {number} low @param {number} high */
function countOutside(lines, low, high) {
  let found = 0;
  for (const line of lines) for (const value of line) if (isNumber(value) && (value < low || value > high)) found += 1;
  return found;
}

/** @param {(number|null|undefined)[][]} columns */
export function extremes(columns) {
  let low = Infinity;
  let high = -Infinity;
  for (const column of columns) {
    for (const value of column) {
      if (!isNumber(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? { low, high } : null;
}
