// @ts-check
/** The training rows over the run: which were learned, which never. */
import { get } from "../core/api.js";
import { count, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, withQuery } from "../core/router.js";
import { exampleAddress } from "./completion.js";
import { Busy, Empty, Problem } from "./elements.js";
import { StateChip, STATES } from "./example_state.js";
import { HeatStrip } from "./heat_strip.js";
import { isOn, Menu, Switch } from "./menu.js";
import { rangeOf } from "./reward.js";
import { Table } from "./table.js";
import { Line } from "./text.js";

const PAGE = 50;

/** @type {[string, string][]} */
const SORTS = [
  ["first_seen", "first seen first"],
  ["last_seen", "last seen first"],
  ["worst", "worst first"],
  ["best", "best first"],
  ["most_visited", "most visited first"],
  ["most_ungraded", "most failures first"],
];

/** @param {{id: string}} props */
export function TrainingRows({ id }) {
  const { state, sort, after } = query.value;
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/examples`;
  const page = useLoad(() => get(path, { state, sort, after, limit: PAGE }), [path, state, sort, after]);
  if (page.error) return html`<${Problem} error=${page.error} retry=${page.again} />`;
  if (!page.data) return html`<${Busy} what="Adding up the rows' visits" />`;
  const { counts, data, pass_threshold: threshold } = page.data;
  const total = STATES.reduce((sum, [name]) => sum + (counts[name] ?? 0), 0);
  if (!total) {
    return html`<${Empty} title="No row was sampled yet">
      <p>Rows appear with the first steps of a reinforcement job. A supervised job samples nothing: it reads its answers.</p>
    </${Empty}>`;
  }
  return html`<div class="cards states">${STATES.filter(([name]) => counts[name]).map(
      ([name, tone, meaning]) => html`<a class=${`card reason ${tone}`} data-state=${name}
        href=${withQuery({ state: state === name ? null : name, after: null })} aria-current=${state === name ? "true" : null}>
        <div class="card-label">${name}</div>
        <div class="card-value">${count(counts[name])}</div>
        <div class="card-note">${meaning}</div></a>`,
    )}</div>
    <div class="row">
      <p class="faint">${count(total)} rows so far. A rollout passes from a reward of ${reward(threshold)} on.</p>
      <span class="row push"><${Menu} label="Order" name="sort" options=${SORTS} also=${{ after: null }} push />
        <${Switch} name="numbers" title="As numbers" /></span></div>
    <${Rows} id=${id} rows=${data} threshold=${threshold} />
    <nav class="row" aria-label="Pages of the rows">
      ${after && html`<a class="button" href=${withQuery({ after: null })}>First page</a>`}
      ${page.data.has_more && html`<a class="button" href=${withQuery({ after: page.data.last_id })}>Next page</a>`}
    </nav>`;
}

/** @param {{id: string, rows: any[], threshold: number}} props */
function Rows({ id, rows, threshold }) {
  const range = rangeOf(rows.flatMap((row) => row.means));
  /** @type {import("./table.js").Column[]} */
  const columns = [
    {
      title: "Row",
      isHead: true,
      className: "wide",
      cell: (row) => html`<a href=${exampleAddress(id, row.example)}><${Line} text=${row.prompt ?? row.example} most=${110} /></a>`,
    },
    { title: "Line", isNumber: true, cell: (row) => count(row.line) },
    { title: "State", cell: (row) => html`<${StateChip} state=${row.state} threshold=${threshold} />` },
    {
      title: "Mean reward of each visit",
      cell: (row) => html`<${HeatStrip} steps=${row.visits} means=${row.means} range=${range} asNumbers=${isOn("numbers")} />`,
    },
    { title: "Mean", isNumber: true, cell: (row) => reward(row.mean) },
    { title: "Visits", isNumber: true, cell: (row) => count(row.num_visits) },
    { title: "Rollouts", isNumber: true, cell: (row) => count(row.rollouts) },
    { title: "Ungraded", isNumber: true, cell: (row) => count(row.ungraded) },
  ];
  return html`<${Table} label="Training rows" rows=${rows} columns=${columns}
    rowKey=${(/** @type {any} */ row) => row.example}
    rowProps=${(/** @type {any} */ row) => ({ "data-example": row.example })} />`;
}
