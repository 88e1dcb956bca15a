// @ts-check
/** One prompt over the run: its reward at each visit, and what the model answered then. */
import { get } from "../core/api.js";
import { count, isNumber, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery, withQuery } from "../core/router.js";
import { Chart } from "./chart.js";
import { SideBySide } from "./completion.js";
import { Busy, Empty, Problem } from "./elements.js";
import { StateChip } from "./example_state.js";
import { useKeys } from "./keys.js";
import { RenderMenu } from "./output.js";
import { Dots, rangeOf } from "./reward.js";
import { Messages } from "./text.js";

/** @param {{id: string, example: string}} props */
export function RolloutsOfExample({ id, example }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
  const found = useLoad(() => get(`${path}/examples`, { example, limit: 1 }), [path, example]);
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return html`<${Busy} what="Loading the prompt" />`;
  const one = found.data.data[0];
  if (!one) {
    return html`<${Empty} title="Training has not sampled this row">
      <p><a href=${`/finetune/${encodeURIComponent(id)}/dataset`}>All rows of the data</a></p></${Empty}>`;
  }
  return html`<${Timeline} key=${example} id=${id} one=${one} threshold=${found.data.pass_threshold} />`;
}

/** @param {{id: string, one: any, threshold: number}} props */
function Timeline({ id, one, threshold }) {
  const steps = one.visits;
  const at = placeOf(steps);
  const go = (/** @type {number} */ by) => {
    const to = steps[placeOf(steps) + by];
    if (to !== undefined) setQuery({ step: to, sample: null });
  };
  const keys = useKeys([
    { key: "j", title: "Next visit", run: () => go(1) },
    { key: "k", title: "Previous visit", run: () => go(-1) },
  ]);
  return html`<section class="stack" aria-label="One prompt over the run">
    <div class="row"><h2>One prompt over the run</h2><${StateChip} state=${one.state} threshold=${threshold} />
      <span class="faint" id="example-sum">${sentence(one)}</span>
      <span class="row push"><${RenderMenu} />${keys}</span></div>
    <${Chart} id="example-reward" title="Mean reward of each visit" unit="reward" height=${180}
      series=${[{ name: "mean", label: "mean reward", steps, values: one.means, kind: "dots" }]}
      note=${`${steps.length < one.num_visits ? `The newest ${count(steps.length)} visits. ` : ""}Choose one to read it.`}
      onPick=${(/** @type {number} */ picked) => setQuery({ step: picked, sample: null })} />
    <nav class="row visits" aria-label="Visits">
      ${link(steps[at - 1], "← Earlier")}<b>Step ${steps[at]}</b>${link(steps[at + 1], "Later →")}</nav>
    <${Visit} key=${steps[at]} id=${id} example=${one.example} step=${steps[at]} />
  </section>`;
}

/** The place of the visit that the address names, else of the newest. @param {number[]} steps */
const placeOf = (steps) => {
  const place = query.value.step ? steps.indexOf(Number(query.value.step)) : -1;
  return place < 0 ? steps.length - 1 : place;
};

/** What its visits come to. @param {any} one */
const sentence = (one) =>
  [
    one.num_visits === 1 ? "1 visit" : `${count(one.num_visits)} visits`,
    `${count(one.rollouts)} rollouts`,
    `mean reward ${reward(one.mean)}`,
    ...(one.ungraded ? [`${count(one.ungraded)} without a reward`] : []),
  ].join(", ");

/** To another visit, if there is one. @param {number|undefined} to its step @param {string} title */
const link = (to, title) =>
  to === undefined
    ? html`<button type="button" class="small" disabled>${title}</button>`
    : html`<a class="button small" href=${withQuery({ step: to, sample: null })}>${title}</a>`;

/** @param {{id: string, example: string, step: number}} props */
function Visit({ id, example, step }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts`;
  const wanted = { step, example, sort: "oldest", limit: 200 };
  const loaded = useLoad(() => get(path, wanted), [path, step, example]);
  if (loaded.error) return html`<${Problem} error=${loaded.error} retry=${loaded.again} />`;
  if (!loaded.data) return html`<${Busy} what=${`Loading step ${step}`} />`;
  const rollouts = loaded.data.data;
  if (!rollouts.length) return html`<${Empty} title="The rollouts of this visit are not kept" />`;
  const rewards = rollouts.map((/** @type {any} */ one) => one.reward);
  const known = rewards.filter(isNumber);
  const spread = known.length ? `${reward(Math.min(...known))} to ${reward(Math.max(...known))}` : "no rewards";
  return html`<div class="row"><${Dots} rewards=${rewards} range=${rangeOf(rewards)} /><span class="faint">${spread}</span></div>
    <div class="panel prompt-panel"><${Messages} messages=${rollouts[0].prompt} most=${1500} /></div>
    <${SideBySide} rollouts=${rollouts} job=${id} range=${rangeOf(rewards)} />`;
}
