// @ts-check
/** Which rollouts, in which order: all of it in the address. */
import { html } from "../core/html.js";
import { query, setQuery } from "../core/router.js";
import { Menu } from "./menu.js";
import { reasonName } from "./reward.js";

/** @type {[string, string][]} */
const SORTS = [
  ["", "as sampled"],
  ["newest", "newest first"],
  ["oldest", "oldest first"],
  ["best", "best first"],
  ["worst", "worst first"],
  ["longest", "longest first"],
];

/** @type {[string, string][]} */
const LEFT_OUT = [
  ["", "all"],
  ["none", "no, it trained"],
  ["any", "for any reason"],
  ...["ungraded", "lone", "no_signal", "truncated", "no_choice"].map((one) => /** @type {any} */ ([one, reasonName(one)])),
];

/** @type {[string, string][]} */
const ERRORED = [
  ["", "all"],
  ["true", "failed"],
  ["false", "did not fail"],
];

/** Names of the filters in the address, which are the API's. */
export const FILTERS = ["sort", "min_reward", "max_reward", "left_out", "errored", "search"];

// Another choice is another list: it begins at its first page.
const FROM_THE_TOP = { after: null, at: null };

/** The filters of the address, as the API takes them. */
export const chosenFilters = () =>
  Object.fromEntries(FILTERS.map((name) => [name, query.value[name]]).filter(([, value]) => value));

/** Whether the address has filters or an order. */
export const hasFilters = () => Object.keys(chosenFilters()).length > 0;

/** @param {{hasReasons?: boolean}} props `hasReasons`: whether the reasons for leaving out are a choice here */
export function Filters({ hasReasons = true }) {
  const menu = (/** @type {string} */ label, /** @type {string} */ name, /** @type {[string, string][]} */ options) =>
    html`<${Menu} label=${label} name=${name} options=${options} also=${FROM_THE_TOP} push />`;
  return html`<form class="row filters" role="search" aria-label="Filter rollouts" onSubmit=${stay}>
    ${menu("Order", "sort", SORTS)}
    <label class="row menu">Reward from <${Bound} name="min_reward" /></label>
    <label class="row menu">to <${Bound} name="max_reward" /></label>
    ${hasReasons && menu("Left out", "left_out", LEFT_OUT)}
    ${menu("Grading", "errored", ERRORED)}
    <label class="row menu search">Search
      <input id="rollout-search" type="search" maxlength="500" placeholder="prompt, output, explanation"
        value=${query.value.search ?? ""} onChange=${choose("search")} /></label>
    ${hasFilters() && html`<button type="button" class="small" onClick=${clear}>Clear</button>`}
  </form>`;
}

/** @param {{name: string}} props */
const Bound = ({ name }) =>
  html`<input type="number" step="any" value=${query.value[name] ?? ""} onChange=${choose(name)} />`;

/** @param {string} name */
const choose = (name) => (/** @type {any} */ event) =>
  setQuery({ ...FROM_THE_TOP, [name]: event.currentTarget.value }, { push: true });

const clear = () => {
  const nothing = Object.fromEntries(FILTERS.map((name) => [name, null]));
  setQuery({ ...FROM_THE_TOP, ...nothing }, { push: true });
};

const stay = (/** @type {Event} */ event) => event.preventDefault();
