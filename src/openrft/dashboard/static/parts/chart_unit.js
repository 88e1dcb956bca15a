// @ts-check
/** Values of a chart as text, by their unit. */
import { bytes, count, duration, number, percent, reward } from "../core/format.js";

/** @type {Record<string, (value: any) => string>} */
const WRITTEN = {
  reward,
  share: percent,
  seconds: (value) => (value !== null && value > 0 && value < 0.001 ? `${Number((1e6 * value).toPrecision(2))} µs` : duration(value)),
  tokens: (value) => (value !== null && Math.abs(value) < 100 ? number(value) : count(value)),
  bytes,
  number,
};

/** @param {string} [unit] @returns {(value: number|null|undefined) => string} */
export const writer = (unit) => (value) => (WRITTEN[unit ?? "number"] ?? number)(value ?? null);

/** Short, for an axis. @param {string} [unit] @returns {(value: number) => string} */
export function tickWriter(unit) {
  if (unit === "share") return (value) => `${Number((100 * value).toFixed(1))} %`;
  if (unit === "seconds") return secondsTick;
  if (unit === "bytes") return bytes;
  return shortNumber;
}

/** @param {number} value */
function secondsTick(value) {
  if (value === 0) return "0";
  if (value < 0.001) return `${Number((1e6 * value).toPrecision(3))} µs`;
  if (value < 1) return `${Number((1000 * value).toPrecision(3))} ms`;
  if (value < 120) return `${Number(value.toPrecision(3))} s`;
  if (value < 7200) return `${Number((value / 60).toPrecision(3))} min`;
  return `${Number((value / 3600).toPrecision(3))} h`;
}

/** @param {number} value */
function shortNumber(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return `${Number((value / 1e9).toPrecision(3))}B`;
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  if (size > 0 && size < 1e-3) return value.toExponential(0).replace("e+", "e");
  return String(Number(value.toPrecision(6)));
}
