// @ts-check
/** One eval: its runs, and two of them compared (`?runs=a,b`, the base first). */
import { all, get, post, remove } from "../core/api.js";
import { ago, count, percent, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad, useLoadWhile } from "../core/load.js";
import { navigate, query, setQuery } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Action, Busy, Empty, Problem, Section, Status } from "../parts/elements.js";
import { RunComparison } from "../parts/eval_comparison.js";
import { criterionName, jobOf, passShare, runName } from "../parts/eval_names.js";
import { useTitle } from "../parts/frame.js";
import { Table } from "../parts/table.js";
import { Line, Text } from "../parts/text.js";

const EVERY = 2000; // milliseconds, while a run is going on
const GOING_ON = new Set(["queued", "in_progress"]);

/** @param {{id: string}} props */
export default function Eval({ id }) {
  const path = `/v1/evals/${encodeURIComponent(id)}`;
  const found = useLoad((signal) => get(path, {}, { signal }), [id]);
  const one = found.data;
  useTitle(one?.name ?? "Eval");
  if (found.error) return html`<h1>Eval</h1><${Problem} error=${found.error} retry=${found.again} />`;
  if (!one) return html`<${Busy} what="Loading the eval" />`;
  const job = jobOf(one);
  return html`<header class="section-head"><h1><${Line} text=${one.name || one.id} most=${200} /></h1>
      <div class="actions">${mayWrite.value && html`<${Action} kind="danger" confirm="Delete this eval with all its runs?" run=${async () => {
        await remove(path);
        navigate("/evals");
      }}>Delete</${Action}>`}</div></header>
    <dl class="facts"><dt>Id</dt><dd><code>${one.id}</code></dd><dt>Created</dt><dd>${when(one.created_at)}</dd>
      ${job && html`<dt>Job</dt><dd><a href=${`/finetune/${job}`}><code>${job}</code></a></dd>`}</dl>
    <${Runs} eval=${one} path=${path} />
    <${Section} id="criteria" title="Graders">
      ${one.testing_criteria.map((/** @type {any} */ criterion) => html`<details><summary><${Line} text=${criterion.name} /> <span class="faint">${criterion.type}</span></summary>
        <${Text} text=${criterion} label=${criterion.name} /></details>`)}</${Section}>`;
}

/** @param {{eval: any, path: string}} props */
function Runs({ eval: one, path }) {
  const { runs: chosen = "" } = query.value;
  const picked = chosen.split(",").filter(Boolean);
  const list = useLoadWhile(() => all(`${path}/runs`, {}, 1000), [path],
    { every: EVERY, isGoingOn: (found) => found.some((run) => GOING_ON.has(run.status)) });
  if (list.error && !list.data) return html`<${Problem} error=${list.error} retry=${list.again} />`;
  if (!list.data) return html`<${Busy} what="Loading runs" />`;
  const runs = /** @type {any[]} */ (list.data);
  // The one that was ticked last replaces the other one beyond two; the base stays.
  const pick = (/** @type {string} */ id) => {
    const rest = picked.filter((other) => other !== id);
    setQuery({ runs: (rest.length < picked.length ? rest : [...rest.slice(0, 1), id]).join(",") });
  };
  return html`<${Section} id="eval-runs" title="Runs" note=${runs.length > 1 ? "Tick two to compare them: first the base, then the other." : null}>
      <p class="unseen" role="status">${count(runs.length)} ${runs.length === 1 ? "run" : "runs"}</p>
      ${runs.length === 0 ? html`<${Empty} title="No run yet"><p>Runs are started by <code>client.evals.runs.create</code>, and by each validation of a job.</p></${Empty}>`
        : html`<div class="managed"><${Table} label="Runs" rows=${runs} rowKey=${(/** @type {any} */ run) => run.id} columns=${columnsOf(one, path, picked, pick, list.again)} /></div>`}
    </${Section}>
    ${picked.length === 2 && html`<${RunComparison} key=${chosen} eval=${one} runs=${picked} />`}`;
}

/** @param {any} one @param {string} path @param {string[]} picked @param {(id: string) => void} pick @param {() => void} changed */
const columnsOf = (one, path, picked, pick, changed) => [
  { title: html`<span class="unseen">Compare</span>`, cell: (/** @type {any} */ run) => html`<span class="row tight"><input type="checkbox" aria-label=${`Compare ${runName(run)}`}
      checked=${picked.includes(run.id)} disabled=${run.status !== "completed"} onChange=${() => pick(run.id)} />
    <span class="faint">${picked.length === 2 && picked.includes(run.id) ? ["base", "other"][picked.indexOf(run.id)] : ""}</span></span>` },
  { title: "Run", isHead: true, cell: (/** @type {any} */ run) => html`<a href=${`/evals/${one.id}/runs/${run.id}`}><${Line} text=${runName(run)} most=${80} /></a>` },
  { title: "Model", cell: (/** @type {any} */ run) => (run.model ? html`<${Line} text=${run.model} most=${80} />` : "stored answers") },
  { title: "Status", cell: (/** @type {any} */ run) => html`<${Status} status=${run.status} />` },
  { title: "Passed", isNumber: true, cell: (/** @type {any} */ run) => html`<span title="Of those that could be graded">${percent(passShare(run.result_counts))}</span>` },
  ...one.testing_criteria.map((/** @type {any} */ criterion) => ({
    title: html`<${Line} text=${criterionName(one, criterion.id)} most=${40} />`, isNumber: true,
    cell: (/** @type {any} */ run) => {
      const counts = run.per_testing_criteria_results?.find((/** @type {any} */ result) => result.testing_criteria === criterion.id);
      return counts ? html`${percent(passShare(counts))} <span class="faint">${count(counts.passed)} of ${count(counts.passed + counts.failed)}</span>` : "–";
    },
  })),
  { title: "Rows", isNumber: true, cell: (/** @type {any} */ run) => count(run.result_counts.total) },
  { title: "Errors", isNumber: true, cell: (/** @type {any} */ run) => count(run.result_counts.errored) },
  { title: "Started", cell: (/** @type {any} */ run) => html`<span title=${when(run.created_at)}>${ago(run.created_at)}</span>` },
  { title: html`<span class="unseen">Actions</span>`, cell: (/** @type {any} */ run) => GOING_ON.has(run.status) && mayWrite.value && html`<${Action} kind="small"
      run=${async () => {
        await post(`${path}/runs/${run.id}/cancel`);
        changed();
      }}>Cancel<span class="unseen"> ${runName(run)}</span></${Action}>` },
];
