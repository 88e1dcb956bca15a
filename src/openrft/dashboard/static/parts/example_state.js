// @ts-check
/** How a row of the training file did over a run, as a word. */
import { reward } from "../core/format.js";
import { html } from "../core/html.js";
import { Chip } from "./elements.js";

/** Its name at the API, its tone, and what it says. @type {[string, string, string][]} */
export const STATES = [
  ["never solved", "bad", "no rollout of it passed"],
  ["always solved", "good", "every rollout of it passed"],
  ["learned", "good", "fewer than half passed in the first half of its visits, half or more in the last"],
  ["forgotten", "bad", "half or more passed in the first half of its visits, fewer in the last"],
  ["unstable", "warn", "some passed, without a turn to the better or worse"],
  ["ungraded", "warn", "none of its rollouts has a reward"],
];

/** @param {{state: string, threshold: number}} props */
export function StateChip({ state, threshold }) {
  const [, tone, meaning] = STATES.find(([name]) => name === state) ?? [state, "quiet", ""];
  const title = `${meaning}; a rollout passes from a reward of ${reward(threshold)} on`;
  return html`<${Chip} tone=${tone} title=${title}>${state}</${Chip}>`;
}
