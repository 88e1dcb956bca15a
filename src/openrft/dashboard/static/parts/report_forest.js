// @ts-check
/** Every difference with its interval on one axis: a plot whose rows are a table, to be read without seeing it too. */
import { count } from "../core/format.js";
import { html } from "../core/html.js";
import { Section } from "./elements.js";
import { AxisEnds, axisOf, IntervalMark } from "./interval_mark.js";
import { meanText, pText } from "./report_figures.js";
import { changeText } from "./report_verdict.js";
import { Line } from "./text.js";

/** @typedef {import("./report_figures.js").Line} Figure */

/** @param {{figures: ReturnType<typeof import("./report_figures.js").figuresOf>, names: [string, string]}} props */
export function Forest({ figures, names }) {
  const { lines, isLoss } = figures;
  if (!lines.length) return null;
  const ends = lines.flatMap(({ change: { mean, interval } }) => [mean, interval?.low, interval?.high]);
  const axis = axisOf([0, ...ends]);
  const hasHolm = lines.some((line) => "pHolm" in line);
  const show = (/** @type {number} */ value) => changeText(value, isLoss);
  const groups = [...new Set(lines.map((line) => line.group))];
  return html`<${Section} title="All comparisons" id="comparisons"
    note="Bars are 95 % intervals of the difference; one that does not touch the dashed zero is a sure difference.">
    <div class="table-box" tabindex="0" role="region" aria-label="Differences"><table class="forest">
      <caption class="unseen">Differences, ${names[1]} minus ${names[0]}, with 95 % intervals</caption>
      <thead><tr><th scope="col">What is compared</th><th scope="col" class="mark-cell"><${AxisEnds} axis=${axis}
        mark=${0} show=${show} /></th>
        <th scope="col" class="number">Difference</th><th scope="col" class="number">${names[0]}</th><th scope="col"
          class="number">${names[1]}</th>
        <th scope="col" class="number"
          title="How often chance alone makes a difference as large as this: signs flipped at random">p</th>
        ${hasHolm && html`<th scope="col" class="number"
          title="Corrected for the number of slices: of many, one looks remarkable by chance">p (Holm)</th>`}
        <th scope="col" class="number"
          title="Rows that got better, stayed the same, got worse">+ / = / −</th></tr></thead>
      ${groups.map((group) => html`<tbody>
        <tr class="group"><th colspan=${hasHolm ? 8 : 7} scope="rowgroup"><${Line} text=${group} /></th></tr>
        ${lines.filter((line) => line.group === group).map((line) => html`<${Row} line=${line} axis=${axis}
          isLoss=${isLoss} hasHolm=${hasHolm} />`)}
      </tbody>`)}
    </table></div>
    ${lines.some((line) => line.group.startsWith("By ")) && html`<p
      class="faint">Slices are for looking around: nobody said beforehand which one matters,
      so the verdict never rests on them.</p>`}
  </${Section}>`;
}

/** @param {{line: Figure, axis: import("./interval_mark.js").Axis, isLoss: boolean, hasHolm: boolean}} props */
function Row({ line, axis, isLoss, hasHolm }) {
  const { mean, interval } = line.change;
  const text = withSign(line, isLoss);
  return html`<tr data-line=${`${line.label} ${line.note ?? ""}`.trim()} data-mean=${mean} data-low=${interval?.low}
    data-high=${interval?.high} class=${line.isMain ? "main" : null}>
    <th scope="row"><${Line} text=${line.label} /> ${line.note && html`<span class="faint">${line.note}</span>`}</th>
    <td class="mark-cell"><${IntervalMark} axis=${axis} mark=${0} mean=${mean} low=${interval?.low}
      high=${interval?.high} tone=${toneOf(line, isLoss)} label=${`${line.label}: ${text}`} /></td>
    <td class="number">${text}</td><td class="number">${meanText(line.base, isLoss)}</td><td
      class="number">${meanText(line.tuned, isLoss)}</td>
    <td class="number">${pText(line.p)}</td>${hasHolm && html`<td
      class="number">${"pHolm" in line ? pText(line.pHolm) : ""}</td>`}
    <td class="number">${count(line.wins)} / ${count(line.ties)} / ${count(line.losses)}</td></tr>`;
}

/** @param {Figure} line @param {boolean} isLoss */
const withSign = (line, isLoss) =>
  (line.change.mean !== null && line.change.mean > 0 ? "+" : "") + meanText(line.change, isLoss);

/** @param {Figure} line @param {boolean} isLoss */
function toneOf(line, isLoss) {
  const range = line.change.interval;
  if (!range || (range.low <= 0 && range.high >= 0)) return "quiet";
  return range.low > 0 === isLoss ? "bad" : "good";
}
