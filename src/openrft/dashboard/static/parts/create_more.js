// @ts-check
/** Of a new job what is seldom needed: its names, the form of its answers, a second opinion, and who is told. */
import { useState } from "preact/hooks";
import { html } from "../core/html.js";
import { Pairs } from "./create_options.js";
import { Field, Section } from "./elements.js";
import { GraderEditor } from "./grader_editor.js";

/** @param {any} props */
export function More({ draft, set, told, missing, editor, monitor, where, isReinforcement }) {
  const [hasSecond, setSecond] = useState(draft.monitor_grader !== "");
  const text = (/** @type {string} */ name) => (/** @type {any} */ e) => set({ [name]: e.currentTarget.value });
  const isOpen = ["suffix", "response_format", "monitor_grader", "integrations"].some((name) => draft[name]) || draft.metadata.length > 0;
  const wrongOf = (/** @type {string} */ path) => told[path] ?? (path in missing && !/grader$/.test(path) ? missing[path] : null);
  return html`<${Section} title="Names, form, trackers"><details open=${isOpen}>
    <summary>Suffix, seed, response format, monitor grader, metadata, trackers</summary><div class="stack">
    <div class="fields">
      <${Field} label="Suffix" for="suffix" error=${told.suffix} hint="A part of the new model's name.">
        <input id="suffix" maxlength="64" value=${draft.suffix} onInput=${text("suffix")} /></${Field}>
      <${Field} label="Seed" for="seed" error=${told.seed}
        hint="The same seed, data and options give the same run. Empty: drawn by lot.">
        <input id="seed" inputmode="numeric" value=${draft.seed} onInput=${text("seed")}
        placeholder="by lot" /></${Field}>
    </div>
    ${isReinforcement && html`<${Field} label="Response format" for="response_format"
      error=${wrongOf(`${where}.response_format`)} hint='JSON: {"type": "json_schema", "json_schema": {…}} holds every answer to a schema, {"type": "json_object"} to any object.'>
      <textarea id="response_format" class="mono" rows="4" value=${draft.response_format}
        onInput=${text("response_format")}></textarea></${Field}>
    <details open=${draft.monitor_grader !== ""} onToggle=${(/** @type {any} */ e) => setSecond(e.currentTarget.open)}>
      <summary>Monitor grader: a second opinion that never trains</summary>
      ${hasSecond && html`<${GraderEditor} ...${editor} label="Monitor grader" text=${draft.monitor_grader}
        onChange=${(/** @type {string} */ next) => set({ monitor_grader: next })} problems=${monitor.problems}
        state=${monitor.state} />`}</details>`}
    <div class="field"><span class="label">Metadata</span><${Pairs} pairs=${draft.metadata}
      onChange=${(/** @type {any} */ pairs) => set({ metadata: pairs })} />${told.metadata && html`<p class="wrong-note"
      role="alert">${told.metadata}</p>`}</div>
    <${Field} label="Trackers" for="integrations"
      error=${wrongOf("integrations")} hint='JSON: [{"type": "tensorboard", "tensorboard": {}}], or wandb, trackio, mlflow.'>
      <textarea id="integrations" class="mono" rows="3" value=${draft.integrations}
        onInput=${text("integrations")}></textarea></${Field}>
  </div></details></${Section}>`;
}
