// @ts-check
/** One rollout: everything that is known of it. */
import { get, queryOf } from "../core/api.js";
import { count, number } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { navigate, route } from "../core/router.js";
import { addressOf, Answer, exampleAddress, Marks } from "../parts/completion.js";
import { Busy, Copy, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { Grade } from "../parts/grade.js";
import { JobHead } from "../parts/job_head.js";
import { useKeys } from "../parts/keys.js";
import { Output, RenderMenu } from "../parts/output.js";
import { Advantage, reasonName, Reward, whyLeftOut } from "../parts/reward.js";
import { Line, Messages } from "../parts/text.js";
import { Tokens } from "../parts/tokens.js";

/** @param {{id: string, rollout: string}} props */
export default function RolloutPage({ id, rollout }) {
  useTitle(`Rollout ${rollout}`);
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts`;
  const loaded = useLoad(() => get(`${path}/${encodeURIComponent(rollout)}`), [path, rollout]);
  return html`<${JobHead} id=${id} tab="rollouts" />
    ${loaded.error
      ? html`<${Problem} error=${loaded.error} retry=${loaded.again} />`
      : loaded.data
        ? html`<${Whole} id=${id} rollout=${loaded.data} path=${path} />`
        : html`<${Busy} what="Loading the rollout" />`}`;
}

/** @param {{id: string, rollout: any, path: string}} props */
function Whole({ id, rollout, path }) {
  const groups = useLoad(() => get(`${path}/steps/${rollout.step}/groups`), [path, rollout.step]);
  const found = groups.data?.data ?? [];
  const place = found.findIndex((/** @type {any} */ group) => group.rollout_ids.includes(rollout.id));
  const ids = found[place]?.rollout_ids ?? [];
  const at = ids.indexOf(rollout.id);
  const step = `/finetune/${encodeURIComponent(id)}/rollouts?step=${rollout.step}`;
  return html`<div class="row rollout-head">
      <h2>Step ${rollout.step}, sample ${rollout.sample + 1}</h2>
      <${Reward} reward=${rollout.reward} isLeftOut=${rollout.left_out !== null} />
      <${Advantage} advantage=${rollout.advantage} />
      <${Marks} rollout=${rollout} />
      <span class="row push"><${Neighbours} id=${id} ids=${ids} at=${at} /></span></div>
    <div class="row"><a href=${place < 0 ? step : `${step}&group=${place}`}>Its group</a>
      <a href=${exampleAddress(id, rollout.example)}>This prompt at every step</a>
      <a href=${`/playground?job=${encodeURIComponent(id)}&rollout=${encodeURIComponent(rollout.id)}`}>Try in the playground</a>
      <span class="row push"><${Copy} text=${location.origin + addressOf(id, rollout.id)} label="Copy link" />
        <${Copy} text=${JSON.stringify(rollout, null, 2)} label="Copy JSON" /></span></div>
    ${rollout.left_out && html`<p class="notice">It did not train. ${whyLeftOut(rollout.left_out)}</p>`}
    <div class="rollout-parts">
      <div class="stack">
        <${Section} title="Prompt">
          <div class="panel"><${Messages} messages=${rollout.prompt} most=${4000} /></div></${Section}>
        <${Section} title="Output" actions=${html`<${RenderMenu} />`}>
          <div class="panel"><${Output} output=${rollout.output} most=${8000} /><${Answer} rollout=${rollout} /></div></${Section}>
        <${Section} title="Tokens" id="tokens">
          <div class="panel"><${Tokens} key=${rollout.id} rollout=${rollout} /></div></${Section}>
      </div>
      <div class="stack">
        <${Section} title="Grade"><div class="panel"><${Grade} grade=${rollout.grade} isOpen /></div></${Section}>
        <${Section} title="Facts"><div class="panel"><${Facts} rollout=${rollout} /></div></${Section}>
      </div>
    </div>`;
}

/** The others of its group, by link and by key. @param {{id: string, ids: string[], at: number}} props */
function Neighbours({ id, ids, at }) {
  const address = (/** @type {string} */ one) => addressOf(id, one) + queryOf(route.value.query);
  const go = (/** @type {number} */ by) => ids[at + by] && navigate(address(ids[at + by]));
  const keys = useKeys([
    { key: "j", title: "Next of its group", run: () => go(1) },
    { key: "k", title: "Previous of its group", run: () => go(-1) },
  ]);
  const link = (/** @type {number} */ by, /** @type {string} */ title) =>
    ids[at + by]
      ? html`<a class="button small" href=${address(ids[at + by])}>${title}</a>`
      : html`<button type="button" class="small" disabled>${title}</button>`;
  const place = at < 0 ? "" : `${at + 1} of ${count(ids.length)}`;
  return html`${link(-1, "← Previous")}<span class="faint">${place}</span>${link(1, "Next →")}${keys}`;
}

/** @param {any} rollout */
const tokensOf = ({ prompt_tokens: prompt, completion_tokens: answer, reasoning_tokens: thoughts }) =>
  `${count(prompt)} of the prompt, ${count(answer)} of the answer${thoughts ? `, ${count(thoughts)} of them thoughts` : ""}`;

/** @param {{rollout: any}} props */
const Facts = ({ rollout }) => html`<dl class="facts">
  <dt>Id</dt><dd><code>${rollout.id}</code></dd>
  <dt>Example</dt><dd><code><${Line} text=${rollout.example} /></code></dd>
  <dt>Line of the training file</dt><dd>${count(rollout.line)}</dd>
  <dt>Reward</dt><dd>${number(rollout.reward)}</dd>
  <dt>Advantage</dt><dd>${number(rollout.advantage)}</dd>
  <dt>Trained</dt><dd>${rollout.left_out ? `no: ${reasonName(rollout.left_out)}` : "yes"}</dd>
  <dt>Sampled by</dt>
  <dd>${rollout.policy_version ? `the weights after step ${rollout.policy_version}` : "the base model's weights"}</dd>
  <dt>Ended by</dt><dd>${rollout.finish_reason === "length" ? "the limit of tokens" : "the model"}</dd>
  <dt>Tokens</dt><dd>${tokensOf(rollout)}</dd>
</dl>`;
