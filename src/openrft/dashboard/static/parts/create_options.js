// @ts-check
/** A job's hyperparameters: few in sight, the rest folded; what each means is what the server's schema says. */
import { html } from "../core/html.js";
import { Field } from "./elements.js";
import { plain } from "./grader_form.js";

/** @type {Record<string, string[]>} */
const FIRST = {
  reinforcement: ["n_epochs", "batch_size", "group_size", "learning_rate_multiplier", "max_completion_tokens", "eval_interval"],
  supervised: ["n_epochs", "batch_size", "learning_rate_multiplier", "eval_interval"],
};
const BUDGETS = ["budget_minutes", "budget_tokens", "budget_grader_cost"];

/**
 * @param {{method: string, schema: any, values: Record<string, string>, onChange: (values: Record<string, string>) => void,
 *   wrong: Record<string, string>}} props
 */
export function Hyperparameters({ method, schema, values, onChange, wrong }) {
  const names = Object.keys(schema.properties);
  const rest = names.filter((name) => !FIRST[method].includes(name) && !BUDGETS.includes(name));
  const path = `method.${method}.hyperparameters`;
  const field = (/** @type {string} */ name) => html`<${Option} key=${name} name=${name}
    schema=${schema.properties[name]} value=${values[name] ?? ""}
    error=${wrong[`${path}.${name}`]} set=${(/** @type {string} */ text) => onChange({ ...values, [name]: text })} />`;
  const isTouched = (/** @type {string[]} */ some) => some.some((name) => (values[name] ?? "") !== "" || wrong[`${path}.${name}`]);
  return html`<p class="hint">Leave a field empty for what it stands in grey. Every "auto" becomes a number, with its reason, once the job begins.</p>
    <div class="fields">${FIRST[method].filter((name) => names.includes(name)).map(field)}</div>
    <details open=${isTouched(BUDGETS)}><summary>Budgets: pause before it costs more than this</summary>
      <div class="fields">${BUDGETS.map(field)}</div></details>
    <details open=${isTouched(rest)}><summary>All other hyperparameters (${rest.length})</summary>
      <div class="fields">${rest.map(field)}</div></details>
    ${wrong[path] && html`<p class="wrong-note" role="alert">${wrong[path]}</p>`}`;
}

/** @param {{name: string, schema: any, value: string, error?: string, set: (text: string) => void}} props */
function Option({ name, schema, value, error, set }) {
  const kinds = schema.anyOf ?? [schema];
  const choices = kinds.flatMap((/** @type {any} */ one) => one.enum ?? (one.type === "boolean" ? ["true", "false"] : []));
  const isNumber = kinds.some((/** @type {any} */ one) => one.type === "number" || one.type === "integer");
  const unsaid = schema.default === null ? "none" : Array.isArray(schema.default) ? "none" : String(schema.default);
  const read = (/** @type {any} */ e) => set(e.currentTarget.value);
  const id = `option-${name}`;
  return html`<${Field} label=${name} for=${id} hint=${plain(schema.description ?? "")} error=${error}>
    ${choices.length
      ? html`<select id=${id} value=${value} onChange=${read} aria-describedby=${`${id}-hint`}>
        <option value="">${unsaid}</option>
          ${choices.filter((/** @type {string} */ one) => one !== unsaid).map((/** @type {string} */ one) => html`<option value=${one}>${one}</option>`)}</select>`
      : html`<input id=${id} value=${value} onInput=${read} placeholder=${unsaid}
        inputmode=${isNumber ? "decimal" : null} aria-describedby=${`${id}-hint`} />`}
  </${Field}>`;
}

/** Pairs of texts: key and value. @param {{pairs: [string, string][], onChange: (pairs: [string, string][]) => void}} props */
export const Pairs = ({ pairs, onChange }) => html`<div class="stack">
  ${pairs.map(([key, value], at) => html`<div class="row" key=${at}>
    <input aria-label=${`Key ${at + 1}`} value=${key} placeholder="key"
      onInput=${(/** @type {any} */ e) => onChange(pairs.map((pair, one) => (one === at ? [e.currentTarget.value, pair[1]] : pair)))} />
    <input aria-label=${`Value ${at + 1}`} value=${value} placeholder="value"
      onInput=${(/** @type {any} */ e) => onChange(pairs.map((pair, one) => (one === at ? [pair[0], e.currentTarget.value] : pair)))} />
    <button type="button" class="small" aria-label=${`Remove pair ${at + 1}`}
      onClick=${() => onChange(pairs.filter((_, one) => one !== at))}>✕</button></div>`)}
  <div><button type="button" class="small"
    onClick=${() => onChange([...pairs, ["", ""]])}>Add a pair</button></div></div>`;
