// @ts-check
/** Chooses a step of a run, by slider, number or arrows. */
import { html } from "../core/html.js";
import { setQuery, withQuery } from "../core/router.js";

/** The step and what belonged to another one. @param {number} step */
const at = (step) => ({ step, group: null, after: null, at: null });

/** To another step. @param {number} step */
export const goToStep = (step) => setQuery(at(step), { push: true });

/** @param {{step: number, last: number}} props */
export function StepPicker({ step, last }) {
  const change = (/** @type {any} */ event) => {
    const wanted = Number(event.currentTarget.value);
    if (Number.isInteger(wanted) && wanted >= 0) goToStep(wanted);
  };
  return html`<div class="row step-picker" role="group" aria-label="Step">
    ${arrow(step > 1, step - 1, "←", "Previous step")}
    <input type="range" min="1" max=${Math.max(1, last)} value=${step} aria-label="Step, by slider" onChange=${change} />
    ${arrow(step < last, step + 1, "→", "Next step")}
    <label class="row menu">Step <input type="number" min="0" max=${last} value=${step} onChange=${change} /></label>
    <span class="faint">of ${last}</span>
    ${step !== last && html`<a href=${withQuery(at(last))}>Newest</a>`}
  </div>`;
}

/** @param {boolean} isThere @param {number} step @param {string} sign @param {string} title */
const arrow = (isThere, step, sign, title) =>
  isThere
    ? html`<a class="button small" href=${withQuery(at(step))} aria-label=${title}>${sign}</a>`
    : html`<button type="button" class="small" disabled aria-label=${title}>${sign}</button>`;
