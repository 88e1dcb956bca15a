// @ts-check
/** The graders of a project's jobs: those of one name are versions of one grader. */
import { ago } from "../core/format.js";
import { html } from "../core/html.js";
import { differences, flattened } from "./config_diff.js";
import { Line } from "./text.js";

/**
 * @typedef {Object} Version
 * @property {any} grader its JSON
 * @property {any[]} jobs oldest first
 *
 * @typedef {Object} NamedGrader
 * @property {string} name
 * @property {string} type of the newest version
 * @property {Version[]} versions in the order of their first use
 */

/** @param {any} job */
export const graderOf = (job) => job.method?.[job.method.type]?.grader ?? null;

/** @param {any} grader */
const nameOf = (grader) => grader.name || grader.type;

/** @param {any[]} jobs newest first, as the server lists them @returns {NamedGrader[]} the one used last first */
export function gradersOf(jobs) {
  /** @type {Map<string, Map<string, Version>>} */
  const names = new Map();
  for (const job of [...jobs].reverse()) {
    const grader = graderOf(job);
    if (!grader) continue;
    const versions = names.get(nameOf(grader)) ?? new Map();
    // Taken out and put back, the grader used last comes last.
    names.delete(nameOf(grader));
    names.set(nameOf(grader), versions);
    const key = canonical(grader);
    const version = versions.get(key) ?? { grader, jobs: [] };
    version.jobs.push(job);
    versions.set(key, version);
  }
  return [...names].reverse().map(([name, found]) => {
    const versions = [...found.values()];
    return { name, type: versions[versions.length - 1].grader.type, versions };
  });
}

/** The same text for the same definition, whatever the order of its keys. @param {any} value @returns {string} */
const canonical = (value) =>
  JSON.stringify(value, (_, inner) => inner && typeof inner === "object" && !Array.isArray(inner)
    ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner);

/** Versions of one grader, newest first, each with what it changed. @param {{grader: NamedGrader}} props */
export const Versions = ({ grader }) => html`<ol class="versions" reversed aria-label=${`Versions of ${grader.name}`}>
  ${grader.versions.map((version, index) => ({ version, index })).reverse().map(({ version, index }) => html`<li
    key=${index} data-version=${index + 1}>
    <strong>Version ${index + 1}</strong> <span class="faint">first used ${ago(version.jobs[0].created_at)}, in
      ${version.jobs.map((job, at) => html`${at ? ", " : " "}<a href=${`/finetune/${job.id}`}>
        <${Line} text=${job.user_provided_suffix || job.id} most=${40} /></a>`)}</span>
    ${index > 0 && html`<${Changes} before=${grader.versions[index - 1].grader} after=${version.grader} />`}
  </li>`)}</ol>`;

/** @param {{before: any, after: any}} props */
const Changes = ({ before, after }) => html`<div class="table-box" role="region" tabindex="0"
  aria-label="What it changed"><table class="changes">
  <thead><tr><th scope="col">Field</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
  <tbody>${differences([flattened(before), flattened(after)]).map(({ key, values }) => html`<tr><th scope="row"><code>
    <${Line} text=${key} /></code></th>
    ${values.map((value) => html`<td>${value === undefined ? html`<span class="faint">not there</span>` : html`<code>
      <${Line} text=${value} most=${400} /></code>`}</td>`)}</tr>`)}</tbody></table></div>`;
