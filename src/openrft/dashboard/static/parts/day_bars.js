// @ts-check
/** A bar for each day, with the numbers as a table beneath. */
import { html } from "../core/html.js";

export const DAY = 86_400; // seconds
const WIDTH = 900;
const HEIGHT = 160;

/** @typedef {{start: number, value: number}} Day `start` in Unix seconds */

/**
 * Every day of a time, also those on which there was nothing.
 * @param {number} since
 * @param {number} until
 * @param {any[]} found days of the API, those with something
 * @param {(day: any) => number} of
 * @returns {Day[]}
 */
export function daysBetween(since, until, found, of) {
  const values = new Map(found.map((day) => [day.start_time, of(day)]));
  const days = [];
  for (let start = Math.floor(since / DAY) * DAY; start < until; start += DAY) days.push({ start, value: values.get(start) ?? 0 });
  return days;
}

/** @param {{label: string, days: Day[], write: (value: number) => string}} props */
export function DayBars({ label, days, write }) {
  const most = Math.max(...days.map((day) => day.value));
  const wide = WIDTH / days.length;
  const whole = days.reduce((sum, day) => sum + day.value, 0);
  return html`<figure class="panel day-bars" data-days=${days.length}>
    <div class="faint">${write(most)}</div>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`${label}: ${write(whole)} in ${days.length} days, at most ${write(most)} on one`}>
      <line x1="0" x2=${WIDTH} y1=${HEIGHT - 0.5} y2=${HEIGHT - 0.5} />
      ${days.map((day, place) => day.value > 0 && html`<rect x=${place * wide + wide * 0.1} width=${wide * 0.8}
        y=${HEIGHT - Math.max(2, (day.value / most) * HEIGHT)} height=${Math.max(2, (day.value / most) * HEIGHT)}><title>${dateOf(day.start)}: ${write(day.value)}</title></rect>`)}
    </svg>
    <div class="row ends faint"><span>${dateOf(days[0].start)}</span><span>${dateOf(days[days.length - 1].start)}</span></div>
    <details><summary>As a table</summary><table><caption class="unseen">${label} by day</caption>
      <thead><tr><th scope="col">Day</th><th scope="col" class="number">${label}</th></tr></thead>
      <tbody>${days.filter((day) => day.value > 0).map((day) => html`<tr><th scope="row">${dateOf(day.start)}</th><td class="number">${write(day.value)}</td></tr>`)}</tbody></table></details>
  </figure>`;
}

/** 23 Nov. @param {number} start */
const dateOf = (start) => new Date(1000 * start).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
