// @ts-check
/** What a job made, to take away: models, tables, rollouts, the whole run. */
import { html } from "../core/html.js";

/**
 * @param {any} job
 * @returns {string}
 */
export const jobPath = (job) => `/v1/fine_tuning/jobs/${encodeURIComponent(job.id)}`;

/** The method's options. @param {any} job @returns {any} */
export const optionsOf = (job) => job?.method?.[job.method.type] ?? {};

/**
 * A file to download, and what it is for.
 * @param {{href: string, name: string, title: string, children?: any}} props
 */
export const Download = ({ href, name, title, children }) => html`<li class="download">
  <a class="button small" href=${href} download=${name}>${title}</a><span class="faint">${children}</span>
</li>`;

/**
 * The model that ships, as folders of files.
 * @param {{job: any, isAdapter: boolean}} props `isAdapter`: trained by LoRA, so there is an adapter to take alone
 */
export const ModelDownloads = ({ job, isAdapter }) => html`
  <${Download} href=${`${jobPath(job)}/exports/merged`} name=${`${job.id}-merged.zip`} title="Model (.zip)">
    the whole model as a Hugging Face folder: for transformers, vLLM, SGLang, and to convert to GGUF
  </${Download}>
  ${isAdapter && html`<${Download} href=${`${jobPath(job)}/exports/adapter`} name=${`${job.id}-adapter.zip`}
    title="Adapter (.zip)">
    the LoRA adapter alone, a small file: for PEFT, or for a server that has the base model loaded already
  </${Download}>`}`;

/**
 * Everything that can be downloaded of a job.
 * @param {{job: any, isAdapter: boolean}} props
 */
export function Exports({ job, isAdapter }) {
  const path = jobPath(job);
  const hasBegun = !["validating_files", "queued"].includes(job.status);
  return html`<ul class="downloads">
    ${job.fine_tuned_model && html`<${ModelDownloads} job=${job} isAdapter=${isAdapter} />`}
    ${job.result_files.map((/** @type {string} */ file) => html`<${Download} href=${`/v1/files/${file}/content`}
      name=${`${job.id}-results.csv`} title="Results (.csv)">
      OpenAI's result file: a row for each step, the columns that scripts for it read</${Download}>`)}
    <${Download} href=${`${path}/metrics?format=csv`} name=${`${job.id}-metrics.csv`} title="Metrics (.csv)">
      every series by our own names, a row for each step</${Download}>
    ${hasBegun && job.method?.type !== "supervised" && html`<${Download} href=${`${path}/exports/rollouts`}
      name=${`${job.id}-rollouts.jsonl`} title="Rollouts (.jsonl)">
      every completion of the training with its grades, one a line</${Download}>`}
    ${hasBegun && html`<${Download} href=${`${path}/exports/run`} name=${`${job.id}-run.zip`} title="Whole run (.zip)">
      the run's folder: documents, metrics, rollouts, evaluations, checkpoints;
      the command line's tools read it</${Download}>`}
    ${job.status === "succeeded" && html`<${ReportDownloads} job=${job} />`}
  </ul>`;
}

/** The report in three forms. @param {{job: any}} props */
export const ReportDownloads = ({ job }) => html`
  <${Download} href=${`${jobPath(job)}/report?format=html`} name=${`${job.id}-report.html`} title="Report (.html)">
    one file that needs nothing else, to send to somebody</${Download}>
  <${Download} href=${`${jobPath(job)}/report?format=md`} name=${`${job.id}-report.md`}
    title="Report (.md)">the same as text</${Download}>
  <${Download} href=${`${jobPath(job)}/report?format=json`} name=${`${job.id}-report.json`} title="Report (.json)">
    all figures, for programs</${Download}>`;
