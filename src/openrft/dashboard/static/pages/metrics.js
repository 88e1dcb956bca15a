// @ts-check
/** Everything that was measured, one chart each: searched by name, over steps, samples, tokens or time. */
import { useMemo } from "preact/hooks";
import { get } from "../core/api.js";
import { AXES, axisOf } from "../core/axis.js";
import { html } from "../core/html.js";
import { useJob } from "../core/live.js";
import { useLoad } from "../core/load.js";
import { navigate, query, setQuery, withQuery } from "../core/router.js";
import { useMetrics } from "../core/series.js";
import { Chart } from "../parts/chart.js";
import { ChartControls } from "../parts/chart_settings.js";
import { Busy, Empty, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { JobHead } from "../parts/job_head.js";

const MOST_SHOWN = 24;

/** Headings, by what a name begins with; the rest comes last. */
const GROUPS = /** @type {Record<string, string>} */ ({
  reward: "Rewards and groups", groups: "Rewards and groups", valid: "Validation", rollout: "Rollouts", answers: "Rollouts", grade: "Graders",
  policy: "Policy", optimizer: "Optimizer", guard: "Optimizer", train: "Supervised training", time: "Time and speed", throughput: "Time and speed",
  memory: "Time and speed", spent: "Budget", budget: "Budget",
});

/** @param {{id: string}} props */
export default function Metrics({ id }) {
  useTitle("All metrics");
  const { job } = useJob(id);
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/metrics`;
  // Four points of each are enough to know which there are.
  const listed = useLoad(() => get(path, { max_points: 4 }).then((answer) => Object.keys(answer.series)), [path, job.value?.status, job.value?.step > 0]);
  return html`<${JobHead} id=${id} tab="metrics" />
    ${listed.error && html`<${Problem} error=${listed.error} retry=${listed.again} />`}
    ${!listed.data ? !listed.error && html`<${Busy} what="Loading the names" />`
      : !listed.data.length ? html`<${Empty} title="Nothing was measured yet"><p>This page fills with the first step.</p></${Empty}>`
      : html`<${Charts} id=${id} names=${listed.data} job=${job.value} />`}`;
}

/** @param {{id: string, names: string[], job: any}} props */
function Charts({ id, names, job }) {
  const { q = "", x = "step", more } = query.value;
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const found = useMemo(() => inGroups(names.filter((name) => words.every((word) => name.toLowerCase().includes(word)))), [names, q]);
  const shown = found.slice(0, more ? found.length : MOST_SHOWN);
  return html`<div class="row">
      <label for="metric-search">Search</label>
      <input id="metric-search" type="search" value=${q} placeholder="reward, tokens, seconds …" onInput=${(/** @type {any} */ event) => setQuery({ q: event.currentTarget.value })} />
      <span class="faint" role="status" data-found=${found.length}>${found.length} of ${names.length}</span>
      <label for="metric-axis">Over</label>
      <select id="metric-axis" value=${x} onChange=${(/** @type {any} */ event) => setQuery({ x: event.currentTarget.value === "step" ? null : event.currentTarget.value })}>
        ${Object.entries(AXES).map(([name, { label }]) => html`<option value=${name} selected=${name === x}>${label}</option>`)}</select>
      <a class="button small" href=${`/v1/fine_tuning/jobs/${encodeURIComponent(id)}/metrics?format=csv`} download=${`${id}-metrics.csv`}>All as CSV</a>
    </div>
    <div class="row"><${ChartControls} /></div>
    ${!found.length && html`<${Empty} title="No metric has this name"><p><a href=${withQuery({ q: null })}>All metrics</a></p></${Empty}>`}
    ${found.length > 0 && html`<${Shown} key=${shown.length > 90 ? "all" : "some"} id=${id} job=${job} names=${shown} axis=${x} />`}
    ${shown.length < found.length && html`<p><a class="button" href=${withQuery({ more: "true" })}>Show all ${found.length}</a></p>`}`;
}

/** @param {{id: string, job: any, names: string[], axis: string}} props */
function Shown({ id, job, names, axis }) {
  const { events } = useJob(id);
  const metric = AXES[axis]?.metric;
  const { series, error, isLoaded } = useMetrics(id, metric ? [metric, ...names.filter((name) => name !== metric)] : names);
  const place = axis === "step" ? null : axisOf(axis, series, events.value);
  // It asks again by itself, and what is known stays meanwhile.
  const problem = error && html`<${Problem} error=${error} />`;
  if (!isLoaded) return problem || html`<${Busy} what="Loading the numbers" />`;
  if (axis !== "step" && !place) return html`<${Empty} title="This job does not know its ${AXES[axis]?.label ?? axis}"><p><a href=${withQuery({ x: null })}>Over steps</a></p></${Empty}>`;
  const isSupervised = job?.method?.type !== "reinforcement";
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const name of names) groups.set(groupOf(name), [...(groups.get(groupOf(name)) ?? []), name]);
  return html`${problem}${[...groups].map(([title, members]) => html`<${Section} key=${title} title=${title}><div class="charts">
    ${members.map((name) => html`<${One} key=${name} id=${id} name=${name} points=${series[name]} place=${place} xLabel=${AXES[axis]?.label ?? "step"} canPick=${!isSupervised} />`)}
  </div></${Section}>`)}`;
}

/** @param {{id: string, name: string, points: any, place: ((steps: number[]) => number[])|null, xLabel: string, canPick: boolean}} props */
function One({ id, name, points, place, xLabel, canPick }) {
  const steps = points?.steps ?? [];
  const xs = useMemo(() => (place ? place(steps) : steps), [steps, xLabel, place === null]);
  const isDots = name.startsWith("valid/");
  const pick = (/** @type {number} */ x) => navigate(`/finetune/${id}/rollouts?step=${Math.max(1, steps[xs.indexOf(x)] ?? 1)}`);
  return html`<${Chart} id=${`metric-${name.replace(/[^\w]+/g, "-")}`} title=${name} xLabel=${xLabel} unit=${unitOf(name)} onPick=${canPick ? pick : undefined} height=${180}
    series=${[{ name, label: isDots ? "Validation" : "Each step", ...points, steps: xs, values: points?.values ?? [], kind: isDots ? "dots" : "line" }]} file=${`${id}-${name.replaceAll("/", "-")}`} />`;
}

/** In the order of their headings, each as the job has told them. @param {string[]} names */
function inGroups(names) {
  const order = [...new Set(Object.values(GROUPS)), "Other"];
  return [...names].sort((a, b) => order.indexOf(groupOf(a)) - order.indexOf(groupOf(b)));
}

/** @param {string} name */
const groupOf = (name) => GROUPS[name.split("/")[0]] ?? "Other";

/** @param {string} name */
function unitOf(name) {
  if (/share|accuracy/.test(name)) return "share";
  if (/seconds/.test(name)) return "seconds";
  if (/_bytes$/.test(name)) return "bytes";
  if (/tokens/.test(name)) return "tokens";
  return /^(reward|grade\/.*mean|valid\/(reward|monitor))/.test(name) ? "reward" : "number";
}
