// @ts-check
/** What was sampled and did not train: how much of it for which reason, and the rollouts themselves. */
import { get } from "../core/api.js";
import { count, percent } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, withQuery } from "../core/router.js";
import { Busy, Problem } from "./elements.js";
import { reasonName, whyLeftOut } from "./reward.js";
import { RolloutList } from "./rollouts_list.js";

/** @param {{id: string}} props */
export function LeftOut({ id }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts/left_out`;
  const sums = useLoad(() => get(path), [path]);
  const reason = query.value.left_out;
  return html`${sums.error && html`<${Problem} error=${sums.error} retry=${sums.again} />`}
    ${!sums.data && !sums.error && html`<${Busy} what="Counting" />`}
    ${sums.data && html`<${Reasons} sums=${sums.data} />`}
    <${RolloutList} id=${id} label=${reason ? `Left out: ${reasonName(reason)}` : "Left out"}
      always=${{ left_out: "any" }} hasReasons=${false} />`;
}

/** @param {{sums: any}} props */
const Reasons = ({ sums }) => html`<section class="stack" aria-label="Reasons">
  <p id="left-out-sum"><b>${count(sums.left_out)}</b> of ${count(sums.rollouts)} rollouts did not
    ${` train (${percent(sums.left_out / (sums.rollouts || 1))}). `}
    ${sums.counted_from > 1 && html`<span class="faint">The reasons are counted from step ${sums.counted_from} on.</span>`}</p>
  <div class="cards">${Object.entries(sums.reasons).map(([reason, number]) => {
    const isHere = query.value.left_out === reason;
    return html`<a class="card reason" href=${withQuery({ left_out: isHere ? null : reason, after: null, at: null })}
      aria-current=${isHere ? "true" : null} data-reason=${reason}>
      <div class="card-label">${reasonName(reason)}</div>
      <div class="card-value">${count(/** @type {number} */ (number))}</div>
      <div class="card-note">${whyLeftOut(reason)}</div></a>`;
  })}</div>
</section>`;
