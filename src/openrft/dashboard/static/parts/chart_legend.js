// @ts-check
/** Beneath a chart's title: each series with its mark and its value at the cursor, to be hidden and shown. */
import { isNumber } from "../core/format.js";
import { html } from "../core/html.js";
import { writer } from "./chart_unit.js";

/** @typedef {import("./chart_data.js").Series} Series */

/**
 * @param {{series: Series[], hidden: Set<string>, toggle: (name: string) => void, cursor: import("@preact/signals").Signal<number|null>,
 *   steps: number[], unit?: string, xLabel: string, markers: {step: number, label: string}[], stacked?: boolean, outside: number}} props
 */
export function Legend({ series, hidden, toggle, cursor, steps, unit, xLabel, markers, stacked, outside }) {
  const place = cursor.value;
  const step = place === null ? null : steps[place];
  const write = writer(unit);
  const happened = step === null ? [] : markers.filter((one) => one.step === step);
  return html`<div class="legend">
    ${series.map((one, number) => html`<button type="button" class="plain" aria-pressed=${!hidden.has(one.name)} onClick=${() => toggle(one.name)}
        title=${`${one.name}. Click to ${hidden.has(one.name) ? "show" : "hide"}`}>
      <span class="swatch ${stacked ? "area" : (one.kind ?? "line")} hatch-${number % 4}" style=${{ color: `var(--series-${(((one.color ?? number + 1) - 1) % 8) + 1})` }}></span>
      ${one.label} <span class="legend-value">${write(valueAt(one, step))}</span></button>`)}
    <span class="legend-step">${step === null ? "" : `${xLabel} ${Number(step.toPrecision(6)).toLocaleString("en-US")}`}
      ${happened.length > 0 && html` · ${happened.map((one) => one.label).join(", ")}`}</span>
    ${outside > 0 && html`<span class="legend-step" title="Outliers above the 99th and below the 1st percentile; see the checkbox above the charts">${outside} beyond the edge</span>`}
  </div>`;
}

/** At the step, or the latest. @param {Series} series @param {number|null} step */
function valueAt(series, step) {
  if (step === null) return series.values.findLast(isNumber);
  const place = search(series.steps, step);
  return place === null ? undefined : series.values[place];
}

/** @param {number[]} steps rising @param {number} wanted */
function search(steps, wanted) {
  let [from, to] = [0, steps.length - 1];
  while (from <= to) {
    const middle = (from + to) >> 1;
    if (steps[middle] === wanted) return middle;
    if (steps[middle] < wanted) from = middle + 1;
    else to = middle - 1;
  }
  return null;
}
