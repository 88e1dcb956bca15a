// @ts-check
/** The groups of a step, and one of them open: its completions side by side. */
import { useEffect, useRef } from "preact/hooks";
import { get } from "../core/api.js";
import { count, isNumber, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery, withQuery } from "../core/router.js";
import { exampleAddress, SideBySide } from "./completion.js";
import { Busy, Chip, Empty, Problem } from "./elements.js";
import { useKeys } from "./keys.js";
import { Menu } from "./menu.js";
import { RenderMenu } from "./output.js";
import { Dots, rangeOf, reasonName } from "./reward.js";
import { Filters } from "./rollouts_filters.js";
import { goToStep } from "./step_picker.js";
import { Line, Messages } from "./text.js";

const MOST_SHOWN = 200; // completions of a group: what one page of the API has

/** How groups are ordered; a number's smallest comes first. @type {Record<string, [string, (group: any) => number]>} */
const GROUP_ORDERS = {
  sampled: ["as sampled", (group) => group.number],
  worst: ["worst first", (group) => group.mean ?? -Infinity],
  best: ["best first", (group) => -(group.mean ?? -Infinity)],
  spread: ["most spread first", (group) => -(group.std ?? -1)],
  failed: ["most failures first", (group) => -group.errored],
};

/** How the completions of a group are ordered. @type {Record<string, [string, (rollout: any) => number]>} */
const ORDERS = {
  sampled: ["as sampled", (rollout) => rollout.sample],
  best: ["best first", (rollout) => -(rollout.reward ?? -Infinity)],
  worst: ["worst first", (rollout) => rollout.reward ?? -Infinity],
  longest: ["longest first", (rollout) => -rollout.completion_tokens],
  failed: ["failures first", (rollout) => (rollout.grade.error ? 0 : 1)],
};

const TEACHES = "Its rewards differ, so it says what to prefer";
const TEACHES_NOTHING = "All its rewards are equal, so it teaches nothing. Late in a good run that is mastery";

/** @param {{id: string, step: number, last: number}} props */
export function Groups({ id, step, last }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts/steps/${step}/groups`;
  const groups = useLoad(() => get(path), [path]);
  if (groups.error) return html`<${Problem} error=${groups.error} retry=${groups.again} />`;
  if (!groups.data) return html`<${Busy} what=${`Loading step ${step}`} />`;
  if (!groups.data.data.length) {
    return html`<${Empty} title=${`The rollouts of step ${step} are not kept`}>
      <p>Its numbers are in the metrics; the texts were removed to make room, or never sampled.</p></${Empty}>`;
  }
  return html`<${Step} id=${id} step=${step} last=${last} groups=${groups.data.data} />`;
}

/** @param {{id: string, step: number, last: number, groups: any[]}} props */
function Step({ id, step, last, groups }) {
  const numbered = groups.map((group, number) => ({ ...group, number }));
  const sorted = sortBy(numbered, orderOf(GROUP_ORDERS, "groups"));
  // Read when a key is pressed, not when the page was drawn: keys come faster.
  const opened = () => numbered[Number(query.value.group ?? sorted[0].number)] ?? sorted[0];
  const open = opened();
  const range = rangeOf(groups.flatMap((group) => [group.min, group.max]));
  const move = (/** @type {number} */ by) => {
    const next = sorted[sorted.indexOf(opened()) + by];
    if (next) setQuery({ group: next.number });
  };
  const keys = useKeys([
    { key: "j", title: "Next group", run: () => move(1) },
    { key: "k", title: "Previous group", run: () => move(-1) },
    { key: "]", title: "Next step", run: () => step < last && goToStep(step + 1) },
    { key: "[", title: "Previous step", run: () => step > 1 && goToStep(step - 1) },
    { key: "/", title: "Search", run: () => document.getElementById("rollout-search")?.focus() },
  ]);
  return html`<${Filters} />
    <div class="row"><${Sum} groups=${groups} />
      <span class="row push"><${Menu} label="Groups" name="groups" options=${titles(GROUP_ORDERS)} />${keys}</span></div>
    <div class="step-groups">
      <${GroupList} groups=${sorted} open=${open} range=${range} />
      <${Group} key=${`${step}/${open.number}`} id=${id} step=${step} group=${open} range=${range} />
    </div>`;
}

/** What a step's groups come to. @param {{groups: any[]}} props */
function Sum({ groups }) {
  const [sampled, failed] = ["size", "errored"].map((name) => groups.reduce((sum, group) => sum + group[name], 0));
  const silent = groups.filter((group) => !group.signal).length;
  const signal = silent ? html`<span title=${TEACHES_NOTHING}>${count(silent)} without a signal</span>` : "all with a signal";
  return html`<p class="faint" id="step-sum">${count(groups.length)} groups, ${count(sampled)} rollouts; ${signal}${
    failed ? `; grading failed in ${count(failed)}` : ""}.</p>`;
}

/** @param {{groups: any[], open: any, range: [number, number]}} props */
function GroupList({ groups, open, range }) {
  const list = useRef(/** @type {HTMLOListElement|null} */ (null));
  useEffect(() => {
    list.current?.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
  }, [open.number]);
  return html`<ol class="group-list" ref=${list} aria-label="Groups" tabindex="0">${groups.map((group) => html`
    <li key=${group.number}>
      <a href=${withQuery({ group: group.number })} aria-current=${group === open ? "true" : null} data-group=${group.number}>
        <span class="group-prompt"><${Line} text=${group.prompt ?? group.example} most=${140} /></span>
        <${Dots} rewards=${group.rewards} range=${range} />
        <span class="row group-facts">
          <span>${reward(group.mean)}<span class="faint"> ± ${reward(group.std)}</span></span>
          ${group.signal
            ? html`<${Chip} tone="good" title=${TEACHES}>signal</${Chip}>`
            : html`<${Chip} title=${TEACHES_NOTHING}>no signal</${Chip}>`}
          ${group.errored ? html`<${Chip} tone="bad">${group.errored} failed</${Chip}>` : null}
        </span>
      </a>
    </li>`)}</ol>`;
}

/** @param {{id: string, step: number, group: any, range: [number, number]}} props */
function Group({ id, step, group, range }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts`;
  const wanted = { step, example: group.example, sort: "oldest", limit: MOST_SHOWN };
  const loaded = useLoad(() => get(path, wanted), [path, step, group.number]);
  if (loaded.error) return html`<${Problem} error=${loaded.error} retry=${loaded.again} />`;
  if (!loaded.data) return html`<${Busy} what="Loading completions" />`;
  // A step may have the same prompt twice; each is a group of its own.
  const ids = new Set(group.rollout_ids);
  const own = loaded.data.data.filter((/** @type {any} */ one) => ids.has(one.id));
  const rollouts = sortBy(own, orderOf(ORDERS, "columns"));
  const spread = isNumber(group.min) ? `${reward(group.min)} to ${reward(group.max)}` : "no rewards";
  return html`<section class="stack group" aria-label="Group" id="group">
    <header class="row"><h2>Group ${group.number + 1}</h2>
      <span>${reward(group.mean)}<span class="faint"> ± ${reward(group.std)}, ${spread}</span></span>
      ${Object.entries(group.left_out).map(
        ([reason, number]) => html`<${Chip} tone="warn">${number} left out: ${reasonName(reason)}</${Chip}>`,
      )}
      <a class="push" href=${exampleAddress(id, group.example)}>This prompt at every step</a></header>
    ${rollouts[0] && html`<div class="panel prompt-panel">
      <${Messages} messages=${rollouts[0].prompt} most=${1500} /></div>`}
    <div class="row">
      <h3>${count(rollouts.length)}${rollouts.length < group.size ? ` of ${count(group.size)}` : ""} completions</h3>
      <span class="row push"><${Menu} label="Completions" name="columns" options=${titles(ORDERS)} /><${RenderMenu} /></span>
    </div>
    <${SideBySide} rollouts=${rollouts} job=${id} range=${range} />
  </section>`;
}

/** @param {Record<string, [string, any]>} orders @returns {[string, string][]} */
const titles = (orders) => Object.entries(orders).map(([name, [title]]) => [name, title]);

/** The order that the address names, else the usual. @param {Record<string, [string, any]>} orders @param {string} name */
const orderOf = (orders, name) => (orders[query.value[name]] ?? orders.sampled)[1];

/** @param {any[]} rows @param {(row: any) => number} key */
const sortBy = (rows, key) =>
  [...rows].sort((a, b) => {
    const [one, other] = [key(a), key(b)];
    return one === other ? 0 : one - other; // two infinities have no difference
  });
