// @ts-check
/** The rows of a comparison, those that got worse first, and one of them with both answers side by side. */
import { get } from "../core/api.js";
import { count, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery } from "../core/router.js";
import { Busy, Chip, Problem, Section } from "./elements.js";
import { Grade } from "./grade.js";
import { Output } from "./output.js";
import { changeText } from "./report_verdict.js";
import { Reward } from "./reward.js";
import { Table } from "./table.js";
import { Line, Text } from "./text.js";

const KINDS = /** @type {[string, string, (row: Row) => boolean][]} */ ([
  ["all", "All", () => true],
  ["worse", "Worse", (row) => row.isWorse],
  ["better", "Better", (row) => row.isBetter],
  ["same", "Same", (row) => !row.isWorse && !row.isBetter],
]);

const CHOSEN = { "aria-current": "true", class: "chosen" };

/** @typedef {import("./report_figures.js").Row} Row */
/** @typedef {ReturnType<typeof import("./report_figures.js").figuresOf>} Figures */

/**
 * @param {{figures: Figures, names: [string, string], path: string, evaluations: [string|undefined, string|undefined],
 *   playground: (row: Row) => string|null}} props
 *   `evaluations`: ids of the two passes, in which every sample lies with its grades
 */
export function Rows({ figures, names, path, evaluations, playground }) {
  if (!figures.rows.length) return null;
  const kind = KINDS.find(([name]) => name === query.value.rows) ?? KINDS[0];
  const rows = figures.rows.filter(kind[2]);
  const shown = rows.find((row) => String(row.index) === query.value.row) ?? rows[0];
  const order = figures.isLoss ? "those whose answer became least likely first" : "regressions first";
  /** @type {import("./table.js").Column[]} */
  const columns = [
    { title: "Line", isNumber: true, cell: (row) => row.line },
    { title: "Change", isNumber: true,
      cell: (row) => html`<span class=${toneOf(row)}>${arrowOf(row)}${changeText(row.change, figures.isLoss)}</span>` },
    { title: names[0], isNumber: true, cell: (row) => figures.show(row.base) },
    { title: names[1], isNumber: true, cell: (row) => figures.show(row.tuned) },
    { title: "Prompt", cell: (row) => html`<button type="button" class="plain as-line"
      onClick=${() => setQuery({ row: row.index })}
        aria-label=${`Show the row of line ${row.line}`}><${Line} text=${row.prompt} most=${110} /></button>` },
  ];
  return html`<${Section} title="Row by row" id="rows" note=${`Sorted by change, ${order}.`} actions=${html`<${Kinds}
    rows=${figures.rows} kind=${kind[0]} />`}>
    <${Table} label="Rows by change" rows=${rows} height=${360} rowKey=${(/** @type {Row} */ row) => row.index}
      rowHeight=${41}
      rowProps=${(/** @type {Row} */ row) => ({ "data-row": row.index, ...(row === shown ? CHOSEN : {}) })}
      columns=${columns} />
    ${figures.rowsLeftOut > 0 && html`<p class="faint">
      ${count(figures.rowsLeftOut)} more rows, whose change lies between these,
      are in the evaluations only.</p>`}
    ${shown ? html`<${Detail} key=${shown.index} row=${shown} rows=${rows} figures=${figures} names=${names}
      path=${path} evaluations=${evaluations} playground=${playground} />`
      : html`<p class="faint">No row of this kind.</p>`}
  </${Section}>`;
}

/** @param {Row} row */
const toneOf = (row) => (row.isWorse ? "worse" : row.isBetter ? "better" : "faint");

/** @param {Row} row */
const arrowOf = (row) => (row.isWorse ? "▼ " : row.isBetter ? "▲ " : "");

/** @param {{rows: Row[], kind: string}} props */
const Kinds = ({ rows, kind }) => html`<span class="choices" role="group"
  aria-label="Rows to show">${KINDS.map(([name, title, is]) => html`<button type="button" class="small"
  aria-pressed=${name === kind} onClick=${() => setQuery({ rows: name === "all" ? null : name, row: null })}>
    ${title} ${count(rows.filter(is).length)}</button>`)}</span>`;

/**
 * @param {{row: Row, rows: Row[], figures: Figures, names: [string, string], path: string, evaluations:
 *   [string|undefined, string|undefined], playground: (row: Row) => string|null}} props
 */
function Detail({ row, rows, figures, names, path, evaluations, playground }) {
  const place = rows.indexOf(row);
  const to = (/** @type {number} */ other) => setQuery({ row: rows[other]?.index });
  const address = playground(row);
  return html`<div class="row-detail" role="group" aria-label=${`Row of line ${row.line}`}>
    <div class="row"><h3>Line ${row.line}</h3><span
      class=${toneOf(row)}>${changeText(row.change, figures.isLoss)}</span>
      <span class="actions"><button type="button" class="small" disabled=${place <= 0}
        onClick=${() => to(place - 1)}>Previous</button>
        <button type="button" class="small" disabled=${place >= rows.length - 1}
          onClick=${() => to(place + 1)}>Next</button>
        ${address && html`<a class="button small" href=${address}>Try in the playground</a>`}</span></div>
    <${Text} text=${row.prompt} most=${3000} label="Prompt" />
    ${figures.isLoss ? html`<${GivenAnswer} row=${row} figures=${figures} names=${names} />`
      : html`<${BothAnswers} row=${row} names=${names} path=${path} evaluations=${evaluations} />`}
  </div>`;
}

/**
 * A row of a supervised job: its answer was given, not sampled.
 * @param {{row: Row, figures: Figures, names: [string, string]}} props
 */
const GivenAnswer = ({ row, figures, names }) => html`<div class="stack"><p class="faint">The given answer</p><${Text}
  text=${row.whole.answer} label="Given answer" />
  <p>Its loss per token: ${figures.show(row.base)} under ${names[0]}, ${figures.show(row.tuned)} under ${names[1]}.</p>
</div>`;

/**
 * @param {{row: Row, names: [string, string], path: string, evaluations: [string|undefined, string|undefined]}} props
 */
function BothAnswers({ row, names, path, evaluations }) {
  const ask = () => Promise.all(evaluations.map((id) => (id ? readRow(path, id, row.index) : null)));
  const found = useLoad(ask, [...evaluations, row.index]);
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return html`<${Busy} what="Reading both answers" />`;
  const sides = [
    { name: names[0], mean: row.base, whole: found.data[0], output: row.whole.base_output },
    { name: names[1], mean: row.tuned, whole: found.data[1], output: row.whole.tuned_output },
  ];
  return html`<div class="sides">${sides.map((side) => html`<div class="side" role="group" aria-label=${side.name}>
    <div class="row"><h4>${side.name}</h4><span class="faint">mean ${reward(side.mean)}</span></div>
    ${side.whole ? samplesOf(side.whole).map((/** @type {any} */ sample) => html`<${Sample} sample=${sample} />`) : html`<${Output}
      output=${side.output} most=${3000} />`}
  </div>`)}</div>`;
}

/** @param {string} path @param {string} id @param {number} index */
async function readRow(path, id, index) {
  const page = await get(`${path}/evaluations/${id}`, { limit: 1, after: index - 1 });
  return page.rows.find((/** @type {any} */ row) => row.index === index) ?? null;
}

/** @param {any} row */
const samplesOf = (row) =>
  row.outputs.map((/** @type {string} */ output, /** @type {number} */ place) => ({
    output,
    place,
    score: row.scores[place],
    error: row.errors[place],
    tokens: row.completion_tokens[place],
    isCut: row.truncated[place],
    grade: row.grades?.[place],
  }));

/** @param {{sample: any}} props */
const Sample = ({ sample }) => html`<article class="answer-card" aria-label=${`Sample ${sample.place + 1}`}>
  <div class="row"><${Reward} reward=${sample.score} /><span class="faint">${count(sample.tokens)} tokens</span>
    ${sample.isCut && html`<${Chip} tone="warn">cut at the limit</${Chip}>`}</div>
  <${Output} output=${sample.output} most=${1500} />
  ${sample.grade ? html`<details><summary>Grade</summary><${Grade}
    grade=${sample.grade} /></details>` : sample.error && html`<p class="wrong-note"><${Line} text=${sample.error}
      most=${300} /></p>`}
</article>`;
