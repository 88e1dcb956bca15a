// @ts-check
/** One run of an eval: what passed, on which kinds of rows it fails, and every answer with its grades. */
import { useRef } from "preact/hooks";
import { all, get } from "../core/api.js";
import { count, percent, reward, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad, useLoadWhile } from "../core/load.js";
import { query, setQuery, withQuery } from "../core/router.js";
import { Busy, Card, Chip, Problem, Section, Status } from "../parts/elements.js";
import { criterionName, keysOf, messagesOf, outputOf, passShare, runName } from "../parts/eval_names.js";
import { Slices } from "../parts/eval_slices.js";
import { useTitle } from "../parts/frame.js";
import { Table } from "../parts/table.js";
import { Line, Messages, Text } from "../parts/text.js";

const MOST = 1000; // items that are read
const EVERY = 2000; // milliseconds, while the run is going on
const GOING_ON = new Set(["queued", "in_progress"]);
const STATUSES = ["pass", "fail", "error"];
const TONES = /** @type {Record<string, string>} */ ({ pass: "good", fail: "warn", error: "bad" });

/** @param {{id: string, run: string}} props */
export default function EvalRun({ id, run: runId }) {
  const path = `/v1/evals/${encodeURIComponent(id)}`;
  const found = useLoadWhile((signal) => Promise.all([get(path, {}, { signal }), get(`${path}/runs/${encodeURIComponent(runId)}`, {}, { signal })]),
    [id, runId], { every: EVERY, isGoingOn: ([, { status }]) => GOING_ON.has(status) });
  const [one, run] = found.data ?? [null, null];
  useTitle(run ? runName(run) : "Run");
  if (!run) return found.error ? html`<h1>Run</h1><${Problem} error=${found.error} retry=${found.again} />` : html`<${Busy} what="Loading the run" />`;
  const counts = run.result_counts;
  return html`<p><a href=${`/evals/${id}`}><${Line} text=${one.name || one.id} most=${100} /></a></p>
    <header class="section-head"><h1><${Line} text=${runName(run)} most=${120} /></h1><${Status} status=${run.status} />
      <p class="faint">${run.model ? html`<${Line} text=${run.model} />` : "stored answers"} · ${when(run.created_at)}</p></header>
    ${found.error && html`<${Problem} error=${found.error} retry=${found.again} />`}
    ${run.error && html`<${Problem} error=${run.error} />`}
    <div class="cards">
      <${Card} id="passed" label="Passed" value=${percent(passShare(counts))} note=${`${count(counts.passed)} of ${count(counts.passed + counts.failed)} that could be graded`} />
      ${(run.per_testing_criteria_results ?? []).map((/** @type {any} */ result) => html`<${Card} label=${html`<${Line} text=${criterionName(one, result.testing_criteria)} />`}
        value=${percent(passShare(result))} note=${`${count(result.passed)} of ${count(result.passed + result.failed)} passed`} />`)}
      <${Card} label="Errors" value=${count(counts.errored)} note="Counted neither as passed nor as failed" tone=${counts.errored ? "bad" : ""} />
      <${Card} label="Tokens" value=${count((run.per_model_usage ?? []).reduce((/** @type {number} */ sum, /** @type {any} */ use) => sum + use.completion_tokens, 0))} note="of answers" />
    </div>
    <${Items} eval=${one} run=${run} path=${`${path}/runs/${run.id}/output_items`} />`;
}

/** @param {{eval: any, run: any, path: string}} props */
function Items({ eval: one, run, path }) {
  const { status, search = "", item: chosen } = query.value;
  const { passed, failed, errored } = run.result_counts;
  const known = useRef(/** @type {any[]|null} */ (null)); // stays while more are on their way
  const list = useLoad(() => all(path, { order: "asc" }, MOST), [path, passed + failed + errored]);
  if (list.data) known.current = list.data;
  if (list.error) return html`<${Problem} error=${list.error} retry=${list.again} />`;
  const items = known.current;
  if (!items) return html`<${Busy} what="Loading answers" />`;
  const shown = items.filter((item) => (!status || item.status === status) && isLike(item, search));
  const open = items.find((item) => item.id === chosen);
  return html`<${Section} id="slices" title="Where it fails" note="Kinds of rows with the lowest share that passes. Of few items a low share may be chance.">
      <${Slices} items=${items} /></${Section}>
    ${chosen && html`<${Detail} eval=${one} item=${open} id=${chosen} path=${path} />`}
    <${Section} id="items" title="Answers" note=${items.length < run.result_counts.total ? `The first ${count(items.length)} of ${count(run.result_counts.total)}.` : null}
      actions=${html`<input type="search" aria-label="Search answers" placeholder="Prompt, answer, key" value=${search}
          onInput=${(/** @type {any} */ e) => setQuery({ search: e.currentTarget.value })} />
        <label class="picking"><span>Result</span><select value=${status ?? ""} onChange=${(/** @type {any} */ e) => setQuery({ status: e.currentTarget.value })}>
          <option value="">any</option>${STATUSES.map((name) => html`<option value=${name} selected=${name === status}>${name}</option>`)}</select></label>`}>
      <p class="unseen" role="status">${count(shown.length)} answers</p>
      <div class="managed"><${Table} label="Answers" rows=${shown} rowKey=${(/** @type {any} */ item) => item.id} columns=${[
        { title: "Row", isNumber: true, isHead: true, cell: (/** @type {any} */ item) => html`<a href=${withQuery({ item: item.id })} aria-label=${`Row ${item.datasource_item_id}, open`}>${item.datasource_item_id}</a>` },
        { title: "Result", cell: (/** @type {any} */ item) => html`<${Chip} tone=${TONES[item.status]}>${item.status}</${Chip}>` },
        { title: "Prompt", cell: (/** @type {any} */ item) => html`<${Line} text=${messagesOf(item)?.at(-1)?.content ?? item.datasource_item} most=${90} />` },
        { title: "Answer", cell: (/** @type {any} */ item) => html`<${Line} text=${outputOf(item)} most=${90} />` },
        ...one.testing_criteria.map((/** @type {any} */ criterion) => ({
          title: html`<${Line} text=${criterion.name} most=${30} />`, isNumber: true,
          cell: (/** @type {any} */ item) => reward(item.results.find((/** @type {any} */ result) => result.name === criterion.id)?.score),
        })),
      ]} /></div></${Section}>`;
}

/** One item whole. @param {{eval: any, item: any, id: string, path: string}} props `item`: if it was read already */
function Detail({ eval: one, item: known, id, path }) {
  const found = useLoad(async (signal) => known ?? get(`${path}/${encodeURIComponent(id)}`, {}, { signal }), [id]);
  const item = known ?? found.data;
  if (found.error) return html`<${Problem} error=${found.error} />`;
  if (!item) return html`<${Busy} />`;
  const messages = messagesOf(item);
  return html`<section class="panel stack" id="item" aria-label=${`Row ${item.datasource_item_id}`}>
    <header class="section-head"><h2>Row ${item.datasource_item_id}</h2><${Chip} tone=${TONES[item.status]}>${item.status}</${Chip}>
      <div class="actions"><a class="button small" href=${withQuery({ item: null })}>Close</a></div></header>
    <div class="grid">
      <div class="stack"><h3>Prompt</h3>${messages ? html`<${Messages} messages=${messages} />` : html`<${Text} text=${item.datasource_item} />`}
        ${Object.keys(keysOf(item)).length > 0 && html`<h3>The row's other keys</h3><${Text} text=${keysOf(item)} label="Other keys" />`}</div>
      <div class="stack"><h3>Answer</h3><${Text} text=${outputOf(item)} label="Answer" />
        ${item.sample?.error && html`<p class="wrong-note"><${Line} text=${item.sample.error.message} most=${400} /></p>`}
        <h3>Grades</h3>${item.results.map((/** @type {any} */ result) => html`<${Grade} key=${result.name} result=${result} name=${criterionName(one, result.name)} />`)}</div>
    </div></section>`;
}

/** @param {{result: any, name: string}} props */
function Grade({ result, name }) {
  const { explanation, scores, ...rest } = result.sample ?? {};
  return html`<div class="stack"><div class="row"><strong><${Line} text=${name} /></strong> ${reward(result.score)}
      <${Chip} tone=${result.passed ? "good" : "warn"}>${result.passed ? "passed" : "not passed"}</${Chip}></div>
    ${scores && html`<ul>${Object.entries(scores).map(([part, score]) => html`<li><${Line} text=${part} />: ${reward(/** @type {any} */ (score))}</li>`)}</ul>`}
    ${explanation && html`<${Text} text=${explanation} label="Explanation" />`}
    ${result.error && html`<p class="wrong-note"><${Line} text=${result.error.message ?? result.error} most=${1000} /></p>`}
    ${Object.keys(rest).length > 0 && html`<details><summary>What else it said</summary><${Text} text=${rest} /></details>`}</div>`;
}

/** @param {any} item @param {string} search */
const isLike = (item, search) => !search || `${JSON.stringify(item.datasource_item)} ${outputOf(item)}`.toLowerCase().includes(search.toLowerCase());
