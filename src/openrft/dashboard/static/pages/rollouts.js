// @ts-check
/** What was sampled in training: by step, over the whole run, what was left out, or one prompt across steps. */
import { get } from "../core/api.js";
import { html } from "../core/html.js";
import { useJob } from "../core/live.js";
import { useLoad } from "../core/load.js";
import { query, withQuery } from "../core/router.js";
import { Busy, Empty, Problem } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { JobHead } from "../parts/job_head.js";
import { RolloutsOfExample } from "../parts/rollouts_example.js";
import { FILTERS, hasFilters } from "../parts/rollouts_filters.js";
import { LeftOut } from "../parts/rollouts_left_out.js";
import { RolloutList } from "../parts/rollouts_list.js";
import { Groups } from "../parts/rollouts_step.js";
import { StepPicker } from "../parts/step_picker.js";

/** Each view of the page, by `view` of the query; without one it is the first. */
const VIEWS = [
  ["step", "By step"],
  ["run", "Whole run"],
  ["left_out", "Left out"],
];

// What belongs to a view and is left behind with it.
const OF_A_VIEW = Object.fromEntries(
  ["view", "step", "group", "example", "sample", "after", "at", ...FILTERS].map((name) => [name, null]),
);

/** @type {[string, Record<string, string>][]} */
const WHOLE_RUN = [
  ["Worst", { sort: "worst" }],
  ["Best", { sort: "best" }],
  ["Longest", { sort: "longest" }],
  ["Grading failed", { errored: "true" }],
];

/** @param {{id: string}} props */
export default function Rollouts({ id }) {
  useTitle("Rollouts");
  const newest = useLoad(() => get(`/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts`, { limit: 1 }), [id]);
  return html`<${JobHead} id=${id} tab="rollouts" />
    ${newest.error
      ? html`<${Problem} error=${newest.error} retry=${newest.again} />`
      : !newest.data
        ? html`<${Busy} what="Loading rollouts" />`
        : newest.data.data.length
          ? html`<${Views} id=${id} newest=${newest.data.data[0].step} />`
          : html`<${Nothing} id=${id} again=${newest.again} />`}`;
}

/** @param {{id: string, newest: number}} props */
function Views({ id, newest }) {
  const { job } = useJob(id);
  const view = query.value.example ? "example" : (query.value.view ?? "step");
  const last = Math.max(newest, job.value?.step ?? 0);
  return html`<div class="row views">
      <nav class="switch" aria-label="Views">${VIEWS.map(
        ([name, title]) => html`<a href=${withQuery({ ...OF_A_VIEW, view: name === "step" ? null : name })}
          aria-current=${view === name ? "page" : null}>${title}</a>`,
      )}${view === "example" && html`<a href=${withQuery({})} aria-current="page">One prompt</a>`}</nav>
      <nav class="row shortcuts" aria-label="Of the whole run"><span class="faint">Of the whole run:</span>
        ${WHOLE_RUN.map(
          ([title, wanted]) => html`<a href=${withQuery({ ...OF_A_VIEW, view: "run", ...wanted })}>${title}</a>`,
        )}</nav>
    </div>
    ${view === "example"
      ? html`<${RolloutsOfExample} id=${id} example=${query.value.example} />`
      : view === "run"
        ? html`<${RolloutList} id=${id} label="Rollouts of the whole run" />`
        : view === "left_out"
          ? html`<${LeftOut} id=${id} />`
          : html`<${OneStep} id=${id} newest=${newest} last=${last} />`}`;
}

/** @param {{id: string, newest: number, last: number}} props */
function OneStep({ id, newest, last }) {
  const asked = Number(query.value.step);
  const step = query.value.step && Number.isInteger(asked) && asked >= 0 ? asked : newest;
  return html`<${StepPicker} step=${step} last=${last} />
    ${hasFilters()
      ? html`<${RolloutList} id=${id} step=${step} label=${`Rollouts of step ${step}`} />`
      : html`<${Groups} id=${id} step=${step} last=${last} />`}`;
}

/** @param {{id: string, again: () => void}} props */
function Nothing({ id, again }) {
  const { job } = useJob(id);
  if (job.value?.method?.type === "supervised") {
    return html`<${Empty} title="A supervised job samples nothing while it trains">
      <p>It learns from the answers in its file. What it answers to held-out rows is in the
        <a href=${`/finetune/${encodeURIComponent(id)}/report`}>report</a>.</p></${Empty}>`;
  }
  const isOver = ["failed", "cancelled", "succeeded"].includes(job.value?.status);
  return html`<${Empty} title="Nothing was sampled yet">
    <p>${isOver
      ? html`The job ended before its first step was recorded.
          ${" "}<a href=${`/finetune/${encodeURIComponent(id)}/events`}>Its events</a> say why.`
      : "The first rollouts come with the first step."}</p>
    ${!isOver && html`<button type="button" onClick=${again}>Look again</button>`}</${Empty}>`;
}
