// @ts-check
/** The held-out rows over the run: what each got at the evaluations. */
import { all, get } from "../core/api.js";
import { change, count, isNumber, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Busy, Empty, Problem } from "./elements.js";
import { HeatStrip } from "./heat_strip.js";
import { isOn, Switch } from "./menu.js";
import { rangeOf } from "./reward.js";
import { Table } from "./table.js";
import { Line } from "./text.js";

const MOST_PASSES = 12;
const MOST_ROWS = 1000;

/** @param {{id: string}} props */
export function HeldOutRows({ id }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/evaluations`;
  const loaded = useLoad(() => read(path), [path]);
  if (loaded.error) return html`<${Problem} error=${loaded.error} retry=${loaded.again} />`;
  if (!loaded.data) return html`<${Busy} what="Reading the evaluations" />`;
  const { rows, passes, passesInAll } = loaded.data;
  if (!rows.length) {
    return html`<${Empty} title="Nothing was evaluated yet">
      <p>The validation file is evaluated at step 0 and then regularly.</p></${Empty}>`;
  }
  const some = passes.length < passesInAll ? `${passes.length} of ${count(passesInAll)}` : count(passes.length);
  const first = rows.length === MOST_ROWS ? " (the first ones of the file)" : "";
  return html`<div class="row">
      <p class="faint">${count(rows.length)} rows${first}, ${some} evaluations; what lost the most comes first.</p>
      <span class="push"><${Switch} name="numbers" title="As numbers" /></span></div>
    <${Rows} rows=${rows} passes=${passes} />`;
}

/** @param {{rows: any[], passes: number[]}} props */
function Rows({ rows, passes }) {
  const asNumbers = isOn("numbers");
  const range = rangeOf(rows.flatMap((row) => row.values));
  /** @type {import("./table.js").Column[]} */
  const columns = [
    { title: "Row", isHead: true, className: "wide", cell: (row) => html`<${Line} text=${row.prompt} most=${110} />` },
    { title: "Line", isNumber: true, cell: (row) => count(row.line) },
    {
      title: "Mean reward at each evaluation",
      cell: (row) => html`<${HeatStrip} steps=${passes} means=${row.values} range=${range} asNumbers=${asNumbers} />`,
    },
    { title: "First", isNumber: true, cell: (row) => reward(row.values[0]) },
    { title: "Last", isNumber: true, cell: (row) => reward(row.values[row.values.length - 1]) },
    { title: "Change", isNumber: true, cell: (row) => change(row.gain) },
  ];
  return html`<${Table} label="Held-out rows" rows=${rows} columns=${columns} rowHeight=${asNumbers ? 60 : 44}
    rowKey=${(/** @type {any} */ row) => row.index} />`;
}

/**
 * The rows with what they got at each of some evaluations, the first and the last among these.
 * @param {string} path of the evaluations
 */
async function read(path) {
  const found = (await all(path)).filter((one) => one.dataset === "valid" && one.mode === "sampled");
  const chosen = spaced(found, MOST_PASSES);
  const ask = (/** @type {any} */ one) => get(`${path}/${encodeURIComponent(one.id)}`, { limit: MOST_ROWS });
  const passes = await Promise.all(chosen.map(ask));
  /** @type {Map<number, any>} */
  const rows = new Map();
  for (const [place, pass] of passes.entries()) {
    for (const row of pass.rows) {
      const { index, line } = row;
      const known = rows.get(index) ?? { index, line, prompt: row.prompt_text, values: passes.map(() => null) };
      known.values[place] = mean(row.scores);
      rows.set(index, known);
    }
  }
  const listed = [...rows.values()].map((row) => ({ ...row, gain: difference(row.values) }));
  listed.sort((a, b) => (a.gain ?? 0) - (b.gain ?? 0));
  return { rows: listed, passes: chosen.map((one) => one.step), passesInAll: found.length };
}

/** @param {any[]} list @param {number} most */
const spaced = (list, most) => {
  if (list.length <= most) return list;
  const stride = (list.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, place) => list[Math.round(place * stride)]);
};

/** @param {(number|null)[]} scores */
const mean = (scores) => {
  const known = (scores ?? []).filter(isNumber);
  return known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : null;
};

/** @param {(number|null)[]} values */
const difference = (values) => {
  const [first, last] = [values[0], values[values.length - 1]];
  return isNumber(first) && isNumber(last) ? last - first : null;
};
