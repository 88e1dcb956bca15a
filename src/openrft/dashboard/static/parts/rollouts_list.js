// @ts-check
/** Rollouts one below the other, as they are picked and sorted. */
import { useEffect, useRef } from "preact/hooks";
import { get } from "../core/api.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { navigate, query, setQuery, withQuery } from "../core/router.js";
import { addressOf, Completion } from "./completion.js";
import { Busy, Empty, Problem } from "./elements.js";
import { useKeys } from "./keys.js";
import { RenderMenu } from "./output.js";
import { rangeOf } from "./reward.js";
import { chosenFilters, Filters } from "./rollouts_filters.js";

const PAGE = 20;

/**
 * @param {{id: string, label: string, step?: number, always?: Record<string, any>, hasReasons?: boolean}} props
 *   `always`: filters that are not for choosing
 */
export function RolloutList({ id, label, step, always = {}, hasReasons = true }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts`;
  const picked = { ...always, ...chosenFilters(), step, after: query.value.after };
  const page = useLoad(() => get(path, { limit: PAGE, ...picked }), [path, JSON.stringify(picked)]);
  const rollouts = page.data?.data ?? [];
  const range = rangeOf(rollouts.map((/** @type {any} */ one) => one.reward));
  const list = useRef(/** @type {HTMLDivElement|null} */ (null));
  const keys = useListKeys(list, id, rollouts);
  return html`<section class="stack" aria-label=${label}>
    <${Filters} hasReasons=${hasReasons} />
    <div class="row"><h2>${label}</h2><span class="row push"><${RenderMenu} />${keys}</span></div>
    ${page.error && html`<${Problem} error=${page.error} retry=${page.again} />`}
    ${!page.data && !page.error && html`<${Busy} what="Loading rollouts" />`}
    ${page.data && !rollouts.length && !page.data.has_more && html`<${Empty} title="No rollout is like that">
      <p>${query.value.after ? "The list ends here." : "Take a filter away, or look at another step."}</p></${Empty}>`}
    <div class="completions" ref=${list} aria-busy=${page.isLoading} data-count=${rollouts.length}>
      ${rollouts.map(
        (/** @type {any} */ one) => html`<${Completion} key=${one.id} rollout=${one} job=${id} range=${range}
          search=${query.value.search ?? ""} most=${800} isInList isCurrent=${one.id === query.value.at} />`,
      )}</div>
    ${page.data && html`<${Pages} page=${page.data} />`}
  </section>`;
}

/** @param {{page: any}} props */
const Pages = ({ page }) => html`<nav class="row" aria-label="Pages of the list">
  ${query.value.after && html`<a class="button" href=${withQuery({ after: null, at: null })}>First page</a>`}
  ${page.has_more && html`<a class="button" href=${withQuery({ after: page.next_cursor, at: null })}>
    ${page.ended_early ? "Search on" : "Next page"}</a>`}
  ${page.ended_early && html`<span class="faint">The search has not come to the end: it read for a while, and goes on from
    there.</span>`}
</nav>`;

/**
 * j and k move the focus through the list; the place is kept in the address.
 * @param {{current: HTMLElement|null}} list @param {string} id @param {any[]} rollouts
 */
function useListKeys(list, id, rollouts) {
  // Read when a key is pressed, not when the page was drawn: keys come faster.
  const place = () => rollouts.findIndex((one) => one.id === query.value.at);
  const show = (/** @type {string} */ rollout) => {
    const card = /** @type {HTMLElement|null} */ (list.current?.querySelector(`[data-item="${rollout}"]`) ?? null);
    card?.focus({ preventScroll: true });
    card?.scrollIntoView({ block: "start" });
  };
  useEffect(() => {
    if (place() >= 0) show(rollouts[place()].id); // after a reload or a step back
  }, [rollouts.length > 0]);
  const move = (/** @type {number} */ by) => {
    const next = rollouts[place() < 0 ? 0 : place() + by];
    if (!next) return;
    setQuery({ at: next.id });
    show(next.id);
  };
  return useKeys([
    { key: "j", title: "Next rollout", run: () => move(1) },
    { key: "k", title: "Previous rollout", run: () => move(-1) },
    { key: "o", title: "Open it", run: () => place() >= 0 && navigate(addressOf(id, rollouts[place()].id)) },
    { key: "/", title: "Search", run: () => document.getElementById("rollout-search")?.focus() },
  ]);
}
