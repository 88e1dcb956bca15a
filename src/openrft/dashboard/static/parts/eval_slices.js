// @ts-check
/** The kinds of rows on which a run does worst: rows that share a short value of one of their keys. */
import { isNumber, percent } from "../core/format.js";
import { html } from "../core/html.js";
import { keysOf } from "./eval_names.js";
import { Table } from "./table.js";
import { Line } from "./text.js";

const LONGEST = 80; // characters; a longer text is no name of a kind of row
const FEWEST = 3; // items of a slice
const MOST_VALUES = 20; // of a key: what has more tells rows apart, and not kinds of them
const MOST_SHOWN = 12;

/** @typedef {{key: string, value: string, passed: number, graded: number, share: number}} Slice */

/**
 * Slices by the share that passes, the lowest first. Errors count neither way.
 * @param {any[]} items
 * @returns {Slice[]}
 */
export function slicesOf(items) {
  const graded = items.filter((item) => item.status !== "error");
  /** @type {Map<string, Map<string, {passed: number, graded: number}>>} */
  const keys = new Map();
  for (const item of graded) {
    for (const [key, value] of Object.entries(keysOf(item))) {
      const isKind = typeof value === "boolean" || isNumber(value) || (typeof value === "string" && value.length <= LONGEST);
      if (!isKind) continue;
      const values = keys.get(key) ?? new Map();
      keys.set(key, values);
      const counts = values.get(String(value)) ?? { passed: 0, graded: 0 };
      values.set(String(value), { passed: counts.passed + (item.status === "pass" ? 1 : 0), graded: counts.graded + 1 });
    }
  }
  const slices = [...keys].filter(([, values]) => values.size > 1 && values.size <= MOST_VALUES)
    .flatMap(([key, values]) => [...values].map(([value, counts]) => ({ key, value, ...counts, share: counts.passed / counts.graded })));
  return slices.filter((slice) => slice.graded >= FEWEST).sort((one, other) => one.share - other.share || other.graded - one.graded);
}

/** @param {{items: any[]}} props */
export function Slices({ items }) {
  const slices = slicesOf(items);
  if (!slices.length) return html`<p class="faint">The rows have no key with a few short values, by which they could be told apart.</p>`;
  return html`<${Table} label="Slices" rows=${slices.slice(0, MOST_SHOWN)} columns=${[
    { title: "Rows with", isHead: true, cell: (/** @type {Slice} */ one) => html`<code><${Line} text=${one.key} /></code> = <${Line} text=${one.value} />` },
    { title: "Passed", isNumber: true, cell: (/** @type {Slice} */ one) => percent(one.share) },
    { title: "Items", isNumber: true, cell: (/** @type {Slice} */ one) => `${one.passed} of ${one.graded}` },
  ]} />`;
}
