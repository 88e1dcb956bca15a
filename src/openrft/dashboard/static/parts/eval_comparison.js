// @ts-check
/** Two runs of an eval, row by row: what changed, by how much, and which rows got worse. */
import { get } from "../core/api.js";
import { count, interval, number, percent, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Busy, Chip, Problem, Section } from "./elements.js";
import { criterionName, keysOf, messagesOf, runName } from "./eval_names.js";
import { Table } from "./table.js";
import { Line, Messages, Text } from "./text.js";

/** @param {{eval: any, runs: string[]}} props `runs`: two ids, the base first */
export function RunComparison({ eval: one, runs }) {
  const found = useLoad((signal) => get(`/v1/evals/${one.id}/compare`, { runs: runs.join(",") }, { signal }), runs);
  const told = found.data;
  const names = told?.runs.map(runName) ?? ["the base", "the other"];
  return html`<${Section} id="comparison" title="Comparison" note=${told ? `${names[1]} less ${names[0]}, over ${count(told.rows.paired)} rows that both have.` : null}>
    ${found.error && html`<${Problem} error=${found.error} retry=${found.again} />`}
    ${!told ? !found.error && html`<${Busy} what="Comparing" />` : html`
      <${Differences} told=${told} eval=${one} names=${names} />
      <h3>Rows that got worse (${count(told.worse.length)})</h3>
      ${told.worse.length === 0 ? html`<p class="faint">None.</p>`
        : told.worse.map((/** @type {any} */ row) => html`<${Worse} key=${row.datasource_item_id} row=${row} eval=${one} runs=${runs} />`)}`}
  </${Section}>`;
}

/** @param {{told: any, eval: any, names: string[]}} props */
function Differences({ told, eval: one, names }) {
  const rows = [{ name: "Share that passes", isShare: true, ...told.passed },
    ...told.testing_criteria.map((/** @type {any} */ result) => ({ ...result, name: `Score of ${criterionName(one, result.testing_criteria)}` }))];
  const value = (/** @type {any} */ row, /** @type {any} */ found) => (row.isShare ? percent(found) : reward(found));
  return html`<${Table} label="Differences" rows=${rows} columns=${[
    { title: "What", isHead: true, cell: (/** @type {any} */ row) => html`<${Line} text=${row.name} />` },
    { title: html`<${Line} text=${names[0]} />`, isNumber: true, cell: (/** @type {any} */ row) => value(row, row.first_mean) },
    { title: html`<${Line} text=${names[1]} />`, isNumber: true, cell: (/** @type {any} */ row) => value(row, row.second_mean) },
    { title: "Difference, 95 % interval", isNumber: true, cell: (/** @type {any} */ row) => (row.difference > 0 ? "+" : "") + interval(row.difference, ...(row.interval ?? [])) },
    { title: "p", isNumber: true, cell: (/** @type {any} */ row) => number(row.p_value) },
    { title: "Better / worse / same", isNumber: true, cell: (/** @type {any} */ row) => `${row.better} / ${row.worse} / ${row.same}` },
    { title: "Ungraded", isNumber: true, cell: (/** @type {any} */ row) => count(row.ungraded) },
    { title: "Verdict", cell: (/** @type {any} */ row) => verdict(row.interval) },
  ]} />`;
}

/** @param {[number, number]|null} found */
function verdict(found) {
  if (!found) return "–";
  const [low, high] = found;
  if (low <= 0 && high >= 0) return html`<${Chip}>no difference shown</${Chip}>`;
  return low > 0 ? html`<${Chip} tone="good">better</${Chip}>` : html`<${Chip} tone="bad">worse</${Chip}>`;
}

/** @param {{row: any, eval: any, runs: string[]}} props */
function Worse({ row, eval: one, runs }) {
  const messages = messagesOf(row);
  const change = row.scores.map((/** @type {any} */ score) => `${criterionName(one, score.testing_criteria)} ${reward(score.first)} → ${reward(score.second)}`);
  return html`<details class="panel"><summary>Row ${row.datasource_item_id}: <${Line} text=${change.join(", ")} />
      ${messages && html` <span class="faint"><${Line} text=${messages.at(-1)?.content} most=${80} /></span>`}</summary>
    <div class="stack">${messages ? html`<${Messages} messages=${messages} />` : html`<${Text} text=${row.datasource_item} />`}
      ${Object.keys(keysOf(row)).length > 0 && html`<${Text} text=${keysOf(row)} label="Other keys" />`}
      <p>${runs.map((run, place) => html`<span>${place ? "Answers then: " : "Answers of the base: "}
        ${row.output_items[place].map((/** @type {string} */ item, /** @type {number} */ at) => html`<a href=${`/evals/${one.id}/runs/${run}?item=${item}`}>sample ${at + 1}</a> `)}</span>`)}</p></div>
  </details>`;
}
