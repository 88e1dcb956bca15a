// @ts-check
/** What a job has told, newest first, as it happens; and what failed while grading, grouped. */
import { useRef, useState } from "preact/hooks";
import { get } from "../core/api.js";
import { count, when } from "../core/format.js";
import { html } from "../core/html.js";
import { MOST_PAST, useJob } from "../core/live.js";
import { query, setQuery } from "../core/router.js";
import { Action, Empty, Section, Status } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { GraderFailures } from "../parts/grader_failures.js";
import { JobHead } from "../parts/job_head.js";
import { Text } from "../parts/text.js";

const AT_ONCE = 200;

/** @param {{id: string}} props */
export default function Events({ id }) {
  useTitle("Events");
  const { job, events } = useJob(id);
  return html`<${JobHead} id=${id} tab="events" />
    ${job.value && html`<${List} id=${id} live=${events.value} isOver=${["succeeded", "failed", "cancelled"].includes(job.value.status)} />
      ${job.value.method?.type === "reinforcement" && html`<${GraderFailures} id=${id} told=${events.value} />`}`}`;
}

/** @param {{id: string, live: any[], isOver: boolean}} props `live`: oldest first */
function List({ id, live, isOver }) {
  const [past, setPast] = useState(/** @type {any[]|null} */ (null)); // what was told before the oldest of `live`
  const events = past ? [...past, ...live] : live;
  const hasPast = past ? past.length > 0 && past[0].hasMore : live.length >= MOST_PAST;
  // Who reads does not want the lines to move; what comes meanwhile is counted.
  const kept = useRef(0);
  const readPast = async () => {
    const page = await get(`/v1/fine_tuning/jobs/${encodeURIComponent(id)}/events`, { after: events[0].id, limit: 1000 });
    const found = page.data.reverse();
    if (found.length) found[0].hasMore = page.has_more;
    kept.current += found.length;
    setPast([...found, ...(past ?? [])]);
  };
  const { level = "", kind = "", q = "", shown = String(AT_ONCE), follow } = query.value;
  const isFollowing = follow !== "no";
  if (isFollowing || !kept.current) kept.current = events.length;
  const wanted = q.toLowerCase();
  const matching = events.slice(0, kept.current).filter((event) =>
    (!level || event.level === level || (level === "warn" && event.level === "error")) && (!kind || event.type === kind) && (!wanted || event.message.toLowerCase().includes(wanted)));
  const most = Number(shown) || AT_ONCE;
  const rows = matching.slice(-most).reverse();
  const later = events.length - kept.current;
  return html`<${Section} title="Events">
    <div class="row">
      <label for="event-search">Search</label><input id="event-search" type="search" value=${q} onInput=${(/** @type {any} */ event) => setQuery({ q: event.currentTarget.value })} />
      <label for="event-level">Level</label><select id="event-level" value=${level} onChange=${(/** @type {any} */ event) => setQuery({ level: event.currentTarget.value })}>
        ${[["", "all"], ["warn", "warnings and errors"], ["error", "errors"]].map(([value, title]) => html`<option value=${value} selected=${value === level}>${title}</option>`)}</select>
      <label for="event-kind">Kind</label><select id="event-kind" value=${kind} onChange=${(/** @type {any} */ event) => setQuery({ kind: event.currentTarget.value })}>
        ${[["", "all"], ["message", "messages"], ["metrics", "steps"]].map(([value, title]) => html`<option value=${value} selected=${value === kind}>${title}</option>`)}</select>
      ${!isOver && html`<label class="check"><input type="checkbox" checked=${isFollowing} onChange=${() => setQuery({ follow: isFollowing ? "no" : null })} /> Follow</label>`}
      <span class="faint" role="status">${count(matching.length)} of ${count(kept.current)}${later > 0 ? `, ${count(later)} new` : ""}</span>
    </div>
    ${!rows.length && html`<${Empty} title=${events.length ? "No event is like that" : "No events yet"} />`}
    <ol class="events" id="events" data-events=${matching.length}>
      ${rows.map((event) => html`<li key=${event.id} class=${event.level} data-level=${event.level}>
        <time datetime=${new Date(1000 * event.created_at).toISOString()}>${when(event.created_at)}</time>
        <${Status} status=${event.level} /><${Text} text=${event.message} most=${600} search=${q} /></li>`)}
    </ol>
    ${rows.length < matching.length && html`<p><button type="button" onClick=${() => setQuery({ shown: most + 5 * AT_ONCE })}>Show older ones (${count(matching.length - rows.length)})</button></p>`}
    ${hasPast && html`<p><${Action} run=${readPast}>Load what was told before</${Action}></p>`}
  </${Section}>`;
}
