// @ts-check
/** Before a job is created: can it learn (a rehearsal), and what will it take (a plan)? */
import { useEffect, useRef, useState } from "preact/hooks";
import { post } from "../core/api.js";
import { bytes, count, duration, interval, number, percent } from "../core/format.js";
import { html } from "../core/html.js";
import { Chip, Problem } from "./elements.js";
import { Rehearsal } from "./rehearsal.js";

/**
 * A check that the server makes while one waits, with a way to break it off.
 * @param {string} path
 * @param {any} body
 */
function useCheck(path, body) {
  const [state, setState] = useState({ found: /** @type {any} */ (null), of: "", error: /** @type {any} */ (null), since: 0, seconds: 0 });
  const abort = useRef(/** @type {AbortController|null} */ (null));
  useEffect(() => {
    if (!state.since) return undefined;
    const timer = setInterval(() => setState((old) => ({ ...old, seconds: Math.round((Date.now() - old.since) / 1000) })), 1000);
    return () => clearInterval(timer);
  }, [state.since]);
  useEffect(() => () => abort.current?.abort(), []);
  const run = async () => {
    abort.current = new AbortController();
    const { signal } = abort.current;
    setState({ found: null, of: "", error: null, since: Date.now(), seconds: 0 });
    try {
      const found = await post(path, body, { signal });
      setState({ found, of: JSON.stringify(body), error: null, since: 0, seconds: 0 });
    } catch (error) {
      setState({ found: null, of: "", error: signal.aborted ? null : error, since: 0, seconds: 0 });
    }
  };
  return { ...state, run, stop: () => abort.current?.abort(), isOld: state.found !== null && state.of !== JSON.stringify(body) };
}

/** @param {{body: any, isReady: boolean}} props `isReady`: the job can be sent */
export function Checks({ body, isReady }) {
  const rehearsal = useCheck("/v1/fine_tuning/rehearsals", body);
  const plan = useCheck("/v1/fine_tuning/plans?seconds=10", body);
  const isReinforcement = body.method.type === "reinforcement";
  return html`<div class="stack">
    <div class="row">
      ${isReinforcement && html`<${Run} check=${rehearsal} isReady=${isReady && !plan.since}
        title="Rehearse: can it learn?" />`}
      <${Run} check=${plan} isReady=${isReady && !rehearsal.since} title="Plan: what will it take?" />
    </div>
    ${!isReady && html`<p class="hint">Both need a job that could be created; what is missing stands beside.</p>`}
    <${Problem} error=${rehearsal.error} />
    ${rehearsal.found && isReinforcement && html`<${Rehearsal} found=${rehearsal.found} isOld=${rehearsal.isOld} />`}
    <${Problem} error=${plan.error} />
    ${plan.found && html`<${Plan} found=${plan.found} isOld=${plan.isOld} />`}
  </div>`;
}

/** @param {{check: any, isReady: boolean, title: string}} props */
const Run = ({ check, isReady, title }) => check.since
  ? html`<span class="row"><span role="status">${title.split(":")[0]}: at work for ${check.seconds} s</span>
    <button type="button" class="small" onClick=${check.stop}>Stop waiting</button></span>`
  : html`<button type="button" disabled=${!isReady} onClick=${check.run}>${title}</button>`;

/** A plan, as `openrft plan` says it. @param {{found: any, isOld: boolean}} props */
function Plan({ found, isOld }) {
  const { seconds, phases, graders } = found;
  const whole = Math.max(...Object.values(phases).map((/** @type {any} */ one) => one.expected), 1e-9);
  return html`<section class="panel stack" aria-label="Plan" id="plan" data-steps=${found.num_steps}>
    <header class="section-head"><h3>About ${duration(seconds.expected)}</h3>
      <span class="faint">${duration(seconds.low)} to ${duration(seconds.high)}, on this machine as busy as it is now</span>
      ${isOld && html`<${Chip} tone="warn">of an earlier version of this form</${Chip}>`}</header>
    ${found.warnings.map((/** @type {string} */ one) => html`<p class="wrong-note">${one}</p>`)}
    <dl class="facts">
      <dt>Steps</dt><dd>${count(found.num_steps)}${found.rollouts ? `, with ${count(found.rollouts)} answers in training and ${count(found.evaluation_answers)} in evaluations` : ""}</dd>
      <dt>Memory</dt><dd>${bytes(found.peak_bytes)} of ${bytes(found.machine_bytes)} (${found.device})</dd>
      <dt>Disk</dt><dd>${range(found.disk_bytes, bytes)}; ${bytes(found.disk_free_bytes)} are free</dd>
      ${found.tokens_sampled && html`<dt>Tokens sampled</dt><dd>${range(found.tokens_sampled, count)}</dd>`}
      ${found.tokens_trained && html`<dt>Tokens trained on</dt><dd>${range(found.tokens_trained, count)}</dd>`}
      ${found.signal && html`<dt>Groups with a signal</dt><dd>${percent(found.signal.value)}, ${percent(found.signal.low)} to ${percent(found.signal.high)}</dd>`}
      ${found.mean_score && html`<dt>Reward of the base</dt><dd>${interval(found.mean_score.value, found.mean_score.low, found.mean_score.high)}</dd>`}
      ${graders?.map((/** @type {any} */ one) => html`<dt>Grader ${one.model}</dt>
        <dd>${count(one.tokens)} tokens, ${one.cost === null ? "without a price in openrft.toml" : `cost ${number(one.cost)}`}</dd>`)}
    </dl>
    <table class="bars"><caption class="unseen">Time by phase</caption>
      <tbody>${Object.entries(phases).map(([name, one]) => html`<tr><th scope="row">${name}</th>
      <td class="number">${duration(one.expected)}</td><td class="bar-cell" aria-hidden="true">
        <span style=${{ width: `${(100 * one.expected) / whole}%` }}></span></td></tr>`)}</tbody></table>
    <details><summary>What "auto" becomes, and why</summary><dl
      class="facts">${Object.entries(found.reasons ?? {}).map(([name, why]) => html`<dt><code>${name}</code></dt>
      <dd>${String(found.hyperparameters[name])}: ${why}</dd>`)}</dl></details>
    <p class="hint">Nothing was trained and nothing is kept.</p>
  </section>`;
}

/** @param {{expected: number, low: number, high: number}} one @param {(value: number) => string} write */
const range = (one, write) => `${write(one.expected)} (${write(one.low)} to ${write(one.high)})`;
