// @ts-check
/** One file: its rows with their lines, what is wrong with them, and the jobs that use it. */
import { all, get, text } from "../core/api.js";
import { ago, bytes, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { navigate, query, setQuery } from "../core/router.js";
import { Busy, Copy, Problem, Section, Status } from "../parts/elements.js";
import { FilePreview } from "../parts/file_preview.js";
import { useTitle } from "../parts/frame.js";
import { nameOf } from "../parts/job_rows.js";
import { Table } from "../parts/table.js";
import { Line, Text } from "../parts/text.js";
import { Delete } from "./files.js";

const ROWS = 20;
const MOST_TEXT = 2_000_000; // bytes of a file that is shown as it is

/** @param {{id: string}} props */
export default function File({ id }) {
  const found = useLoad((signal) => get(`/v1/files/${encodeURIComponent(id)}`, {}, { signal }), [id]);
  const file = found.data;
  useTitle(file?.filename ?? "File");
  if (found.error) return html`<h1>File</h1><${Problem} error=${found.error} retry=${found.again} />`;
  if (!file) return html`<${Busy} what="Loading the file" />`;
  return html`<header class="section-head"><h1><${Line} text=${file.filename} most=${200} /></h1>
      <div class="actions"><a class="button" href=${`/v1/files/${id}/content`} download>Download</a>
        <${Delete} file=${file} done=${() => navigate("/files")} /></div></header>
    <dl class="facts"><dt>Id</dt><dd class="row tight"><code>${file.id}</code><${Copy} text=${file.id} /></dd>
      <dt>Purpose</dt><dd>${file.purpose}</dd><dt>Size</dt><dd>${bytes(file.bytes)}</dd>
      <dt>Uploaded</dt><dd>${when(file.created_at)}</dd>
      ${file.expires_at && html`<dt>Expires</dt><dd>${when(file.expires_at)}</dd>`}</dl>
    <${UsedBy} file=${file} />
    ${file.purpose === "fine-tune" ? html`<${Rows} file=${file} />` : html`<${Content} file=${file} />`}`;
}

/** @param {{file: any}} props */
function UsedBy({ file }) {
  const jobs = useLoad(async (signal) => {
    const isResult = file.purpose === "fine-tune-results"; // whose name no search knows
    const named = await all("/v1/fine_tuning/summaries", isResult ? {} : { search: file.filename }, 500);
    signal.throwIfAborted();
    return named.flatMap((row) => usesOf(row.job, file.id).map((use) => ({ row, use })));
  }, [file.id]);
  if (jobs.error) return html`<${Problem} error=${jobs.error} retry=${jobs.again} />`;
  return html`<${Section} id="used-by" title="Used by">
    ${!jobs.data ? html`<${Busy} />` : jobs.data.length === 0 ? html`<p class="faint">No job.</p>`
      : html`<${Table} label="Jobs that use it" rows=${jobs.data} columns=${[
        { title: "Job", isHead: true, cell: (/** @type {any} */ one) => html`<a href=${`/finetune/${one.row.id}`}><${Line} text=${nameOf(one.row)} /></a>` },
        { title: "As", cell: (/** @type {any} */ one) => one.use },
        { title: "Status", cell: (/** @type {any} */ one) => html`<${Status} status=${one.row.job.status} />` },
        { title: "Created", cell: (/** @type {any} */ one) => ago(one.row.job.created_at) },
      ]} />`}
  </${Section}>`;
}

/** @param {any} job @param {string} id */
function usesOf(job, id) {
  const uses = [];
  if (job.training_file === id) uses.push("training file");
  if (job.validation_file === id) uses.push("validation file");
  if ((job.result_files ?? []).includes(id)) uses.push("result");
  if (Object.values(job.method ?? {}).some((/** @type {any} */ one) => one?.hyperparameters?.test_file === id)) uses.push("test file");
  return uses;
}

/** The rows as a job of a method reads them. @param {{file: any}} props */
function Rows({ file }) {
  const method = query.value.method === "supervised" ? "supervised" : "reinforcement";
  const after = Number(query.value.after) || 0;
  const found = useLoad((signal) => get(`/v1/files/${file.id}/preview`, { method, rows: ROWS, after }, { signal }), [file.id, method, after]);
  const preview = found.data;
  const last = preview?.rows[preview.rows.length - 1]?.line;
  return html`<${Section} id="file-rows" title="Rows" actions=${html`<label class="picking"><span>Read for</span>
      <select value=${method} onChange=${(/** @type {any} */ e) => setQuery({ method: e.currentTarget.value, after: null })}>
        <option value="reinforcement">reinforcement</option><option value="supervised">supervised</option></select></label>`}>
    ${found.error && html`<${Problem} error=${found.error} />`}
    ${!preview ? !found.error && html`<${Busy} what="Reading rows" />` : html`
      <${FilePreview} preview=${{ ...preview, rows: [] }} />
      <${Table} label="Rows" rows=${preview.rows} rowKey=${(/** @type {any} */ row) => row.line} columns=${[
        { title: "Line", isNumber: true, isHead: true, cell: (/** @type {any} */ row) => row.line },
        { title: "Content", cell: (/** @type {any} */ row) => html`<${Text} text=${row.content} most=${600} />` },
      ]} />
      <div class="row">
        <button type="button" disabled=${after === 0} onClick=${() => setQuery({ after: null }, { push: true })}>First rows</button>
        <button type="button" disabled=${!preview.has_more} onClick=${() => setQuery({ after: last }, { push: true })}>Next rows</button></div>`}
  </${Section}>`;
}

/** Any other file, as text with its lines. @param {{file: any}} props */
function Content({ file }) {
  const isShown = file.bytes <= MOST_TEXT;
  const found = useLoad(async (signal) => (isShown ? text(`/v1/files/${file.id}/content`, { signal }) : null), [file.id]);
  const lines = (found.data ?? "").replace(/\n$/, "").split("\n");
  return html`<${Section} id="file-content" title="Content">
    ${found.error && html`<${Problem} error=${found.error} />`}
    ${!isShown ? html`<p class="faint">${bytes(file.bytes)} are too many to show here; download it.</p>`
      : found.data === null ? !found.error && html`<${Busy} />`
        : html`<${Table} label="Lines" rows=${lines} rowHeight=${34} columns=${[
          { title: "Line", isNumber: true, isHead: true, cell: (/** @type {string} */ _, /** @type {number} */ place) => place + 1 },
          { title: "Content", cell: (/** @type {string} */ line) => html`<code><${Line} text=${line} most=${1000} /></code>` },
        ]} />`}
  </${Section}>`;
}
