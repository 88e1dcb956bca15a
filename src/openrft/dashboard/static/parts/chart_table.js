// @ts-check
/** The numbers of a chart as a table: what is seen there can be read here, by everybody. */
import { html } from "../core/html.js";
import { aligned, placed } from "./chart_data.js";
import { writer } from "./chart_unit.js";
import { Table } from "./table.js";

/** @typedef {import("./chart_data.js").Series} Series */

/**
 * Names of the columns and the rows: the step and a number for each series and each end of its interval.
 * @param {Series[]} series
 * @param {string} xLabel
 * @returns {{titles: string[], rows: (number|null|undefined)[][]}}
 */
export function tableOf(series, xLabel) {
  const { steps, columns } = aligned(series);
  const shown = series.flatMap((one, place) => [
    { title: one.label, values: columns[place] },
    ...(one.low ? [{ title: `${one.label}, low`, values: placed(steps, one.steps, one.low) }] : []),
    ...(one.high ? [{ title: `${one.label}, high`, values: placed(steps, one.steps, one.high) }] : []),
  ]);
  return {
    titles: [xLabel, ...shown.map((one) => one.title)],
    rows: steps.map((step, place) => [step, ...shown.map((one) => one.values[place])]),
  };
}

/**
 * @param {{title: string, series: Series[], unit?: string, xLabel: string, onPick?: (step: number) => void,
 *   markers: {step: number, label: string}[]}} props
 */
export function ChartTable({ title, series, unit, xLabel, onPick, markers }) {
  const { titles, rows } = tableOf(series, xLabel);
  const write = writer(unit);
  /** @type {Map<number, string>} */
  const marks = new Map();
  for (const { step, label } of markers) marks.set(step, marks.has(step) ? `${marks.get(step)}, ${label}` : label);
  const stepCell = (/** @type {any} */ row) =>
    onPick ? html`<button type="button" class="plain link" onClick=${() => onPick(row[0])}>${row[0]}</button>` : row[0];
  const columns = titles.map((name, place) => ({
    title: name,
    isNumber: true,
    isHead: place === 0,
    cell: place === 0 ? stepCell : (/** @type {any} */ row) => (row[place] === undefined ? "" : write(row[place])),
  }));
  const marked = marks.size ? [{ title: "What happened", cell: (/** @type {any} */ row) => marks.get(row[0]) ?? "" }] : [];
  return html`<${Table} label=${`${title}, as a table`} columns=${[...columns, ...marked]} rows=${rows}
    rowKey=${(/** @type {any} */ row) => row[0]} rowHeight=${36} height=${280} />`;
}
