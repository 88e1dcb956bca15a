// @ts-check
/** Rewards and advantages as marks: the number says it, form and colour help to find it. */
import { change, isNumber, reward as written } from "../core/format.js";
import { html } from "../core/html.js";

/** Where a reward lies in a range, from 0 to 1. @param {number} reward @param {[number, number]} range */
export const shareOf = (reward, range) => Math.min(1, Math.max(0, (reward - range[0]) / (range[1] - range[0] || 1)));

/** Thirds of the range, each with its colour. @param {number} share */
export const toneOf = (share) => (share < 1 / 3 ? "low" : share < 2 / 3 ? "middle" : "high");

/**
 * A circle that is filled by the reward's share of the range, like a clock; a cross where there is no reward.
 * @param {{reward: number|null|undefined, range?: [number, number], isLeftOut?: boolean}} props
 */
export function Dot({ reward, range = [0, 1], isLeftOut = false }) {
  const way = isLeftOut ? " left-out" : "";
  if (!isNumber(reward)) return html`<span class=${`dot none${way}`} aria-hidden="true">×</span>`;
  const share = shareOf(reward, range);
  const style = { "--share": `${(100 * share).toFixed(0)}%` };
  return html`<span class=${`dot ${toneOf(share)}${way}`} style=${style} aria-hidden="true"></span>`;
}

/**
 * The dots of a group, the highest first; of a large one the first 64.
 * @param {{rewards: (number|null)[], range?: [number, number]}} props
 */
export function Dots({ rewards, range }) {
  const sorted = [...rewards].sort((a, b) => (b ?? -Infinity) - (a ?? -Infinity));
  return html`<span class="reward-dots">${sorted.slice(0, 64).map((one) => html`<${Dot} reward=${one} range=${range} />`)}
    ${sorted.length > 64 ? html`<span class="faint">+${sorted.length - 64}</span>` : null}</span>`;
}

/**
 * The range that dots are drawn in: 0 to 1, or wider where rewards are.
 * @param {(number|null|undefined)[]} rewards
 * @returns {[number, number]}
 */
export function rangeOf(rewards) {
  const known = rewards.filter(isNumber);
  return [known.reduce((a, b) => Math.min(a, b), 0), known.reduce((a, b) => Math.max(a, b), 1)];
}

/** @param {{reward: number|null|undefined, range?: [number, number], isLeftOut?: boolean}} props */
export const Reward = ({ reward, range, isLeftOut = false }) => html`<span class="figure" data-reward=${reward ?? "none"}
  title=${isNumber(reward) ? `Reward ${reward}` : "No reward: grading failed"}>
  <${Dot} reward=${reward} range=${range} isLeftOut=${isLeftOut} /><b>${isNumber(reward) ? written(reward) : "no reward"}</b></span>`;

/** How much better than the others of its group. @param {{advantage: number|null|undefined}} props */
export function Advantage({ advantage }) {
  if (!isNumber(advantage)) return null;
  const [tone, sign] = advantage > 0 ? ["up", "▲"] : advantage < 0 ? ["down", "▼"] : ["faint", "■"];
  return html`<span class="figure" data-advantage=${advantage}
    title="Advantage: how far its reward is above the others of its group; what it trains by">
    <span class=${tone} aria-hidden="true">${sign}</span><span class="unseen">advantage </span>${change(advantage)}</span>`;
}

const WHY = /** @type {Record<string, string>} */ ({
  ungraded: "Grading failed, so there is no reward to learn from.",
  lone: "The only one of its group with a reward: there is nothing to compare it with.",
  no_signal: "All of its group got the same reward: there is nothing to prefer.",
  truncated: "It was cut at the limit of tokens, and this job does not train on such ones.",
  no_choice: "The method picked others of its group to train on.",
});

/** Why rollouts of this reason did not train, as a sentence. @param {string} reason */
export const whyLeftOut = (reason) => WHY[reason] ?? "The method left it out.";

/** A reason in words. @param {string} reason */
export const reasonName = (reason) => reason.replaceAll("_", " ");
