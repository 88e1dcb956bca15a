// @ts-check
/** A form that makes something that has little more than a name. */
import { useState } from "preact/hooks";
import { html } from "../core/html.js";

/**
 * @param {{id: string, label: string, button: string, send: (name: string, choice: string) => Promise<any>,
 *   choices?: string[], choiceLabel?: string, type?: string, placeholder?: string}} props
 *   `choices`: one of them goes along, the first unless another is chosen
 */
export function NameForm({ id, label, button, send, choices = [], choiceLabel = "", type = "text", placeholder }) {
  const [name, setName] = useState("");
  const [choice, setChoice] = useState(choices[0] ?? "");
  const [state, setState] = useState(/** @type {{isBusy: boolean, error: any}} */ ({ isBusy: false, error: null }));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setState({ isBusy: true, error: null });
    try {
      await send(name.trim(), choice);
      setName("");
      setState({ isBusy: false, error: null });
    } catch (error) {
      setState({ isBusy: false, error });
    }
  };
  return html`<form class="row" onSubmit=${submit}>
    <label class="picking"><span>${label}</span><input id=${id} type=${type} required maxlength="200" placeholder=${placeholder} value=${name}
      onInput=${(/** @type {any} */ e) => setName(e.currentTarget.value)} /></label>
    ${choices.length > 0 && html`<label class="picking"><span>${choiceLabel}</span>
      <select value=${choice} onChange=${(/** @type {any} */ e) => setChoice(e.currentTarget.value)}>
        ${choices.map((one) => html`<option value=${one} selected=${one === choice}>${one}</option>`)}</select></label>`}
    <button type="submit" disabled=${state.isBusy || !name.trim()}>${button}</button>
    ${state.error && html`<span class="wrong-note" role="alert">${state.error.message}</span>`}
  </form>`;
}
