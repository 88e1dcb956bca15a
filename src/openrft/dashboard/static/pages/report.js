// @ts-check
/** Is it better? The report of a job that has ended; before that, what two of its validations say. */
import { get } from "../core/api.js";
import { html } from "../core/html.js";
import { useJob } from "../core/live.js";
import { useLoad } from "../core/load.js";
import { query, withQuery } from "../core/router.js";
import { Busy, Empty, Problem, Section } from "../parts/elements.js";
import { jobPath, optionsOf, ReportDownloads } from "../parts/exports.js";
import { useTitle } from "../parts/frame.js";
import { JobHead } from "../parts/job_head.js";
import { PassPicker, passName, pickedOf } from "../parts/pass_picker.js";
import { figuresOf } from "../parts/report_figures.js";
import { Forest } from "../parts/report_forest.js";
import { Rows } from "../parts/report_rows.js";
import { Arms, NextSteps, Notes, Verdict } from "../parts/report_verdict.js";

const AGAIN = 5000; // milliseconds after which a job that trains is asked for new validations

/** @param {{id: string}} props */
export default function Report({ id }) {
  useTitle("Report");
  const job = useJob(id).job.value;
  return html`<${JobHead} id=${id} tab="report" />${job && html`<${Shown} job=${job} />`}`;
}

/** @param {{job: any}} props */
function Shown({ job }) {
  const every = job.status === "running" ? AGAIN : 0;
  const found = useLoad(async () => (await get(`${jobPath(job)}/evaluations`)).data, [job.id, job.status], { every });
  // What is known stays while a later request fails.
  const problem = found.error && html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return problem || html`<${Busy} />`;
  const isPicked = Boolean(query.value.a || query.value.b);
  return html`${problem}${job.status === "succeeded" && !isPicked
    ? html`<${Final} job=${job} evaluations=${found.data} />`
    : html`<${Passes} job=${job} evaluations=${found.data} />`}`;
}

/** The report as it was written when the job ended. @param {{job: any, evaluations: any[]}} props */
function Final({ job, evaluations }) {
  const found = useLoad(() => get(`${jobPath(job)}/report`), [job.id]);
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return html`<${Busy} what="Reading the report" />`;
  const report = found.data;
  const dataset = report.rows_kind === "test" ? "test" : "validation";
  const passes = evaluations.filter((one) => one.dataset === dataset && one.mode === "sampled");
  const of = (/** @type {number} */ step) => passes.find((one) => one.step === step)?.id;
  return html`
    <${Comparison} job=${job} report=${report} names=${["base", "tuned"]}
      evaluations=${[of(0), of(report.shipped_step)]} isFinal=${true} />
    <${Section} title="Take it along"><ul class="downloads"><${ReportDownloads} job=${job} /></ul></${Section}>
    <${Section} title="Other evaluations" note="Any two passes over the same rows can be compared."><${PassPicker}
      evaluations=${evaluations} picked=${null} /></${Section}>`;
}

/**
 * Two passes: while there is no report, or because they were asked for.
 * @param {{job: any, evaluations: any[]}} props
 */
function Passes({ job, evaluations }) {
  const picked = pickedOf(evaluations, query.value);
  const isDone = job.status === "succeeded";
  if (!picked) {
    return html`<${Empty}
      title=${evaluations.length ? "Only the base was measured so far" : "Nothing was measured yet"}><p>${
      ["running", "queued", "validating_files", "paused"].includes(job.status)
        ? "After the first validation this page compares it with the base, on the same rows."
        : `The job ended as “${job.status}” before its first validation after training.`}</p>
      <p><a href=${`/finetune/${job.id}/events`}>Events</a></p></${Empty}>`;
  }
  return html`
    <div class="notice stack"><p>${isDone
      ? html`Two evaluations of this job. <a
        href=${withQuery({ a: null, b: null, row: null, rows: null })}>Back to the report</a>`
      : html`${job.finished_at ? `A ${job.status} job has no report` : "The report is written when training is over"}.
          ${" "}This is what its evaluations say so far.`}</p>
      <${PassPicker} evaluations=${evaluations} picked=${picked} />
      <p class="faint">Whoever looks at many steps and picks the best one sees luck beside skill:
        the best of several looks better than it is.</p></div>
    <${Pair} key=${`${picked[0].id},${picked[1].id}`} job=${job} picked=${picked} />`;
}

/** @param {{job: any, picked: [any, any]}} props */
function Pair({ job, picked }) {
  const ids = picked.map((one) => one.id);
  const found = useLoad(() => get(`${jobPath(job)}/compare`, { evaluations: ids.join(",") }), ids);
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return html`<${Busy} what="Comparing" />`;
  const short = picked.map((one) => (one.step === 0 ? "base" : `step ${one.step}`));
  const names = short[0] === short[1] ? picked.map(passName) : short;
  return html`<${Comparison} job=${job} report=${found.data} names=${names} evaluations=${ids} isFinal=${false} />`;
}

/** @param {{job: any, report: any, names: any, evaluations: any, isFinal: boolean}} props */
function Comparison({ job, report, names, evaluations, isFinal }) {
  const figures = figuresOf(report);
  const both = new URLSearchParams({ models: `${job.model},${job.fine_tuned_model}`, job: job.id });
  const models = isFinal && job.fine_tuned_model ? `/playground?${both}` : null;
  const file = report.rows_kind === "test" ? optionsOf(job).hyperparameters?.test_file : job.validation_file;
  const playground = (/** @type {any} */ row) =>
    models && file && `${models}&${new URLSearchParams({ file, line: row.line })}`;
  return html`
    <${Verdict} figures=${figures} names=${names} />
    <div class="beside">
      <${Notes} report=${report} figures=${figures} />
      ${isFinal && html`<${NextSteps} figures=${figures} report=${report} job=${job} models=${models} />`}
    </div>
    <${Rows} figures=${figures} names=${names} path=${jobPath(job)} evaluations=${evaluations}
      playground=${playground} />
    <${Forest} figures=${figures} names=${names} />
    <${Arms} figures=${figures} names=${names} report=${report} />`;
}
