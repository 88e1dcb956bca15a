// @ts-check
/** The tokens of a completion, coloured by how likely they were or how much they were pushed; numbers for each. */
import { useState } from "preact/hooks";
import { change, count, isNumber, number, percent } from "../core/format.js";
import { html } from "../core/html.js";
import { query } from "../core/router.js";
import { visible } from "../core/visible.js";
import { isOn, Menu, Switch } from "./menu.js";
import { Table } from "./table.js";

const MOST_AT_FIRST = 2000;
const MOST_MORE = 10_000;

/** Levels of probability, each from this one on. A thicker line under a token says the same as its colour. */
const LIKELY = /** @type {[number, string][]} */ ([
  [0.9, "90 % or more"],
  [0.5, "50–90 %"],
  [0.1, "10–50 %"],
  [0.01, "1–10 %"],
  [0, "under 1 %"],
]);

/** Levels of advantage, likewise. */
const PUSHED = /** @type {[number, string][]} */ ([
  [1, "1 or more"],
  [0.25, "0.25 to 1"],
  [1e-9, "up to 0.25"],
  [-1e-9, "none"],
  [-0.25, "down to −0.25"],
  [-1, "−0.25 to −1"],
  [-Infinity, "under −1"],
]);

/** @type {[string, string][]} */
const COLOURS = [
  ["logprob", "log-probability"],
  ["advantage", "advantage"],
];

/**
 * @typedef {Object} Token
 * @property {number} place
 * @property {number} id
 * @property {string} text
 * @property {number|null} logprob
 * @property {number|null} advantage
 * @property {boolean|null} trained null where it is not recorded
 */

/** The tokens of a rollout as the API gives it. @param {any} rollout @returns {Token[]} */
export const tokensOf = (rollout) =>
  (rollout.token_ids ?? []).map((/** @type {number} */ id, /** @type {number} */ place) => ({
    place,
    id,
    text: rollout.token_texts?.[place] ?? "",
    logprob: rollout.sampling_logprobs?.[place] ?? null,
    advantage: rollout.token_advantages?.[place] ?? rollout.advantage ?? null,
    trained: rollout.loss_mask ? Boolean(rollout.loss_mask[place]) : null,
  }));

/** @param {{rollout: any}} props */
export function Tokens({ rollout }) {
  const [most, setMost] = useState(MOST_AT_FIRST);
  const tokens = tokensOf(rollout);
  const way = query.value.colour === "advantage" ? "advantage" : "logprob";
  const level = way === "advantage" ? pushedLevel : likelyLevel;
  const rest = tokens.length - most;
  return html`<div class="stack tokens-part">
    <div class="row"><${Menu} label="Colour by" name="colour" options=${COLOURS} /><${Switch} name="table" title="As table" />
      ${!rollout.token_texts && html`<span class="faint">Tokens are shown by their ids: this machine has no tokenizer of the
        model, or it spells something else than the output.</span>`}</div>
    <${Legend} tokens=${tokens} way=${way} level=${level} />
    ${isOn("table")
      ? html`<${TokenTable} tokens=${tokens} />`
      : html`<${TokenText} tokens=${tokens.slice(0, most)} way=${way} level=${level} />
          ${rest > 0 && html`<button type="button" class="small" onClick=${() => setMost(most + MOST_MORE)}>
            Show ${rest > MOST_MORE ? `${count(MOST_MORE)} more` : "the rest"} (${count(rest)} tokens are not shown)</button>`}`}
  </div>`;
}

/** @param {Token} token */
const likelyLevel = ({ logprob }) => (isNumber(logprob) ? levelIn(LIKELY, Math.exp(logprob)) : -1);

/** @param {Token} token */
const pushedLevel = ({ advantage, trained }) =>
  trained === false ? levelIn(PUSHED, 0) : isNumber(advantage) ? levelIn(PUSHED, advantage) : -1;

/** @param {[number, string][]} levels @param {number} value */
const levelIn = (levels, value) => levels.findIndex(([least]) => value >= least);

/** @param {{tokens: Token[], way: string, level: (token: Token) => number}} props */
function Legend({ tokens, way, level }) {
  const levels = way === "advantage" ? PUSHED : LIKELY;
  const numbers = levels.map(() => 0);
  for (const token of tokens) if (level(token) >= 0) numbers[level(token)] += 1;
  const masked = tokens.filter((token) => token.trained === false).length;
  const mark = (/** @type {string} */ kind, /** @type {string} */ title, /** @type {number} */ number) =>
    html`<span><span class=${`token ${kind}`} aria-hidden="true">abc</span> ${title} <span class="faint">(${count(number)})</span></span>`;
  return html`<div class="row token-legend" role="group" aria-label="Legend">
    <span class="faint">${way === "advantage" ? "Advantage" : "Probability when it was sampled"}:</span>
    ${levels.map(([, title], place) => mark(`${way}-${place}`, title, numbers[place]))}
    ${masked > 0 && mark("masked", "did not train", masked)}
    ${tokens.some((token) => token.trained === null) && html`<span class="faint">Which tokens the response format forced, so
      that they did not train, is not recorded.</span>`}
  </div>`;
}

/** @param {{tokens: Token[], way: string, level: (token: Token) => number}} props */
function TokenText({ tokens, way, level }) {
  const [at, setAt] = useState(0);
  const here = tokens[Math.min(at, tokens.length - 1)];
  const point = (/** @type {any} */ event) => {
    const place = event.target.closest?.("[data-place]")?.dataset.place;
    if (place !== undefined) setAt(Number(place));
  };
  const press = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    setAt((old) => Math.min(tokens.length - 1, Math.max(0, old + by)));
  };
  if (!tokens.length) return html`<p class="faint">No tokens.</p>`;
  return html`<p class="token-facts" id="token-facts" aria-live="polite"><${Facts} token=${here} /></p>
    <div class="tokens" role="application" tabindex="0" aria-label="Tokens: arrow keys go from one to the next"
      aria-describedby="token-facts" onMouseOver=${point} onClick=${point} onKeyDown=${press}>${tokens.map(
        (token) => html`<span key=${token.place} class=${kindOf(token, way, level(token), token === here)}
          data-place=${token.place}>${shownText(token)}</span>${token.text.includes("\n") ? html`<br />` : null}`,
      )}</div>`;
}

/** @param {Token} token @param {string} way @param {number} level @param {boolean} isHere */
const kindOf = (token, way, level, isHere) =>
  ["token", level < 0 ? "" : `${way}-${level}`, token.trained === false ? "masked" : "", isHere ? "here" : ""].join(" ");

/** A token's letters, spaces seen; the id where it has none. @param {Token} token */
const shownText = ({ text, id }) =>
  text === "" ? `⟨${id}⟩` : visible(text).replaceAll(" ", "·").replaceAll("\n", "⏎").replaceAll("\t", "⇥");

/** @param {{token: Token}} props */
const Facts = ({ token }) => html`<span>Token <b>${token.place + 1}</b></span>
  <code><bdi>${shownText(token)}</bdi></code>
  <span>id <b>${token.id}</b></span>
  <span>log-probability <b>${number(token.logprob)}</b></span>
  <span>probability <b>${probability(token)}</b></span>
  <span>advantage <b>${pushed(token)}</b></span>`;

/** @param {Token} token */
const probability = ({ logprob }) => percent(isNumber(logprob) ? Math.exp(logprob) : null);

/** @param {Token} token */
const pushed = ({ advantage, trained }) => (trained === false ? "did not train" : change(advantage));

/** @type {import("./table.js").Column[]} */
const COLUMNS = [
  { title: "#", cell: (one) => one.place + 1, isNumber: true },
  { title: "Token", cell: (one) => html`<code><bdi>${shownText(one)}</bdi></code>`, isHead: true },
  { title: "Id", cell: (one) => one.id, isNumber: true },
  { title: "Log-probability", cell: (one) => number(one.logprob), isNumber: true },
  { title: "Probability", cell: probability, isNumber: true },
  { title: "Advantage", cell: pushed, isNumber: true },
  { title: "Trained", cell: (one) => (one.trained === null ? "not recorded" : one.trained ? "yes" : "no") },
];

/** @param {{tokens: Token[]}} props */
const TokenTable = ({ tokens }) => html`<${Table} label="Tokens" rows=${tokens} columns=${COLUMNS} rowHeight=${37} height=${480}
  rowKey=${(/** @type {Token} */ one) => one.place} />`;
