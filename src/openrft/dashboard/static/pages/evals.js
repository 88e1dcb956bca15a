// @ts-check
/** All evals: which data is judged by which graders. */
import { get } from "../core/api.js";
import { ago, count, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery } from "../core/router.js";
import { Busy, Code, Empty, Problem } from "../parts/elements.js";
import { jobOf } from "../parts/eval_names.js";
import { useTitle } from "../parts/frame.js";
import { Table } from "../parts/table.js";
import { Line } from "../parts/text.js";

const PAGE = 100;

export default function Evals() {
  useTitle("Evals");
  const { after } = query.value;
  const list = useLoad((signal) => get("/v1/evals", { limit: PAGE, order: "desc", after }, { signal }), [after]);
  if (list.error) return html`<h1>Evals</h1><${Problem} error=${list.error} retry=${list.again} />`;
  if (!list.data) return html`<${Busy} what="Loading evals" />`;
  const { data, has_more: hasMore, last_id: last } = list.data;
  return html`<header class="section-head"><h1>Evals</h1>
      <p class="faint">Data with graders. A run is one pass of a model over it; two runs of one eval can be compared row by row.</p></header>
    ${data.length === 0 && !after ? html`<${Empty} title="No eval yet">
        <p>Every reinforcement job makes one, with a run for each validation. Others are made by programs:</p>
        <${Code} label="Python" text=${python(location.origin)} /></${Empty}>`
      : html`<${Table} label="Evals" rows=${data} rowKey=${(/** @type {any} */ one) => one.id} columns=${[
        { title: "Eval", isHead: true, cell: (/** @type {any} */ one) => html`<a href=${`/evals/${one.id}`}><${Line} text=${one.name || one.id} most=${140} /></a>` },
        { title: "Judged by", cell: (/** @type {any} */ one) => criteria(one) },
        { title: "Of job", cell: (/** @type {any} */ one) => (jobOf(one) ? html`<a href=${`/finetune/${jobOf(one)}`}><code>${jobOf(one)}</code></a>` : "–") },
        { title: "Created", cell: (/** @type {any} */ one) => html`<span title=${when(one.created_at)}>${ago(one.created_at)}</span>` },
      ]} />
      <div class="row">${after && html`<button type="button" onClick=${() => setQuery({ after: null }, { push: true })}>Newest evals</button>`}
        ${hasMore && html`<button type="button" onClick=${() => setQuery({ after: last }, { push: true })}>Older evals</button>`}</div>`}`;
}

/** @param {any} one */
function criteria(one) {
  const names = one.testing_criteria.map((/** @type {any} */ criterion) => `${criterion.name} (${criterion.type})`);
  return html`<${Line} text=${names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${count(names.length - 3)} more` : names.join(", ")} />`;
}

/** @param {string} origin */
const python = (origin) => `from openai import OpenAI

client = OpenAI(base_url="${origin}/v1")
made = client.evals.create(
    name="capitals",
    data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
    testing_criteria=[{"type": "string_check", "name": "exact", "operation": "eq",
                       "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}],
)
print("${origin}/evals/" + made.id)
`;
