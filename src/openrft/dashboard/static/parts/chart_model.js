// @ts-check
/** What of a chart is drawn, column by column, before anything is said of pixels. */
import { aligned, extremes, limits, placed, smoothed, stackedUp } from "./chart_data.js";

/** @typedef {import("./chart_data.js").Series} Series */

/**
 * @typedef {Object} Column
 * @property {"raw"|"mean"|"dots"|"area"|"low"|"high"} role mean: the moving average over `raw`; low and high: ends of a band
 * @property {Series} series
 * @property {number} place of the series in the chart, from 0
 * @property {any[]} values
 *
 * @typedef {Object} Model
 * @property {number[]} steps
 * @property {Column[]} columns in the order in which they are drawn
 * @property {[number, number][]} bands upper and lower column
 * @property {{low: number, high: number, outside: number}} limits
 * @property {boolean} isLog
 * @property {string} form changes when the plot has to be made anew, and not when it only has more points
 */

/**
 * @param {Series[]} series
 * @param {Set<string>} hidden names of series
 * @param {{stacked?: boolean, range?: [number, number], baseline?: {value: number}|null}} props
 * @param {{weight: number, isRobust: boolean, isLog: boolean}} settings
 * @returns {Model}
 */
export function modelOf(series, hidden, props, settings) {
  const { steps, columns: all } = aligned(series);
  const seen = series.map((one, place) => ({ one, place, values: all[place] })).filter(({ one }) => !hidden.has(one.name));
  const drawn = props.stacked ? stackOf(seen) : linesOf(seen, steps, settings.weight);
  const found = props.range && !settings.isLog ? { low: props.range[0], high: props.range[1], outside: 0 } : null;
  const bounds = found ?? (props.stacked ? stackLimits(drawn.columns) : lineLimits(drawn.columns, props, settings.isRobust));
  const isLog = settings.isLog && !props.stacked && isPositive(drawn.columns);
  return {
    steps,
    ...drawn,
    limits: bounds,
    isLog,
    form: JSON.stringify([isLog, drawn.columns.map((column) => [column.role, column.series.name, column.place])]),
  };
}

/** @param {{one: Series, place: number, values: any[]}[]} seen */
function stackOf(seen) {
  const sums = stackedUp(seen.map(({ values }) => values));
  return {
    columns: seen.map(({ one, place }, number) => (
      { role: /** @type {const} */ ("area"), series: one, place, values: sums[number] })),
    bands: seen.slice(1).map((_, number) => /** @type {[number, number]} */ ([number + 1, number])),
  };
}

/** @param {{one: Series, place: number, values: any[]}[]} seen @param {number[]} steps @param {number} weight */
function linesOf(seen, steps, weight) {
  /** @type {Column[]} */
  const columns = [];
  /** @type {[number, number][]} */
  const bands = [];
  for (const { one, place, values } of seen) {
    const add = (/** @type {Column["role"]} */ role, /** @type {any[]} */ column) => columns.push({ role, series: one, place, values: column });
    if (one.kind === "dots") {
      add("dots", values);
      continue;
    }
    if (one.low && one.high) {
      add("high", placed(steps, one.steps, one.high));
      add("low", placed(steps, one.steps, one.low));
      bands.push([columns.length - 2, columns.length - 1]);
    }
    add("raw", values);
    if (weight > 0 && one.smooth !== false) add("mean", smoothed(values, weight));
  }
  return { columns, bands };
}

/** @param {Column[]} columns */
const stackLimits = (columns) => ({ low: 0, high: extremes([columns.at(-1)?.values ?? []])?.high ?? 1, outside: 0 });

/** @param {Column[]} columns @param {{baseline?: {value: number}|null}} props @param {boolean} isRobust */
function lineLimits(columns, { baseline }, isRobust) {
  const lines = columns.filter((column) => column.role === "raw").map((column) => column.values);
  const always = columns.filter((column) => column.role === "dots" || column.role === "mean")
    .flatMap(({ role, values, series }) => (role === "dots" ? [values, series.low ?? [], series.high ?? []] : [values]));
  return limits(lines, [...always, baseline ? [baseline.value] : []], isRobust);
}

/** @param {Column[]} columns */
function isPositive(columns) {
  const found = extremes(columns.map((column) => column.values));
  return found !== null && found.low > 0;
}
