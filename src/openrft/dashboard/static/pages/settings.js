// @ts-check
/** Every fact of a job: what was asked, what became of it and why, on what it ran; and all that can be taken away. */
import { get } from "../core/api.js";
import { curl, keywords, pythonClient } from "../core/code.js";
import { count, duration, isNumber, number, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useJob } from "../core/live.js";
import { useLoad } from "../core/load.js";
import { Busy, Code, Copy, Problem, Section, Status } from "../parts/elements.js";
import { Exports, jobPath, optionsOf } from "../parts/exports.js";
import { useTitle } from "../parts/frame.js";
import { JobHead } from "../parts/job_head.js";
import { Line, Text } from "../parts/text.js";

/** @param {{id: string}} props */
export default function Settings({ id }) {
  useTitle("Settings");
  const job = useJob(id).job.value;
  return html`<${JobHead} id=${id} tab="settings" />${job && html`<${Shown} job=${job} />`}`;
}

/** @param {{job: any}} props */
function Shown({ job }) {
  const found = useLoad(async () => {
    const [settings, files] = await Promise.all([get(`${jobPath(job)}/settings`), get("/v1/files", { limit: 10_000 })]);
    const names = files.data.map((/** @type {any} */ file) => [file.id, file.filename]);
    return { settings, names: Object.fromEntries(names) };
  }, [job.id, job.status]);
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return html`<${Busy} />`;
  const { settings, names } = found.data;
  const options = optionsOf(job);
  return html`
    <${JobError} error=${job.error} />
    <${Section} title="Facts"><${Facts} job=${job} names=${names} /></${Section}>
    <${Section} title="Hyperparameters"
      note="“auto” is chosen by the worker when it begins; the reason stands beside it."><${Hyperparameters}
        settings=${settings} job=${job} /></${Section}>
    ${options.grader && html`<${Section} title="Grader"><${Code} label="Grader"
      text=${JSON.stringify(options.grader, null, 2)} /><${Sources} grader=${options.grader} /></${Section}>`}
    ${options.monitor_grader && html`<${Section} title="Monitor grader" note="It watches and never trains."><${Code}
      label="Monitor grader" text=${JSON.stringify(options.monitor_grader, null, 2)} /></${Section}>`}
    ${options.response_format && html`<${Section} title="Response format"><${Code} label="Response format"
      text=${JSON.stringify(options.response_format, null, 2)} /></${Section}>`}
    <${Section} title="Downloads"><${Exports} job=${job}
      isAdapter=${settings.resolved?.weights === "lora"} /></${Section}>
    <${Section} title="Show as" note="The request that makes this job once more."><${ShowAs} job=${job}
      settings=${settings} /></${Section}>
    <${Provenance} provenance=${settings.provenance} />`;
}

/** Python inside a grader, as it was written. @param {{grader: any}} props */
const Sources = ({ grader }) =>
  [grader, ...Object.values(grader.graders ?? {})].filter((one) => one.type === "python").map((one) => html`<${Code}
    label=${`Source of ${one.name}`} text=${one.source} />`);

/** Why a job failed. @param {{error: any}} props */
const JobError = ({ error }) =>
  error?.message
    ? html`<section class="problem"
      aria-label="Error"><p><b>${error.code}</b>${error.param && html`, field <code>${error.param}</code>`}</p><${Text}
        text=${error.message} label="Error" /></section>`
    : null;

/** An id, and a way to copy it. @param {string|null} text */
const id = (text) => (text ? html`<span class="row"><code><${Line} text=${text} most=${200} /></code><${Copy}
  text=${text} /></span>` : "–");

/** @param {{job: any, names: Record<string, string>}} props */
function Facts({ job, names }) {
  const options = optionsOf(job).hyperparameters ?? {};
  const file = (/** @type {string|null|undefined} */ one) =>
    one ? html`<span class="row"><a href=${`/files/${one}`}><${Line}
      text=${names[one] ?? "(deleted)"} /></a><code>${one}</code><${Copy} text=${one} /></span>` : "none";
  const facts = /** @type {[string, any][]} */ ([
    ["Status", html`<${Status} status=${job.status} />`],
    ["Job", id(job.id)],
    ["Method", job.method?.type ?? "supervised"],
    ["Base model", id(job.model)],
    ["Output model", job.fine_tuned_model ? id(job.fine_tuned_model) : none(job)],
    ["Suffix", job.user_provided_suffix ? html`<${Line} text=${job.user_provided_suffix} />` : "none"],
    ["Created", when(job.created_at)],
    ["Finished", job.finished_at ? when(job.finished_at) : "not yet"],
    ["Took", job.finished_at ? `${duration(job.finished_at - job.created_at)}, waiting included` : "–"],
    ["Trained tokens", count(job.trained_tokens)],
    ["Epochs", shown(options.n_epochs)],
    ["Batch size", shown(options.batch_size)],
    ["Learning rate multiplier", shown(options.learning_rate_multiplier)],
    ["Seed", id(String(job.seed))],
    ["Training file", file(job.training_file)],
    ["Validation file", file(job.validation_file)],
    ...(options.test_file ? [/** @type {[string, any]} */ (["Test file", file(options.test_file)])] : []),
    ["Result files", job.result_files.length ? job.result_files.map(file) : none(job)],
    ["Eval", job.eval_id ? html`<span class="row"><a
      href=${`/evals/${job.eval_id}`}>its validations, row by row</a><code>${job.eval_id}</code></span>` : none(job)],
    ["Shared with OpenAI", job.shared_with_openai ? "yes" : "no: nothing leaves this machine"],
    ["Integrations", job.integrations?.length ? html`<${Text}
      text=${JSON.stringify(job.integrations, null, 2)} />` : "none"],
    ["Metadata", Object.keys(job.metadata ?? {}).length ? html`<dl
      class="facts">${Object.entries(job.metadata).map(([key, value]) => html`<dt><${Line}
        text=${key} /></dt><dd><${Line} text=${value} most=${512} /></dd>`)}</dl>` : "none"],
  ]);
  return html`<dl class="facts panel" aria-label="Facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd
    data-fact=${name}>${value}</dd>`)}</dl>`;
}

/** @param {any} job */
const none = (job) => (job.finished_at ? "none" : "none yet");

/** @param {any} value */
function shown(value) {
  if (value === null || value === undefined) return "–";
  if (isNumber(value)) return number(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What somebody set or the worker chose, then the rest, folded. @param {{settings: any, job: any}} props */
function Hyperparameters({ settings, job }) {
  const { asked, resolved, reasons } = settings;
  const told = optionsOf(job).hyperparameters ?? {};
  const rows = [...new Set([...Object.keys(asked), ...Object.keys(resolved ?? {})])].map((name) => ({
    name,
    asked: name in asked ? shown(asked[name]) : name in reasons ? "auto" : null,
    used: resolved ? shown(name in resolved ? resolved[name] : told[name]) : null,
    why: reasons[name] ?? "",
  }));
  const [chosen, untouched] = [rows.filter((row) => row.asked !== null), rows.filter((row) => row.asked === null)];
  return html`<${OptionTable} label="Options that were set or chosen" rows=${chosen} />
    ${untouched.length > 0 && html`<details><summary>${untouched.length} more at their defaults</summary><${OptionTable}
      label="Options at their defaults" rows=${untouched} /></details>`}`;
}

/** @param {{label: string, rows: {name: string, asked: string|null, used: string|null, why: string}[]}} props */
const OptionTable = ({ label, rows }) => html`<div class="table-box" tabindex="0" role="region"
  aria-label=${label}><table>
  <thead><tr><th scope="col">Name</th><th scope="col" class="number">Asked</th><th scope="col"
    class="number">Used</th><th scope="col">Why</th></tr></thead>
  <tbody>${rows.map((row) => html`<tr data-option=${row.name}><th scope="row"><code>${row.name}</code></th><td
    class="number">${row.asked ?? html`<span class="faint">not set</span>`}</td>
    <td class="number">${row.used ?? html`<span
      class="faint">once it runs</span>`}</td><td>${row.why}</td></tr>`)}</tbody>
</table></div>`;

/** @param {{job: any, settings: any}} props */
function ShowAs({ job, settings }) {
  const type = job.method?.type ?? "supervised";
  const options = Object.fromEntries(Object.entries(optionsOf(job)).filter(([, value]) => value !== null));
  const body = {
    model: job.model,
    training_file: job.training_file,
    validation_file: job.validation_file ?? undefined,
    suffix: job.user_provided_suffix ?? undefined,
    seed: job.seed,
    method: { type, [type]: { ...options, hyperparameters: settings.asked } },
    integrations: job.integrations?.length ? job.integrations : undefined,
    metadata: job.metadata ?? undefined,
  };
  return html`<details><summary>Python</summary><${Code} label="Python"
    text=${`${pythonClient()}\njob = client.fine_tuning.jobs.create(\n${keywords(body)})\nprint(job.id)\n`} /></details>
    <details><summary>curl</summary><${Code} label="curl" text=${curl("/v1/fine_tuning/jobs", body)} /></details>
    ${JSON.stringify(body).includes("**********") && html`<p
      class="faint">Headers of endpoint graders are secret: put them in again in place of the stars.</p>`}`;
}

/** On what the numbers depend. @param {{provenance: any}} props */
const Provenance = ({ provenance }) =>
  provenance
    ? html`<${Section} title="Provenance"
      note="What the run depended on: with the same, its numbers come out the same."><div class="panel"><${Nested}
        value=${provenance} /></div></${Section}>`
    : null;

/** JSON as names and values; what is null or empty says nothing here. @param {{value: any}} props */
const Nested = ({ value }) => {
  if (typeof value !== "object") return html`<${Line} text=${String(value)} most=${200} />`;
  const entries = Object.entries(value).filter(([, one]) => one !== null && JSON.stringify(one) !== "{}");
  return html`<dl class="facts">${entries.map(([name, one]) => html`<dt><${Line}
    text=${name.replaceAll("_", " ")} /></dt><dd><${Nested} value=${one} /></dd>`)}</dl>`;
};
