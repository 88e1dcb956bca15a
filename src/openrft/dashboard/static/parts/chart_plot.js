// @ts-check
/** A model as uPlot draws it: its options, and what we draw over it ourselves. */
import uPlot from "uplot";
import { isNumber } from "../core/format.js";
import { DASHES, areaFill, colour, seriesColour } from "./chart_colour.js";
import { tickWriter } from "./chart_unit.js";

/** @typedef {import("./chart_model.js").Model} Model */
/** @typedef {import("./chart_model.js").Column} Column */

/**
 * @typedef {Object} Looks what may change without the plot being made anew; read whenever it draws
 * @property {Model} model
 * @property {{value: number, label: string}|null|undefined} baseline
 * @property {{step: number, label: string, tone?: string}[]} markers
 * @property {[number, number]|undefined} range
 */

const FONT = "11.5px system-ui, sans-serif";

/**
 * @param {() => Looks} looks
 * @param {{width: number, height: number, unit?: string, xLabel: string}} size
 * @param {{onCursor: (place: number|null) => void, onPick: (place: number) => void}} on
 * @returns {any} options for uPlot
 */
export function plotOptions(looks, { width, height, unit, xLabel }, on) {
  const { model } = looks();
  let isZoomed = false;
  const axis = { stroke: colour("--faint"), font: FONT, grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
  return {
    width,
    height,
    legend: { show: false },
    padding: [10, 12, 0, 0],
    cursor: {
      sync: { key: `openrft-${xLabel}`, setSeries: false },
      y: false,
      drag: { x: true, y: false, dist: 4 },
      points: { size: 7 },
      bind: {
        dblclick: (/** @type {any} */ _plot, /** @type {any} */ _target, /** @type {any} */ handler) => (/** @type {any} */ event) => {
          isZoomed = false;
          return handler(event);
        },
      },
    },
    scales: {
      x: { time: false, auto: () => !isZoomed, range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => widened(low, high) },
      y: {
        distr: model.isLog ? 3 : 1,
        range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => yRange(looks(), isZoomed, low, high),
      },
    },
    axes: [
      { ...axis, size: 28, gap: 4, incrs: xLabel === "step" ? WHOLE : undefined, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map(tickWriter()) },
      { ...axis, size: 56, gap: 4, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => (tick === null ? "" : tickWriter(unit)(tick))) },
    ],
    series: [{}, ...model.columns.map((column) => seriesOptions(column, model.columns.some((one) => one.role === "mean" && one.series === column.series)))],
    bands: model.bands.map(([upper, lower]) => bandOptions(model, upper, lower)),
    hooks: {
      ready: [(/** @type {any} */ plot) => listenToClicks(plot, on.onPick)],
      setSelect: [(/** @type {any} */ plot) => void (isZoomed ||= plot.select.width >= 4)],
      setCursor: [(/** @type {any} */ plot) => on.onCursor(plot.cursor.idx ?? null)],
      draw: [(/** @type {any} */ plot) => drawOver(plot, looks())],
    },
  };
}

/** A click picks the step at the cursor; the end of a drag is a click as well, which only zooms. @param {any} plot @param {(place: number) => void} onPick */
function listenToClicks(plot, onPick) {
  let pressedAt = 0;
  plot.over.addEventListener("mousedown", (/** @type {MouseEvent} */ event) => (pressedAt = event.clientX));
  plot.over.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    if (Math.abs(event.clientX - pressedAt) < 4 && isNumber(plot.cursor.idx)) onPick(plot.cursor.idx);
  });
}

// Steps are whole numbers, and so are their ticks.
const WHOLE = [1, 2, 5].flatMap((one) => [0, 1, 2, 3, 4, 5, 6, 7].map((power) => one * 10 ** power)).sort((a, b) => a - b);

/** @param {Column} column @param {boolean} hasMean a raw line is faint under its moving average */
function seriesOptions({ role, series, place }, hasMean) {
  const stroke = seriesColour(series.color ?? place + 1);
  const options = { label: series.label, stroke, width: 2, spanGaps: true, points: { show: false } };
  if (role === "low" || role === "high") return { ...options, width: 0, stroke: "transparent" };
  if (role === "dots") return { ...options, width: 1.5, points: { show: true, size: 7, fill: stroke, stroke } };
  const isAlone = (series.steps?.length ?? 0) < 2;
  const points = isAlone ? { show: true, size: 6, fill: stroke } : { show: false };
  if (role === "area") {
    return { ...options, width: 1, points, fill: place === 0 ? (/** @type {any} */ plot) => areaFill(plot.ctx, stroke, 0) : undefined };
  }
  const isFaint = role === "raw" && hasMean;
  return { ...options, points, dash: DASHES[place % DASHES.length], alpha: 1, ...(isFaint ? { width: 1.25, alpha: 0.38, dash: undefined } : {}) };
}

/** @param {Model} model @param {number} upper @param {number} lower */
function bandOptions(model, upper, lower) {
  const { role, series, place } = model.columns[upper];
  const paint = seriesColour(series.color ?? place + 1);
  if (role === "area") return { series: [upper + 1, lower + 1], fill: (/** @type {any} */ plot) => areaFill(plot.ctx, paint, place) };
  return { series: [upper + 1, lower + 1], fill: paint.replace("rgb(", "rgba(").replace(")", ", 0.12)") };
}

/** @param {number} low @param {number} high @returns {[number, number]} */
function widened(low, high) {
  if (!isNumber(low) || !isNumber(high)) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** @param {Looks} looks @param {boolean} isZoomed @param {number} low @param {number} high @returns {[number, number]} */
function yRange({ model, range }, isZoomed, low, high) {
  if (model.isLog) {
    const bounds = isZoomed ? { low, high } : model.limits;
    return bounds.low > 0 ? [bounds.low / 1.1, bounds.high * 1.1] : [1e-3, 1];
  }
  if (range) return range[0] === range[1] ? widened(...range) : [range[0], range[1] + (range[1] - range[0]) * 0.02];
  const bounds = isZoomed && isNumber(low) && isNumber(high) ? { low, high } : model.limits;
  const size = Math.max(Math.abs(bounds.low), Math.abs(bounds.high));
  const span = bounds.high - bounds.low;
  // A constant is drawn as one, and not as the rounding of its average.
  const room = span > 1e-9 * size ? span * 0.06 : size * 0.1 || 0.5;
  // A line that is never below nothing is not drawn as if it were.
  const floor = bounds.low >= 0 && bounds.low - room < 0 ? 0 : bounds.low - room;
  return [floor, bounds.high + room];
}

/** The baseline, the markers, and the intervals of what is shown as dots. @param {any} plot @param {Looks} looks */
function drawOver(plot, { model, baseline, markers }) {
  const { ctx: context, bbox } = plot;
  const ratio = devicePixelRatio;
  context.save();
  context.beginPath();
  context.rect(bbox.left, bbox.top - 8 * ratio, bbox.width + 8 * ratio, bbox.height + 8 * ratio);
  context.clip();
  for (const marker of markers) drawMarker(plot, marker, ratio);
  for (const column of model.columns) if (column.role === "dots") drawIntervals(plot, column, ratio);
  if (baseline) drawBaseline(plot, baseline, ratio);
  context.restore();
}

/** @param {any} plot @param {Column} column @param {number} ratio */
function drawIntervals(plot, { series, place }, ratio) {
  const context = plot.ctx;
  if (!series.low || !series.high) return;
  context.strokeStyle = seriesColour(series.color ?? place + 1);
  context.lineWidth = 1.25 * ratio;
  const end = 3 * ratio;
  context.beginPath();
  series.steps.forEach((step, number) => {
    const [low, high] = [series.low?.[number], series.high?.[number]];
    if (!isNumber(low) || !isNumber(high)) return;
    const x = plot.valToPos(step, "x", true);
    const [bottom, top] = [plot.valToPos(low, "y", true), plot.valToPos(high, "y", true)];
    context.moveTo(x, bottom), context.lineTo(x, top);
    for (const y of [bottom, top]) context.moveTo(x - end, y), context.lineTo(x + end, y);
  });
  context.stroke();
}

/** @param {any} plot @param {{value: number, label: string}} baseline @param {number} ratio */
function drawBaseline(plot, baseline, ratio) {
  const { ctx: context, bbox } = plot;
  const y = Math.round(plot.valToPos(baseline.value, "y", true));
  context.strokeStyle = colour("--ink");
  context.fillStyle = colour("--faint");
  context.lineWidth = ratio;
  context.setLineDash([5 * ratio, 4 * ratio]);
  context.beginPath();
  context.moveTo(bbox.left, y), context.lineTo(bbox.left + bbox.width, y);
  context.stroke();
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.textAlign = "right";
  const isAtTop = y < bbox.top + 16 * ratio;
  context.fillText(baseline.label, bbox.left + bbox.width - 4 * ratio, y + (isAtTop ? 13 : -4) * ratio);
}

/** A small triangle on the axis; a line as well for what one should not miss. @param {any} plot @param {any} marker @param {number} ratio */
function drawMarker(plot, marker, ratio) {
  const { ctx: context, bbox, scales } = plot;
  if (marker.step < scales.x.min || marker.step > scales.x.max) return;
  const x = Math.round(plot.valToPos(marker.step, "x", true));
  const bottom = bbox.top + bbox.height;
  const tone = colour({ good: "--good", warn: "--warn", bad: "--bad" }[/** @type {string} */ (marker.tone)] ?? "--faint");
  context.fillStyle = tone;
  context.beginPath();
  context.moveTo(x, bottom - 7 * ratio), context.lineTo(x - 4 * ratio, bottom), context.lineTo(x + 4 * ratio, bottom);
  context.fill();
  if (!marker.tone || marker.tone === "quiet") return;
  context.strokeStyle = tone;
  context.lineWidth = ratio;
  context.setLineDash([2 * ratio, 3 * ratio]);
  context.beginPath();
  context.moveTo(x, bbox.top), context.lineTo(x, bottom);
  context.stroke();
  context.setLineDash([]);
}

/** @param {Model} model @returns {any[]} what uPlot is given */
export const plotData = (model) => [model.steps, ...model.columns.map((column) => column.values)];

/** @param {any} options @param {any[]} data @param {HTMLElement} box @returns {any} */
export const makePlot = (options, data, box) => new uPlot(options, /** @type {any} */ (data), box);
