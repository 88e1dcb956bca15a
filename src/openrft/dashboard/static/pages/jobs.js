// @ts-check
/** The list of jobs. It is asked for again and again, so that what other programs create appears by itself. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../core/api.js";
import { count } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery } from "../core/router.js";
import { Busy, Empty, Problem } from "../parts/elements.js";
import { FirstSteps } from "../parts/first_steps.js";
import { useTitle } from "../parts/frame.js";
import { JobTable, MOST_COMPARED, nameOf } from "../parts/job_rows.js";

const PAGE = 50;
const EVERY = 2000; // milliseconds
/** @type {{rows: any[], hasMore: boolean|null}} */
const NO_ROWS = { rows: [], hasMore: null };
const STATUSES = ["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"];

/** @type {Record<string, [string, (one: any, other: any) => number]>} */
const ORDERS = {
  newest: ["Newest", (one, other) => other.job.created_at - one.job.created_at],
  gain: ["Largest improvement", (one, other) => gainOf(other) - gainOf(one)],
  best: ["Best validation", (one, other) => (other.best ?? -Infinity) - (one.best ?? -Infinity)],
  progress: ["Furthest", (one, other) => shareDone(other) - shareDone(one)],
  name: ["Name", (one, other) => nameOf(one).localeCompare(nameOf(other))],
};

export default function Jobs() {
  useTitle("Jobs");
  const { search, status, model, method, sort = "newest" } = query.value;
  const filter = { search, status, model, method };
  const list = useLoad((signal) => get("/v1/fine_tuning/summaries", { ...filter, limit: PAGE }, { signal }),
    [search, status, model, method], { every: EVERY });
  const known = useRef(/** @type {any} */ (null)); // stays while another filter's answer is on its way
  if (list.data) known.current = list.data;
  const older = useRows(filter, list.data);
  const { rows, hasMore } = older;
  const models = useRef(/** @type {Set<string>} */ (new Set()));
  for (const row of rows) models.current.add(row.job.model);
  const isFiltered = Boolean(search || status || model || method);
  const picked = (query.value.picked ?? "").split(",").filter(Boolean).slice(0, MOST_COMPARED);
  const pick = (/** @type {string} */ id) =>
    setQuery({ picked: (picked.includes(id) ? picked.filter((one) => one !== id) : [...picked, id]).join(",") });
  const [, inOrder] = ORDERS[sort] ?? ORDERS.newest;
  // Jobs of the same second stay in the server's order: sorting keeps it.
  const shown = sort === "newest" ? rows : [...rows].sort(inOrder);
  if (list.data && !rows.length && !isFiltered) return html`<h1>Jobs</h1><${FirstSteps} />`;
  return html`<header class="section-head"><h1>Jobs</h1><p class="faint" role="status">${inNumbers(rows, hasMore)}</p></header>
    <${Filters} models=${[...models.current].sort()} />
    ${list.error && html`<${Problem} error=${list.error} retry=${list.again} />`}
    ${picked.length > 0 && html`<${Picked} picked=${picked} rows=${rows} />`}
    ${!known.current ? !list.error && html`<${Busy} what="Loading jobs" />`
      : rows.length ? html`<${JobTable} rows=${shown} picked=${picked} onPick=${pick} />`
        : html`<${Empty} title="No job is like that">
            <button type="button" onClick=${() => setQuery({ search: null, status: null, model: null, method: null })}>Show all jobs</button></${Empty}>`}
    ${older.error && html`<${Problem} error=${older.error} />`}
    ${hasMore && html`<div class="row"><button type="button" onClick=${older.more} disabled=${older.isLoading}>Show older jobs</button>
      ${sort !== "newest" && html`<span class="faint">Sorted among the ${count(rows.length)} that are shown.</span>`}</div>`}`;
}

/** The controls above the list; each is a part of the address. @param {{models: string[]}} props */
function Filters({ models }) {
  const { search = "", status = "", model = "", method = "", sort = "newest" } = query.value;
  const [typed, setTyped] = useState(search);
  useEffect(() => setTyped(search), [search]);
  useEffect(() => {
    if (typed === search) return;
    const timer = setTimeout(() => setQuery({ search: typed }), 250);
    return () => clearTimeout(timer);
  }, [typed]);
  const known = model && !models.includes(model) ? [...models, model] : models;
  return html`<form class="job-filters" role="search" aria-label="Jobs" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
    <input type="search" aria-label="Search jobs" placeholder="Name, id, model, file, metadata" value=${typed}
      onInput=${(/** @type {any} */ e) => setTyped(e.currentTarget.value)} />
    <${Choice} label="Status" name="status" value=${status} options=${STATUSES.map((one) => [one, one.replace("_", " ")])} />
    <${Choice} label="Model" name="model" value=${model} options=${known.map((one) => [one, one])} />
    <${Choice} label="Method" name="method" value=${method} options=${[["reinforcement", "reinforcement"], ["supervised", "supervised"]]} />
    <${Choice} label="Order" name="sort" value=${sort} options=${Object.entries(ORDERS).map(([name, [title]]) => [name, title])} isWhole />
  </form>`;
}

/**
 * @param {{label: string, name: string, value: string, options: string[][], isWhole?: boolean}} props
 *   `isWhole`: the options are all that there is; otherwise "any" comes first
 */
const Choice = ({ label, name, value, options, isWhole = false }) => html`<label class="picking"><span>${label}</span>
  <select value=${value} onChange=${(/** @type {any} */ e) => setQuery({ [name]: e.currentTarget.value })}>
    ${!isWhole && html`<option value="">any</option>`}
    ${options.map(([key, title]) => html`<option value=${key} selected=${key === value}>${title}</option>`)}
  </select></label>`;

/** What is ticked, and the way to compare it. @param {{picked: string[], rows: any[]}} props */
function Picked({ picked, rows }) {
  const names = picked.map((id) => rows.find((row) => row.id === id)).filter(Boolean).map(nameOf);
  const isFull = picked.length >= MOST_COMPARED;
  return html`<div class="notice row picked-bar" role="status">
    <span>${picked.length === 1 ? "1 job is ticked; tick another one to compare them" : `${picked.length} jobs are ticked${isFull ? ", as many as can be compared" : ""}`}</span>
    <span class="faint">${names.join(", ")}</span>
    ${picked.length > 1 && html`<a class="button primary" href=${`/compare?jobs=${picked.map(encodeURIComponent).join(",")}`}>Compare</a>`}
    <button type="button" onClick=${() => setQuery({ picked: null })}>Untick all</button>
  </div>`;
}

/**
 * All rows that are shown: the first page, and those after it that were asked for.
 * @param {Record<string, any>} filter
 * @param {any} first the first page
 */
function useRows(filter, first) {
  const key = JSON.stringify(filter);
  const [asked, setAsked] = useState({ key, pages: 0 });
  const pages = asked.key === key ? asked.pages : 0;
  // New jobs move the end of the first page on: what comes after it is then asked for again.
  const after = pages > 0 ? first?.last_id : null;
  const older = useLoad(async (signal) => (after ? pagesAfter(filter, after, pages, signal) : NO_ROWS), [key, after, pages], { every: after ? 30_000 : 0 });
  const shown = useRef(/** @type {{key: string, rows: any[]}} */ ({ key: "", rows: [] }));
  if (first) {
    const known = older.data?.rows ?? (shown.current.key === key && pages > 0 ? shown.current.rows : []);
    shown.current = { key, rows: merge(first.data, known) };
  }
  return {
    rows: shown.current.rows,
    hasMore: older.data?.hasMore ?? first?.has_more ?? false,
    isLoading: pages > 0 && !older.data && !older.error,
    error: older.error,
    more: () => setAsked({ key, pages: pages + 1 }),
  };
}

/** @param {Record<string, any>} filter @param {string} after @param {number} pages @param {AbortSignal} signal */
async function pagesAfter(filter, after, pages, signal) {
  const rows = [];
  let page = { has_more: true, last_id: after };
  for (let number = 0; number < pages && page.has_more; number += 1) {
    page = await get("/v1/fine_tuning/summaries", { ...filter, limit: PAGE, after: page.last_id }, { signal });
    rows.push(.../** @type {any} */ (page).data);
  }
  return { rows, hasMore: page.has_more };
}

/** Newer answers win; the order is the server's. @param {any[]} first @param {any[]} older */
function merge(first, older) {
  const there = new Set(first.map((row) => row.id));
  return [...first, ...older.filter((row) => !there.has(row.id))];
}

/** "12 jobs, 2 running". @param {any[]} rows @param {boolean} hasMore */
function inNumbers(rows, hasMore) {
  const running = rows.filter((row) => row.job.status === "running").length;
  const all = `${hasMore ? "the newest " : ""}${count(rows.length)} ${rows.length === 1 ? "job" : "jobs"}`;
  return running ? `${all}, ${running} running` : all;
}

/** For sorting; of losses less is more. @param {any} row */
function gainOf(row) {
  const gain = row.report?.gain ?? row.gain;
  if (gain === null || gain === undefined) return -Infinity;
  return row.job.method?.type === "supervised" ? -gain : gain;
}

/** @param {any} row */
const shareDone = (row) => (row.step ?? 0) / (row.total_steps || Infinity);
