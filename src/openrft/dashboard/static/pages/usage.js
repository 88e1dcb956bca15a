// @ts-check
/** What the project's jobs have spent: in total, by day and by job. */
import { get } from "../core/api.js";
import { count, duration } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery, withQuery } from "../core/router.js";
import { Busy, Card, Empty, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { Table } from "../parts/table.js";
import { Line } from "../parts/text.js";
import { DAY, daysBetween, DayBars } from "../parts/day_bars.js";

/** @type {Record<string, {title: string, of: (one: any) => number, write: (value: number) => string}>} */
const MEASURES = {
  minutes: { title: "Training time", of: (one) => one.training_minutes, write: (value) => duration(60 * value) },
  sampled: { title: "Sampled tokens", of: (one) => one.sampled_tokens, write: count },
  trained: { title: "Trained tokens", of: (one) => one.trained_tokens, write: count },
  grading: { title: "Grading tokens", of: (one) => gradingTokens(one), write: count },
  cost: { title: "Grader cost", of: (one) => one.grader_cost, write: (value) => `$${value.toFixed(2)}` },
};

export default function Usage() {
  useTitle("Usage");
  const days = [7, 30, 90].includes(Number(query.value.days)) ? Number(query.value.days) : 30;
  const shown = query.value.show && query.value.show in MEASURES ? query.value.show : "minutes";
  const found = useLoad(async (signal) => {
    const until = Math.floor(Date.now() / 1000) + 1;
    const since = Math.floor(until / DAY) * DAY - (days - 1) * DAY;
    const [usage, names] = await Promise.all([get("/v1/usage", { since, until }, { signal }), jobNames(signal)]);
    return { usage, names };
  }, [days]);
  const { usage, names } = found.data ?? {};
  return html`<header class="section-head"><h1>Usage</h1>
      <div class="actions"><label class="picking"><span>The last</span>
        <select value=${String(days)} onChange=${(/** @type {any} */ e) => setQuery({ days: e.currentTarget.value })}>
          ${[7, 30, 90].map((one) => html`<option value=${String(one)} selected=${one === days}>${one} days</option>`)}</select></label></div></header>
    ${found.error && html`<${Problem} error=${found.error} retry=${found.again} />`}
    ${!usage ? !found.error && html`<${Busy} what="Adding up" />` : html`<${Totals} usage=${usage} shown=${shown} />
      ${usage.total.steps === 0 ? html`<${Empty} title="Nothing was trained in these days"><p>Every step of a job counts on the day on which it was recorded.</p></${Empty}>`
        : html`<${Section} id="days" title=${`${MEASURES[shown].title} by day`} note="Days begin at midnight UTC.">
            <${DayBars} label=${MEASURES[shown].title} days=${daysBetween(usage.since, usage.until, usage.days, MEASURES[shown].of)} write=${MEASURES[shown].write} /></${Section}>
          <${Section} id="by-job" title="By job"><${ByJob} jobs=${usage.jobs} names=${names} /></${Section}>
          <${Grading} total=${usage.total} />`}
      <p class="faint">Counted are the steps of jobs. What models are asked beside that, in the playground, by evals or by other programs, is not counted.</p>`}`;
}

/** A card for each measure; it chooses what the bars show. @param {{usage: any, shown: string}} props */
const Totals = ({ usage, shown }) => html`<div class="cards">
  ${Object.entries(MEASURES).map(([name, measure]) => html`<${Card} id=${`total-${name}`} label=${measure.title} value=${measure.write(measure.of(usage.total))}
    note=${html`<a href=${withQuery({ show: name })} aria-current=${name === shown ? "true" : null} aria-label=${`${measure.title} by day`}>by day</a>`} />`)}
</div>`;

/** @param {{jobs: any[], names: Map<string, string>}} props */
const ByJob = ({ jobs, names }) => html`<div class="managed"><${Table} label="By job" rows=${[...jobs].sort((one, other) => other.training_minutes - one.training_minutes)}
  rowKey=${(/** @type {any} */ one) => one.fine_tuning_job_id} columns=${[
    { title: "Job", isHead: true, cell: (/** @type {any} */ one) => html`<a href=${`/finetune/${one.fine_tuning_job_id}`}><${Line} text=${names.get(one.fine_tuning_job_id) ?? one.fine_tuning_job_id} /></a>` },
    { title: "Steps", isNumber: true, cell: (/** @type {any} */ one) => count(one.steps) },
    ...Object.values(MEASURES).map((measure) => ({ title: measure.title, isNumber: true, cell: (/** @type {any} */ one) => measure.write(measure.of(one)) })),
  ]} /></div>`;

/** Tokens of grading models, where there were some. @param {{total: any}} props */
function Grading({ total }) {
  const models = Object.entries(total.grading_tokens);
  if (!models.length) return null;
  return html`<${Section} id="grading" title="Models that grade"><${Table} label="Models that grade" rows=${models} columns=${[
    { title: "Model", isHead: true, cell: (/** @type {any} */ [model]) => html`<${Line} text=${model} />` },
    ...["prompt", "cached", "completion"].map((kind) => ({
      title: `${kind[0].toUpperCase()}${kind.slice(1)} tokens`, isNumber: true, cell: (/** @type {any} */ [, tokens]) => count(tokens[kind]),
    })),
  ]} /></${Section}>`;
}

/** Cached tokens are prompt tokens. @param {any} one */
const gradingTokens = (one) => Object.values(one.grading_tokens).reduce((/** @type {number} */ sum, /** @type {any} */ tokens) => sum + tokens.prompt + tokens.completion, 0);

/** @param {AbortSignal} signal @returns {Promise<Map<string, string>>} names of the newest jobs by id */
async function jobNames(signal) {
  const { data } = await get("/v1/fine_tuning/jobs", { limit: 100 }, { signal });
  return new Map(data.map((/** @type {any} */ job) => [job.id, job.user_provided_suffix ? `${job.user_provided_suffix} (${job.id.slice(-6)})` : job.id]));
}
