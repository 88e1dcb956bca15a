// @ts-check
/** The head of every page of a job: its name, how it stands, what can be done with it, and the ways to its other pages. */
import { useAlarms } from "../core/alarms.js";
import { get, post } from "../core/api.js";
import { duration, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useJob } from "../core/live.js";
import { useLoad } from "../core/load.js";
import { mayWrite } from "../core/session.js";
import { Action, Busy, Copy, Problem, Status, Tabs } from "./elements.js";
import { Line } from "./text.js";

const TABS = [
  ["overview", "Overview", ""],
  ["rollouts", "Rollouts", "/rollouts"],
  ["dataset", "Dataset", "/dataset"],
  ["metrics", "All metrics", "/metrics"],
  ["checkpoints", "Checkpoints", "/checkpoints"],
  ["report", "Report", "/report"],
  ["events", "Events", "/events"],
  ["settings", "Settings", "/settings"],
];

/**
 * @param {{id: string, tab: "overview"|"rollouts"|"dataset"|"metrics"|"checkpoints"|"report"|"events"|"settings"}} props
 */
export function JobHead({ id, tab }) {
  const live = useJob(id);
  const job = live.job.value;
  if (live.error.value && !job) return html`<${Problem} error=${live.error.value} retry=${() => location.reload()} />`;
  if (!job) return html`<${Busy} what="Loading the job" />`;
  const isSupervised = job.method?.type !== "reinforcement";
  return html`<header class="job-head">
    <div class="job-line">
      <h1><${Line} text=${job.user_provided_suffix || job.fine_tuned_model || job.id} most=${80} /></h1>
      <${Status} status=${job.status} />
      ${live.state.value === "lost" && html`<span class="chip warn" role="status">connection lost, trying again</span>`}
      ${mayWrite.value && html`<div class="actions"><${JobActions} job=${job} /></div>`}
    </div>
    <${Sentence} job=${job} />
    <p class="job-ids faint"><code>${job.id}</code> <${Copy} text=${job.id} label="Copy id" /> created ${when(job.created_at)}</p>
    ${job.error?.message && html`<${Problem} error=${job.error} />`}
    <${Tabs} label="Pages of this job" tabs=${TABS.filter(([name]) => !(isSupervised && (name === "rollouts" || name === "dataset")))
      .map(([name, title, end]) => ({ href: `/finetune/${id}${end}`, title, isHere: name === tab }))} />
  </header>`;
}

/** "RFT on model with grader over file, step 4 of 8, healthy". @param {{job: any}} props */
function Sentence({ job }) {
  const { alarms, open } = useAlarms(job.id);
  const file = useLoad(() => get(`/v1/files/${encodeURIComponent(job.training_file)}`), [job.training_file]);
  const { type, reinforcement } = job.method ?? { type: "supervised" };
  const grader = reinforcement?.grader;
  return html`<p class="job-sentence" id="job-sentence">
    ${type === "reinforcement" ? html`<b>${(reinforcement.hyperparameters.algorithm ?? "rft").toUpperCase()}</b>` : html`<b>Supervised</b>`} on
    ${" "}<b><${Line} text=${job.model} /></b>
    ${grader && html`${" "}with <b><${Line} text=${grader.name || grader.type} /></b> (${graderKind(grader)})`}
    ${" "}over <b><${Line} text=${file.data?.filename ?? job.training_file} /></b>,
    ${" "}<span data-step=${job.step ?? ""}>${stepOf(job)}</span>${healthOf(job, alarms, open)}
    ${job.status === "running" && job.estimated_finish && html`, about ${duration(Math.max(0, job.estimated_finish - Date.now() / 1000))} left`}.
  </p>`;
}

/** @param {any} grader */
const graderKind = (grader) =>
  grader.type === "multi" ? `${Object.keys(grader.graders ?? {}).length} graders` : grader.type.replace(/_/g, " ");

/** @param {any} job */
function stepOf(job) {
  if (job.status === "queued") return "waiting for a worker";
  if (job.status === "validating_files") return "its files are being checked";
  if (job.step === null || job.step === undefined) return job.status === "running" ? "preparing" : "no step was made";
  return `step ${job.step}${job.total_steps ? `/${job.total_steps}` : ""}`;
}

/** @param {any} job @param {any[]|null} alarms @param {any[]} open */
function healthOf(job, alarms, open) {
  if (open.length) {
    const bad = open.some((one) => one.severity === "error");
    const word = open.length === 1 ? "1 alert" : `${open.length} alerts`;
    return html`, <a href=${`/finetune/${job.id}#alerts`} class="health ${bad ? "bad" : "warn"}" data-health=${bad ? "error" : "warn"}>${word}</a>`;
  }
  return alarms && job.status === "running" && job.step > 0 ? html`, <span class="health good" data-health="good">healthy</span>` : "";
}

/** What the status allows. Each says what it keeps before it is done. @param {{job: any}} props */
function JobActions({ job }) {
  const ask = (/** @type {string} */ what) => () => post(`/v1/fine_tuning/jobs/${encodeURIComponent(job.id)}/${what}`);
  const can = /** @type {Record<string, string[]>} */ ({
    validating_files: ["cancel"], queued: ["pause", "cancel"], running: ["pause", "cancel"], paused: ["resume", "cancel"],
  })[job.status] ?? [];
  return html`
    ${can.includes("resume") && html`<${Action} id="resume" kind="primary" run=${ask("resume")}>Resume</${Action}>`}
    ${can.includes("pause") && html`<${Action} id="pause" run=${ask("pause")}
      confirm="Pause? It finishes its step and keeps a checkpoint; resuming goes on from there.">Pause</${Action}>`}
    ${can.includes("cancel") && html`<${Action} id="cancel" kind="danger" run=${ask("cancel")}
      confirm="Cancel for good? Checkpoints, rollouts and metrics made so far are kept, but it cannot go on.">Cancel</${Action}>`}
    ${!can.length && html`<a class="button" href=${`/finetune/new?from=${encodeURIComponent(job.id)}`}>Create again</a>`}
    ${job.status === "succeeded" && job.fine_tuned_model && html`<a class="button primary"
      href=${`/playground?models=${encodeURIComponent(`${job.model},${job.fine_tuned_model}`)}`}>Try it</a>`}`;
}
