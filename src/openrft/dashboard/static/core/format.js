// @ts-check
/** Numbers and times as people read them. All take null and answer with a dash. */

const DASH = "–";

/** A reward, score or share of one: 0.482. @param {number|null|undefined} value */
export const reward = (value) => (isNumber(value) ? sign(value, value.toFixed(3)) : DASH);

/** A difference: +0.120, −0.034. @param {number|null|undefined} value */
export const change = (value) => (isNumber(value) ? (value > 0 ? "+" : "") + reward(value) : DASH);

/** 37 %, 4.2 %; 99.6 %, for only all is 100 %. @param {number|null|undefined} value a share of one */
export function percent(value) {
  if (!isNumber(value)) return DASH;
  const size = Math.abs(100 * value);
  const isNearlyAll = size >= 99 && size < 100;
  const written = isNearlyAll ? Math.min(size, 99.9).toFixed(1) : size.toFixed(size < 9.95 ? 1 : 0);
  return `${value < 0 ? "−" : ""}${written} %`;
}

/** 12,345; 4.2M from ten million on. @param {number|null|undefined} value */
export function count(value) {
  if (!isNumber(value)) return DASH;
  if (Math.abs(value) >= 1e10) return `${(value / 1e9).toFixed(1)}B`;
  if (Math.abs(value) >= 1e7) return `${(value / 1e6).toFixed(1)}M`;
  return Math.round(value).toLocaleString("en-US");
}

/** Any number, in about four digits, but none of them lost before the point: 0.01235, 12.3, 1,230. @param {number|null|undefined} value */
export function number(value) {
  if (!isNumber(value)) return DASH;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return sign(value, value.toExponential(2).replace("e+", "e"));
  const digits = size >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 };
  return sign(value, value.toLocaleString("en-US", digits));
}

/** 0.48 [0.41, 0.55]. @param {number|null|undefined} value @param {number|null} [low] @param {number|null} [high] */
export const interval = (value, low, high) =>
  isNumber(low) && isNumber(high) ? `${reward(value)} [${reward(low)}, ${reward(high)}]` : reward(value);

/** 850 ms, 42 s, 3 min 5 s, 2 h 10 min. @param {number|null|undefined} seconds */
export function duration(seconds) {
  if (!isNumber(seconds)) return DASH;
  if (seconds < 0.9995) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** 1.4 MB. @param {number|null|undefined} value */
export function bytes(value) {
  if (!isNumber(value)) return DASH;
  for (const [size, unit] of /** @type {[number, string][]} */ ([[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]])) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${value} B`;
}

/** 23 Nov 2026, 14:05. @param {number|null|undefined} unix seconds */
export function when(unix) {
  if (!isNumber(unix)) return DASH;
  return new Date(1000 * unix).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** 5 min ago. @param {number|null|undefined} unix seconds */
export function ago(unix) {
  if (!isNumber(unix)) return DASH;
  const seconds = Date.now() / 1000 - unix;
  if (seconds < 60) return "just now";
  for (const [size, unit] of /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"]])) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return DASH;
}

/** @param {any} value @returns {value is number} */
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// A minus as wide as a plus, so that columns of numbers align.
const sign = (/** @type {number} */ value, /** @type {string} */ written) => (value < 0 ? written.replace("-", "−") : written);
