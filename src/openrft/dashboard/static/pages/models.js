// @ts-check
/** Every name that answers here: where each is from, and how to use it. */
import { get, remove } from "../core/api.js";
import { ago, count, number, reward, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery, withQuery } from "../core/router.js";
import { isAdmin, mayWrite } from "../core/session.js";
import { Action, Busy, Chip, Code, Copy, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { Table } from "../parts/table.js";
import { Line } from "../parts/text.js";

export default function Models() {
  useTitle("Models");
  const list = useLoad((signal) => get("/v1/models", {}, { signal }), []);
  if (list.error) return html`<h1>Models</h1><${Problem} error=${list.error} retry=${list.again} />`;
  if (!list.data) return html`<${Busy} what="Loading models" />`;
  const { search = "", checkpoints, model: chosen } = query.value;
  const models = /** @type {any[]} */ (list.data.data);
  const isTrained = (/** @type {any} */ one) => one.source.type === "job" || one.source.type === "granted";
  const trained = models.filter((one) => isTrained(one) && one.id.toLowerCase().includes(search.toLowerCase()));
  const shown = trained.filter((one) => checkpoints || one.source.is_final !== false);
  const hidden = trained.length - shown.length;
  return html`<h1>Models</h1>
    ${chosen && html`<${Use} model=${chosen} />`}
    <${Section} id="tuned" title="Trained here" note="A checkpoint answers by its name as the final model does."
        actions=${html`<input type="search" aria-label="Search models" placeholder="Name" value=${search}
            onInput=${(/** @type {any} */ e) => setQuery({ search: e.currentTarget.value })} />
          <label class="row tight"><input type="checkbox" checked=${Boolean(checkpoints)} onChange=${() => setQuery({ checkpoints: checkpoints ? null : 1 })} />
            Checkpoints${!checkpoints && hidden > 0 ? ` (${count(hidden)})` : ""}</label>`}>
      ${models.some(isTrained) ? html`<${Trained} models=${shown} changed=${list.again} />`
        : html`<p class="faint">None yet: each checkpoint of a job will be here.${mayWrite.value && html` <a href="/finetune/new">Create a job</a>`}</p>`}
    </${Section}>
    <${Section} id="bases" title="To start from">
      <${Table} label="Base models" rows=${models.filter((one) => !isTrained(one))} rowKey=${(/** @type {any} */ one) => one.id} columns=${[
        { title: "Model", isHead: true, cell: (/** @type {any} */ one) => html`<${Line} text=${one.id} />` },
        { title: "What it is", cell: (/** @type {any} */ one) => kindOf(one.source) },
        { title: html`<span class="unseen">Actions</span>`, cell: (/** @type {any} */ one) => html`<${Ways} model=${one} />` },
      ]} /></${Section}>`;
}

/** @param {{models: any[], changed: () => void}} props */
const Trained = ({ models, changed }) => html`<div class="managed"><${Table} label="Trained models" rows=${models} rowKey=${(/** @type {any} */ one) => one.id} columns=${[
  { title: "Model", isHead: true, cell: (/** @type {any} */ one) => html`<span class="row tight"><${Line} text=${one.id} />
    ${one.source.is_final && html`<${Chip} tone="good" title="What its job ships">final</${Chip}>`}</span>` },
  { title: "From", cell: (/** @type {any} */ one) => (one.source.type === "job"
    ? html`<a href=${`/finetune/${one.source.fine_tuning_job_id}`}><code>${one.source.fine_tuning_job_id}</code></a>` : "another project") },
  { title: "Step", isNumber: true, cell: (/** @type {any} */ one) => count(one.source.step_number) },
  { title: "Validation", isNumber: true, cell: (/** @type {any} */ one) => validation(one.source) },
  { title: "Made", cell: (/** @type {any} */ one) => html`<span title=${when(one.created)}>${ago(one.created)}</span>` },
  { title: html`<span class="unseen">Actions</span>`, cell: (/** @type {any} */ one) => html`<div class="row tight"><${Ways} model=${one} />
    ${isAdmin.value && one.source.type === "job" && html`<${Action} kind="small danger" confirm=${`Delete ${one.id}? Its files go, and nothing brings them back.`}
      run=${async () => {
        await remove(`/v1/models/${encodeURIComponent(one.id)}`);
        changed();
      }}>Delete<span class="unseen"> ${one.id}</span></${Action}>`}</div>` },
]} /></div>`;

/** @param {{model: any}} props */
const Ways = ({ model }) => html`<div class="row tight">
  ${mayWrite.value && html`<a class="button small" href=${`/playground?models=${encodeURIComponent(model.id)}`} aria-label=${`Try ${model.id}`}>Try</a>
  <a class="button small" href=${`/finetune/new?model=${encodeURIComponent(model.id)}`} aria-label=${`Train from ${model.id}`}>Train from it</a>`}
  <a class="button small" href=${withQuery({ model: model.id })} aria-label=${`Code for ${model.id}`}>Code</a></div>`;

/** How programs ask a model. @param {{model: string}} props */
const Use = ({ model }) => html`<section class="panel stack" id="use" aria-label="How to ask it">
  <header class="section-head"><h2>Ask <${Line} text=${model} /></h2>
    <div class="actions"><${Copy} text=${model} label="Copy the name" /><a class="button small" href=${withQuery({ model: null })}>Close</a></div></header>
  <div class="grid"><${Code} label="curl" text=${curl(model)} /><${Code} label="Python" text=${python(model)} /></div>
  <p class="faint">A model is loaded when it is first asked, which takes a moment; the one that was asked longest ago makes room.</p>
</section>`;

/** @param {string} model */
const curl = (model) => `curl ${location.origin}/v1/chat/completions \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '${JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] }).replaceAll("'", "'\\''")}'
`;

/** @param {string} model */
const python = (model) => `from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1")  # the key: OPENAI_API_KEY
answer = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)
`;

/** @param {any} source */
function kindOf(source) {
  if (source.type === "alias") return html`another name of <code>${source.model}</code>`;
  return source.type === "server" ? "answered for by another server" : "base model";
}

/** @param {any} source */
function validation(source) {
  if (typeof source.valid_mean_reward === "number") return reward(source.valid_mean_reward);
  return typeof source.valid_loss === "number" ? `loss ${number(source.valid_loss)}` : "–";
}
