// @ts-check
/** Whose grader judges the answers, and the row that it reads. */
import { useState } from "preact/hooks";
import { get } from "../core/api.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { optionsOf } from "./exports.js";

const MASK = "**********"; // stands in place of a secret in what the server tells

/** @typedef {{job: string, definition: any}} Chosen */

/**
 * @param {{own: any, grader: Chosen|null, pick: (grader: Chosen|null) => void}} props `own`: the job that the page is
 *   about
 */
export function GraderPicker({ own, grader, pick }) {
  const found = useLoad(() => get("/v1/fine_tuning/jobs", { limit: 100 }), []);
  const listed = (found.data?.data ?? []).filter((/** @type {any} */ job) => optionsOf(job).grader);
  const isListed = listed.some((/** @type {any} */ job) => job.id === own?.id);
  const jobs = own && optionsOf(own).grader && !isListed ? [own, ...listed] : listed;
  const choose = (/** @type {string} */ id) => {
    const job = jobs.find((/** @type {any} */ one) => one.id === id);
    pick(job ? { job: id, definition: optionsOf(job).grader } : null);
  };
  return html`<div class="stack"><div class="row"><label for="grader-of">Grade with</label>
    <select id="grader-of" value=${grader?.job ?? ""}
      onChange=${(/** @type {any} */ event) => choose(event.currentTarget.value)}>
      <option value="">nothing</option>
      ${jobs.map((/** @type {any} */ job) => html`<option key=${job.id}
        value=${job.id}>${optionsOf(job).grader.name} (${job.user_provided_suffix ?? job.id})</option>`)}</select></div>
    ${grader && JSON.stringify(grader.definition).includes(MASK) && html`<p
      class="wrong-note">This grader calls an endpoint with headers that the server keeps to itself,
      so the endpoint will refuse our call.</p>`}
  </div>`;
}

/**
 * The row as JSON, to be changed for a prompt of one's own.
 * @param {{row: string, item: any, edit: (item: any) => void}} props `row`: which one it is; what was typed goes with it
 */
export const ItemEditor = ({ row, item, edit }) => html`<details
  class="field"><summary>The row that the grader reads as <code>item</code>${item ? "" : ": none"}</summary>
  <${ItemText} key=${row} item=${item} edit=${edit} />
  <p class="hint">For a prompt that you typed, give the keys that the grader asks for.</p></details>`;

/** @param {{item: any, edit: (item: any) => void}} props */
function ItemText({ item, edit }) {
  const [written, setWritten] = useState(/** @type {string|null} */ (null));
  const [error, setError] = useState("");
  const change = (/** @type {string} */ text) => {
    setWritten(text);
    try {
      const found = text.trim() ? JSON.parse(text) : null;
      const isRow = found === null || (typeof found === "object" && !Array.isArray(found));
      setError(isRow ? "" : 'An object is needed, as in {"answer": "42"}');
      if (!isRow) return;
      edit(found);
      setWritten(null);
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : "not JSON");
    }
  };
  return html`<textarea aria-label="Item, as JSON" rows="8" value=${written ?? (item ? JSON.stringify(item, null, 2) : "")}
      onChange=${(/** @type {any} */ event) => change(event.currentTarget.value)}></textarea>
    ${error && html`<p class="wrong-note" role="alert">${error}</p>`}`;
}
