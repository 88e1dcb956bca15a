// @ts-check
/** How often each score was given, as bars that are also a table. */
import { count, reward } from "../core/format.js";
import { html } from "../core/html.js";

/** @typedef {{low: number, high: number, count: number}} Bucket */

/** @param {{title: string, buckets: Bucket[]}} props */
export function ScoreBars({ title, buckets }) {
  const most = Math.max(1, ...buckets.map((one) => one.count));
  return html`<table class="bars" data-count=${buckets.reduce((sum, one) => sum + one.count, 0)}>
    <caption>${title}</caption>
    <thead class="unseen"><tr><th scope="col">Score</th><th scope="col">Answers</th></tr></thead>
    <tbody>${buckets.map((one) => html`<tr>
      <th scope="row" class="number">${one.low === one.high ? reward(one.low) : `${reward(one.low)} to ${reward(one.high)}`}</th>
      <td class="number">${count(one.count)}</td>
      <td class="bar-cell" aria-hidden="true"><span class=${one.count ? "" : "none"}
        style=${{ width: `${(100 * one.count) / most}%` }}></span></td>
    </tr>`)}</tbody></table>`;
}

/** A histogram of the server's as such buckets. @param {{edges: number[], counts: number[]}} histogram @returns {Bucket[]} */
export const bucketsOf = ({ edges, counts }) => counts.map((one, index) => ({ low: edges[index], high: edges[index + 1], count: one }));
