// @ts-check
/** Two passes over held-out rows, to be compared: which ones is in the address, ?a=…&b=…. */
import { html } from "../core/html.js";
import { setQuery } from "../core/router.js";

const ROWS = /** @type {Record<string, string>} */ ({
  valid: "validation rows",
  validation: "validation rows, for the report",
  test: "test rows, for the report",
});

/** @param {any} one an evaluation as it is listed */
export const passName = (one) =>
  `${one.step === 0 ? "base" : `step ${one.step}`} · ${ROWS[one.dataset] ?? one.dataset} · ${one.mode}`;

/** Whether both are of the same rows, answered the same way. @param {any} one @param {any} other */
const fit = (one, other) => one.mode === other.mode && (one.dataset === "test") === (other.dataset === "test");

/**
 * The two that the address names, or the first and the last that watched the training.
 * @param {any[]} evaluations @param {Record<string, string>} query
 * @returns {[any, any]|null}
 */
export function pickedOf(evaluations, query) {
  const named = (/** @type {string|undefined} */ id) => evaluations.find((one) => one.id === id);
  const watched = evaluations.filter((one) => one.dataset === "valid" && one.mode !== "greedy");
  const first = named(query.a) ?? watched[0] ?? evaluations[0];
  if (!first) return null;
  const others = evaluations.filter((one) => one !== first && fit(one, first));
  const alike = others.filter((one) => one.dataset === first.dataset);
  const second = others.find((one) => one.id === query.b) ?? alike.at(-1) ?? others.at(-1);
  return second ? [first, second] : null;
}

/** @param {{evaluations: any[], picked: [any, any]|null}} props */
export function PassPicker({ evaluations, picked }) {
  const [a, b] = picked ?? [];
  const seconds = a ? evaluations.filter((one) => one !== a && fit(one, a)) : evaluations;
  const pick = (/** @type {string} */ name, /** @type {any} */ event) =>
    setQuery({ a: a?.id, b: b?.id, [name]: event.currentTarget.value, row: null });
  return html`<div class="row pass-picker" role="group" aria-label="Compare two evaluations">
    <label for="pass-a">Compare</label><select id="pass-a" value=${a?.id ?? ""}
      onChange=${(/** @type {any} */ event) => pick("a", event)}>
      ${!a && html`<option value="">choose …</option>`}
      ${evaluations.map((one) => html`<option key=${one.id} value=${one.id}>${passName(one)}</option>`)}</select>
    <label for="pass-b">with</label><select id="pass-b" value=${b?.id ?? ""}
      onChange=${(/** @type {any} */ event) => pick("b", event)}>
      ${!b && html`<option value="">choose …</option>`}
      ${seconds.map((one) => html`<option key=${one.id} value=${one.id}>${passName(one)}</option>`)}</select>
  </div>`;
}
