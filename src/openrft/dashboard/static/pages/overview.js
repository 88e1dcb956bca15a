// @ts-check
/** A job at a glance, in the order in which one asks: is something wrong, is it learning, by honest means, at what price. */
import { useMemo } from "preact/hooks";
import { useAlarms } from "../core/alarms.js";
import { get } from "../core/api.js";
import { html } from "../core/html.js";
import { useJob } from "../core/live.js";
import { useLoad } from "../core/load.js";
import { navigate } from "../core/router.js";
import { useMetrics } from "../core/series.js";
import { Alerts } from "../parts/alerts.js";
import { Chart } from "../parts/chart.js";
import { ChartControls } from "../parts/chart_settings.js";
import { Busy, Empty, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { JobHead } from "../parts/job_head.js";
import { namesOf, openaiCharts, signalCharts, supervisedCharts } from "../parts/overview_charts.js";
import { OverviewCards } from "../parts/overview_cards.js";
import { Budgets, Timeline } from "../parts/timeline.js";

const MOST_CHARTS = 12;

/** @param {{id: string}} props */
export default function Overview({ id }) {
  const { job } = useJob(id);
  useTitle(job.value ? `${job.value.user_provided_suffix || id}: ${job.value.status}` : id);
  return html`<${JobHead} id=${id} tab="overview" />${job.value && html`<${Watched} id=${id} job=${job.value} />`}`;
}

/** @param {{id: string, job: any}} props */
function Watched({ id, job }) {
  const { events } = useJob(id);
  const metrics = useMetrics(id, namesOf(job));
  const alarms = useAlarms(id);
  const checkpoints = useLoad(() => get(`/v1/fine_tuning/jobs/${encodeURIComponent(id)}/checkpoints`, { limit: 100 }).then((list) => list.data), [id, job.status, checkpointsTold(events.value)]);
  const told = useMemo(() => events.value.filter((event) => event.type === "metrics").map((event) => event.data), [events.value]);
  const markers = useMemo(() => markersOf(checkpoints.data ?? [], alarms.alarms ?? [], events.value), [checkpoints.data, alarms.alarms, events.value]);
  const { series } = metrics;
  const isSupervised = job.method?.type !== "reinforcement";
  const [shown, signal] = useMemo(() => {
    const first = (isSupervised ? supervisedCharts(series) : openaiCharts(series, told, job)).filter((one) => !one.isOptional || one.series.length);
    return [first, isSupervised ? [] : signalCharts(series).slice(0, MOST_CHARTS - first.length)];
  }, [series, told, isSupervised]);
  if (metrics.error && !metrics.isLoaded) return html`<${Problem} error=${metrics.error} />`;
  if (!metrics.isLoaded) return html`<${Busy} what="Loading its metrics" />`;
  if (metrics.lastStep === null) return html`<${Alerts} id=${id} found=${alarms} /><${NothingYet} id=${id} job=${job} />`;
  const pick = isSupervised ? undefined : (/** @type {number} */ step) => navigate(`/finetune/${id}/rollouts?step=${Math.max(1, step)}`);
  const draw = (/** @type {any} */ chart) => html`<${Chart} key=${chart.id} ...${chart} markers=${markers} onPick=${pick} file=${`${id}-${chart.id.replace("chart-", "")}`} />`;
  return html`
    ${metrics.error && html`<${Problem} error=${metrics.error} />`}
    <${Alerts} id=${id} found=${alarms} />
    <${OverviewCards} job=${job} series=${series} />
    <${Section} title="Is it learning?" actions=${html`<${ChartControls} />`}><div class="charts">${shown.map(draw)}</div></${Section}>
    ${signal.length > 0 && html`<${Section} title="Learning signal" note="Whether there is something to learn from, and whether the updates are sound.">
      <div class="charts">${signal.map(draw)}</div></${Section}>`}
    <div class="two">
      <${Section} title="Timeline" note="Who works and who waits, in the latest steps."><${Timeline} series=${series} /></${Section}>
      <${Section} title="Cost and time"><${Budgets} series=${series} /></${Section}>
    </div>
    <p class="faint">Everything else that was measured is under <a href=${`/finetune/${id}/metrics`}>All metrics</a>.</p>`;
}

/** @param {{id: string, job: any}} props */
function NothingYet({ id, job }) {
  const said = /** @type {Record<string, [string, string]>} */ ({
    validating_files: ["Its files are being checked", "This page fills by itself."],
    queued: ["It waits for a worker", "It starts as soon as one is free. This page fills by itself."],
    running: ["It prepares its first step", "The base is evaluated first: that is step 0, the line that everything is compared with."],
    paused: ["Paused before its first step", "Resume it to begin."],
    failed: ["It failed before its first step", "What is wrong is said above; the events have the whole story."],
    cancelled: ["Cancelled before its first step", "Create it again to start anew."],
  })[job.status] ?? ["No step was recorded", ""];
  return html`<${Empty} title=${said[0]}><p>${said[1]}</p><p><a href=${`/finetune/${id}/events`}>Events</a></p></${Empty}>`;
}

/** Checkpoints are asked for again when an event tells of one. @param {any[]} events */
const checkpointsTold = (events) => events.reduce((sum, event) => sum + (/checkpoint/i.test(event.message) ? 1 : 0), 0);

/** What happened at which step. @param {any[]} checkpoints @param {any[]} alarms @param {any[]} events */
function markersOf(checkpoints, alarms, events) {
  const found = checkpoints.filter((one) => !one.is_final).map((one) => ({ step: one.step_number, label: "checkpoint", tone: "quiet" }));
  let step = 0;
  for (const event of events) {
    if (event.type === "metrics") {
      step = event.data.step;
      if (event.data.full_valid_mean_reward !== null && event.data.full_valid_mean_reward !== undefined) found.push({ step, label: "evaluation", tone: "quiet" });
    }
    if (/was paused/.test(event.message)) found.push({ step, label: "paused", tone: "good" });
    if (/was resumed|job continues/.test(event.message)) found.push({ step, label: "resumed", tone: "good" });
  }
  return [...found, ...alarms.map((one) => ({ step: one.step, label: one.code.replace(/_/g, " "), tone: one.severity === "error" ? "bad" : "warn" }))];
}
