// @ts-check
/** Choices that lie in the address. The first of a menu is the usual one, which the address leaves out. */
import { html } from "../core/html.js";
import { query, setQuery } from "../core/router.js";

/**
 * @param {{label: any, name: string, options: [string, string][], id?: string, also?: Record<string, any>,
 *   push?: boolean}} props
 *   options: values and titles; `also`: what else of the query changes with it; `push`: so that "back" undoes it
 */
export function Menu({ label, name, options, id, also = {}, push = false }) {
  const usual = options[0][0];
  const choose = (/** @type {any} */ event) => {
    const value = event.currentTarget.value;
    setQuery({ ...also, [name]: value === usual ? null : value }, { push });
  };
  return html`<label class="row menu">${label}
    <select id=${id} value=${query.value[name] ?? usual} onChange=${choose}>
      ${options.map(([value, title]) => html`<option value=${value}>${title}</option>`)}
    </select></label>`;
}

/** Whether a switch of the address is on. @param {string} name */
export const isOn = (name) => query.value[name] === "true";

/** A button that stays pressed. @param {{name: string, title: string}} props */
export const Switch = ({ name, title }) => html`<button type="button" class="small" aria-pressed=${isOn(name)}
  onClick=${() => setQuery({ [name]: isOn(name) ? null : "true" })}>${title}</button>`;
