// @ts-check
/** Several runs laid over one another: `?jobs=a,b`, with the metrics and the axis in the address as well. */
import { ApiError, get } from "../core/api.js";
import { html } from "../core/html.js";
import { useLoad, useLoadWhile } from "../core/load.js";
import { query, setQuery, withQuery } from "../core/router.js";
import { along, AXES } from "../parts/compare_axis.js";
import { DiffTable, EndTable, SameRows } from "../parts/compare_tables.js";
import { configurationOf, differences } from "../parts/config_diff.js";
import { Chart } from "../parts/chart.js";
import { Busy, Empty, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { methodOf, MOST_COMPARED, nameOf } from "../parts/job_rows.js";

/** @typedef {import("../parts/compare_tables.js").Run} Run */

const ALWAYS = ["rollout/total", "time/spent_minutes", "spent/tokens", "spent/grader_cost"];
const EVERY = 5000; // milliseconds, while one of them trains
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export default function Compare() {
  useTitle("Compare runs");
  const ids = (query.value.jobs ?? "").split(",").filter(Boolean).slice(0, MOST_COMPARED);
  if (ids.length < 2) {
    return html`<h1>Compare runs</h1><${Empty} title="Two runs at least">
      <p>Tick them in the <a href="/finetune">list of jobs</a>, then choose Compare.</p></${Empty}>`;
  }
  return html`<h1>Compare runs</h1><${Runs} key=${ids.join()} ids=${ids} />`;
}

/** @param {{ids: string[]}} props */
function Runs({ ids }) {
  const asked = (query.value.metric ?? "").split(",").filter(Boolean);
  const facts = useLoadWhile((signal) => Promise.all(ids.map((id) => factsOf(id, signal))), ids, { every: EVERY, isGoingOn: (all) => !areOver(all) });
  const isOver = areOver(facts.data ?? []);
  const metrics = asked.length ? asked : usualMetrics(facts.data ?? []);
  const names = [...new Set([...ALWAYS, ...metrics])];
  const lines = useLoad((signal) => Promise.all(ids.map((id) =>
    get(`/v1/fine_tuning/jobs/${id}/metrics`, { names: names.join(","), max_points: 2000 }, { signal }))),
  [ids.join(), metrics.join(), facts.data !== null], { every: isOver ? 0 : EVERY });
  if (!facts.data) {
    return facts.error ? html`<${Problem} error=${facts.error} retry=${facts.again} />` : html`<${Busy} what="Loading runs" />`;
  }
  const labels = labelsOf(facts.data.map(({ summary }) => summary));
  /** @type {Run[]} */
  const runs = facts.data.map((one, place) => ({ ...one, label: labels[place], series: lines.data?.[place]?.series ?? {} }));
  const known = [...new Set(facts.data.flatMap((one) => one.metrics))].sort();
  const differing = differences(runs.map((run) => configurationOf(run.summary, run.settings)));
  return html`${facts.error && html`<${Problem} error=${facts.error} />`}
    <${Overlay} runs=${runs} metrics=${metrics} known=${known} isLoading=${!lines.data} error=${lines.error} />
    <${Section} id="results" title="Results" note="Base and best are validations; the gain is the report's, which allows for having chosen the best.">
      <${EndTable} runs=${runs} /></${Section}>
    <${Section} id="differences" title="What differs" note="Options as they were resolved; what all runs share is left out.">
      ${differing.length ? html`<${DiffTable} runs=${runs} rows=${differing} />` : html`<p class="faint">Nothing: the runs were told the same.</p>`}
    </${Section}>
    <${Shared} runs=${runs} />`;
}

/** @param {{summary: any}[]} runs */
const areOver = (runs) => runs.every(({ summary }) => ENDED.has(summary.job.status));

/** Charts of the chosen metrics, a line for each run. @param {{runs: Run[], metrics: string[], known: string[], isLoading: boolean, error: any}} props */
function Overlay({ runs, metrics, known, isLoading, error }) {
  const x = query.value.x && query.value.x in AXES ? query.value.x : "step";
  const axis = AXES[x];
  const choose = (/** @type {string[]} */ chosen) => setQuery({ metric: chosen.join(",") });
  return html`<${Section} id="curves" title="Curves" note=${axis.note}>
    <div class="row">
      <div class="row axis-choice" role="group" aria-label="Axis">${Object.entries(AXES).map(([name, one]) => html`
        <a class="button small" href=${withQuery({ x: name === "step" ? null : name })} aria-current=${name === x ? "true" : null}>${one.title}</a>`)}</div>
      <label class="picking"><span>Add a metric</span>
        <select value="" onChange=${(/** @type {any} */ e) => choose([...metrics, e.currentTarget.value])}>
          <option value="">choose</option>
          ${known.filter((name) => !metrics.includes(name)).map((name) => html`<option value=${name}>${name}</option>`)}
        </select></label>
      ${metrics.map((name) => html`<button type="button" class="small" aria-label=${`Remove ${name}`}
        disabled=${metrics.length === 1} onClick=${() => choose(metrics.filter((one) => one !== name))}>${name} ✕</button>`)}
    </div>
    ${error && html`<${Problem} error=${error} />`}
    ${isLoading && !error ? html`<${Busy} what="Loading curves" />` : html`<div class="grid">${metrics.map((name) => html`
      <${Chart} key=${name} id=${`compare-${name.replaceAll("/", "-")}`} title=${name} xLabel=${axis.label} file=${`compare-${name.replaceAll("/", "-")}`}
        series=${runs.map((run, place) => ({
          name: run.id, label: run.label, color: (place % 8) + 1, kind: name.startsWith("valid/") ? "dots" : "line",
          ...along(run.series[name], axis.metric ? run.series[axis.metric] : undefined, !axis.metric),
        }))} />`)}</div>`}
  </${Section}>`;
}

/** The models on rows that their reports share. @param {{runs: Run[]}} props */
function Shared({ runs }) {
  const reported = runs.filter((run) => run.summary.report);
  const ids = reported.map((run) => run.id);
  const found = useLoad(async (signal) => (ids.length > 1 ? get("/v1/fine_tuning/comparisons", { jobs: ids.join(",") }, { signal }) : null), [ids.join()]);
  if (ids.length < 2) {
    return html`<${Section} id="same-rows" title="On the same held-out rows">
      <p class="faint">Known once two of the runs have a report, which is written when a job succeeds.</p></${Section}>`;
  }
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  return found.data ? html`<${SameRows} comparison=${found.data} runs=${reported} />` : html`<${Busy} />`;
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<{id: string, summary: any, settings: any, metrics: string[]}>}
 */
async function factsOf(id, signal) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
  const [found, settings, few] = await Promise.all([
    get("/v1/fine_tuning/summaries", { search: id, limit: 1 }, { signal }),
    get(`${path}/settings`, {}, { signal }),
    get(`${path}/metrics`, { max_points: 4 }, { signal }), // for the names of its series
  ]);
  const [summary] = found.data;
  if (summary?.id !== id) throw new ApiError(404, `There is no job ${id} in this project.`);
  return { id, summary, settings, metrics: Object.keys(few.series) };
}

/** @param {{summary: any}[]} runs */
function usualMetrics(runs) {
  const kinds = new Set(runs.map(({ summary }) => methodOf(summary)));
  const metrics = [];
  if (kinds.has("reinforcement")) metrics.push("valid/reward_mean", "reward/mean");
  if (kinds.has("supervised")) metrics.push("valid/loss", "train/loss");
  return metrics;
}

/** Names that tell the runs apart: those of one name get the end of their id. @param {any[]} summaries */
function labelsOf(summaries) {
  const names = summaries.map((one) => (nameOf(one) === one.id ? `${one.id.slice(0, 8)}…${one.id.slice(-6)}` : nameOf(one)));
  return names.map((name, place) => (names.indexOf(name) === names.lastIndexOf(name) ? name : `${name} (${summaries[place].id.slice(-6)})`));
}
