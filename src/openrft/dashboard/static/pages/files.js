// @ts-check
/** Files: put there, looked at, taken away. */
import { useState } from "preact/hooks";
import { get, remove, upload } from "../core/api.js";
import { ago, bytes, count, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Action, Busy, Chip, Empty, Problem } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { Table } from "../parts/table.js";
import { Line } from "../parts/text.js";

const PURPOSES = /** @type {[string, string][]} */ ([
  ["fine-tune", "for jobs"], ["evals", "for evals"], ["user_data", "other"],
]);

export default function Files() {
  useTitle("Files");
  const list = useLoad((signal) => get("/v1/files", { limit: 10_000 }, { signal }), []);
  const { search = "", purpose = "" } = query.value;
  const files = /** @type {any[]} */ (list.data?.data ?? []);
  const purposes = [...new Set([...files.map((file) => file.purpose), ...(purpose ? [purpose] : [])])].sort();
  const shown = files.filter((file) => (!purpose || file.purpose === purpose) && isLike(file, search));
  return html`<header class="section-head"><h1>Files</h1>
      <p class="faint" role="status">${list.data ? `${count(files.length)} ${files.length === 1 ? "file" : "files"}, ${bytes(files.reduce((sum, file) => sum + file.bytes, 0))}` : ""}</p></header>
    ${mayWrite.value && html`<${Upload} done=${list.again} />`}
    ${list.error && html`<${Problem} error=${list.error} retry=${list.again} />`}
    ${!list.data ? !list.error && html`<${Busy} what="Loading files" />` : files.length === 0
      ? html`<${Empty} title="No file yet"><p>A job needs two JSONL files: rows to train on, and others to validate on.</p></${Empty}>`
      : html`<div class="job-filters">
          <input type="search" aria-label="Search files" placeholder="Name or id" value=${search}
            onInput=${(/** @type {any} */ e) => setQuery({ search: e.currentTarget.value })} />
          <label class="picking"><span>Purpose</span><select value=${purpose} onChange=${(/** @type {any} */ e) => setQuery({ purpose: e.currentTarget.value })}>
            <option value="">any</option>${purposes.map((one) => html`<option value=${one} selected=${one === purpose}>${one}</option>`)}</select></label>
        </div>
        <${FileTable} files=${shown} changed=${list.again} />`}`;
}

/** @param {{files: any[], changed: () => void}} props */
const FileTable = ({ files, changed }) => html`<div class="managed"><${Table} label="Files" rows=${files} rowKey=${(/** @type {any} */ file) => file.id} columns=${[
  { title: "Name", isHead: true, cell: (/** @type {any} */ file) => html`<a href=${`/files/${file.id}`}><${Line} text=${file.filename} most=${80} /></a>` },
  { title: "Purpose", cell: (/** @type {any} */ file) => html`<${Chip}>${file.purpose}</${Chip}>` },
  { title: "Size", isNumber: true, cell: (/** @type {any} */ file) => bytes(file.bytes) },
  { title: "Uploaded", cell: (/** @type {any} */ file) => html`<span title=${when(file.created_at)}>${ago(file.created_at)}</span>` },
  { title: "Id", cell: (/** @type {any} */ file) => html`<code>${file.id}</code>` },
  { title: html`<span class="unseen">Actions</span>`, cell: (/** @type {any} */ file) => html`<div class="row tight">
      <a class="button small" href=${`/v1/files/${file.id}/content`} download aria-label=${`Download ${file.filename}`}>Download</a>
      <${Delete} file=${file} done=${changed} /></div>` },
]} /></div>`;

/** @param {{file: any, done: () => void}} props */
export const Delete = ({ file, done }) => mayWrite.value && html`<${Action} kind="small danger"
  confirm=${`Delete ${file.filename}? Jobs that have not begun need their files.`}
  run=${async () => {
    await remove(`/v1/files/${file.id}`);
    done();
  }}>Delete<span class="unseen"> ${file.filename}</span></${Action}>`;

/** A place to drop files, which is a button as well. @param {{done: () => void}} props */
function Upload({ done }) {
  const [purpose, setPurpose] = useState(PURPOSES[0][0]);
  const [isOver, setOver] = useState(false);
  const [atWork, setAtWork] = useState(/** @type {string[]} */ ([]));
  const [failed, setFailed] = useState(/** @type {{name: string, error: any}[]} */ ([]));
  const send = async (/** @type {FileList|null|undefined} */ list) => {
    const files = [...(list ?? [])];
    setFailed([]);
    setAtWork(files.map((file) => file.name));
    for (const file of files) {
      try {
        await upload(file, purpose);
      } catch (error) {
        setFailed((old) => [...old, { name: file.name, error }]);
      }
      setAtWork((old) => old.filter((name) => name !== file.name));
      done();
    }
  };
  const drag = (/** @type {boolean} */ isHere) => (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    setOver(isHere);
  };
  return html`<div class=${`drop ${isOver ? "over" : ""}`} onDragOver=${drag(true)} onDragLeave=${drag(false)}
      onDrop=${(/** @type {DragEvent} */ event) => {
        drag(false)(event);
        send(event.dataTransfer?.files);
      }}>
    <div class="row"><label for="upload">Drop files here, or choose them</label>
      <input id="upload" type="file" multiple onChange=${(/** @type {any} */ e) => {
        send(e.currentTarget.files).then(() => (e.target.value = ""));
      }} />
      <label class="picking"><span>Use</span><select value=${purpose} onChange=${(/** @type {any} */ e) => setPurpose(e.currentTarget.value)}>
        ${PURPOSES.map(([name, title]) => html`<option value=${name}>${title}</option>`)}</select></label></div>
    ${atWork.length > 0 && html`<p role="status" class="faint">Uploading ${atWork.join(", ")} …</p>`}
    ${failed.map(({ name, error }) => html`<p class="wrong-note" role="alert"><${Line} text=${name} />: ${error.message}</p>`)}
  </div>`;
}

/** @param {any} file @param {string} search */
const isLike = (file, search) => `${file.filename} ${file.id}`.toLowerCase().includes(search.toLowerCase());
