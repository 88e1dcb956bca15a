// @ts-check
/** A grader as a form. What each field means and may hold is the server's own schema of that type. */
import { useState } from "preact/hooks";
import { html } from "../core/html.js";
import { CodeEditor } from "./code_editor.js";
import { completePython, startOf, variables } from "./grader_starts.js";

/**
 * @typedef {Object} FormProps
 * @property {any} grader as JSON
 * @property {(grader: any) => void} onChange
 * @property {Record<string, any>} schemas of all types of graders
 * @property {import("./grader_problems.js").Keys|null} keys of the rows
 * @property {import("./grader_problems.js").GraderProblem[]} problems
 * @property {string} [path] of this grader within the whole one
 */

const PLAIN = ["name", "pass_threshold", "invalid_grade"];

/** @param {FormProps} props */
export function GraderForm({ grader, onChange, schemas, keys, problems, path = "" }) {
  const isPart = path !== "";
  const schema = schemas[grader.type];
  const id = `grader-${path.replace(/\W/g, "-") || "whole"}`;
  const types = Object.keys(schemas).filter((type) => !(isPart && type === "multi"));
  const names = Object.keys(schema?.properties ?? {}).filter((name) => name !== "type");
  const required = names.filter((name) => schema.required?.includes(name));
  const rest = names.filter((name) => !required.includes(name) && !PLAIN.includes(name));
  const set = (/** @type {string} */ name, /** @type {any} */ value) => {
    const next = { ...grader, [name]: value };
    if (value === undefined) delete next[name];
    onChange(next);
  };
  const field = (/** @type {string} */ name) => html`<${FormField} key=${name} id=${`${id}-${name}`} name=${name}
    schema=${schema.properties[name]} definitions=${schema.$defs ?? {}} value=${grader[name]}
      set=${(/** @type {any} */ value) => set(name, value)}
    keys=${keys} schemas=${schemas} problems=${problems} path=${path ? `${path}.${name}` : name} />`;
  return html`<div class="grader-form" role="group" aria-label=${isPart ? `Grader ${path.split(".").pop()}` : "Grader"}>
    <div class="field"><label for=${`${id}-type`}>Type</label>
      <select id=${`${id}-type`} value=${grader.type}
        onChange=${(/** @type {any} */ e) => onChange({ ...startOf(e.currentTarget.value, keys), ...(grader.name ? { name: grader.name } : {}) })}>
        ${!schema && html`<option value=${grader.type ?? ""}>${grader.type ?? "choose one"}</option>`}
        ${types.map((type) => html`<option value=${type}>${type}</option>`)}
      </select>
      ${schema && html`<p class="hint">${plain(schema.description)}</p>`}</div>
    ${required.map(field)}
    ${schema && html`<details open=${[...rest, ...PLAIN.slice(1)].some((name) => name in grader)}>
      <summary>More options</summary>
      <div class="stack">${[...rest, ...PLAIN].map(field)}</div></details>`}
  </div>`;
}

/**
 * @param {{id: string, name: string, schema: any, definitions: any, value: any, set: (value: any) => void, keys: any,
 *   schemas: any, problems: import("./grader_problems.js").GraderProblem[], path: string}} props
 */
function FormField({ id, name, schema, value, set, keys, schemas, problems, path }) {
  const kind = kindOf(name, schema);
  const wrong = problems.filter((one) => one.path === path || (kind !== "parts" && one.path.startsWith(`${path}[`)));
  const shared = { id, "aria-describedby": `${id}-hint`, "aria-invalid": wrong.length > 0 };
  const read = (/** @type {any} */ event) => event.currentTarget.value;
  let control;
  if (kind === "parts") control = html`<${Parts} value=${value ?? {}} set=${set} schemas=${schemas} keys=${keys}
    problems=${problems} path=${path} />`;
  else if (kind === "messages") control = html`<${MessagesField} ...${{ id, value: value ?? [], set, keys }} />`;
  else if (kind === "choice") {
    control = html`<select ...${shared} value=${value ?? ""} onChange=${(/** @type {any} */ e) => set(read(e))}>
      ${!schema.enum.includes(value) && html`<option value=${value ?? ""}>${value ?? "choose one"}</option>`}
      ${schema.enum.map((/** @type {string} */ one) => html`<option value=${one}>${one}</option>`)}</select>`;
  } else if (kind === "number") {
    control = html`<input ...${shared} type="number" step="any" value=${value ?? ""}
      onInput=${(/** @type {any} */ e) => set(read(e) === "" ? undefined : Number(read(e)))} />`;
  } else if (kind === "lines") {
    control = html`<textarea ...${shared} rows="3" value=${(value ?? []).join("\n")} placeholder="one per line"
      onInput=${(/** @type {any} */ e) => set(read(e).split("\n"))}></textarea>`;
  } else if (kind === "python") {
    control = html`<${CodeEditor} value=${value ?? ""} onChange=${set} language="python" label=${`Source of ${path}`}
      complete=${completePython(keys)} marks=${[]} />`;
  } else if (kind === "json") control = html`<${JsonField} ...${shared} value=${value} set=${set} />`;
  else {
    control = html`<${TemplateField} ...${{ shared, value: value ?? "", set: (/** @type {string} */ text) => set(text === "" && name !== "input" && name !== "reference" ? undefined : text), keys: /^(input|reference)$/.test(name) ? keys : null, isLong: /^(input|reference)$/.test(name) }} />`;
  }
  return html`<div class="field ${wrong.length ? "wrong" : ""}">
    ${kind === "parts" || kind === "messages" || kind === "python" ? html`<span
      class="label">${title(name)}</span>` : html`<label for=${id}>${title(name)}</label>`}
    ${control}
    <p class="hint" id=${`${id}-hint`}>${plain(schema.description ?? "")}</p>
    ${wrong.map((one) => html`<p class="wrong-note"
      role="alert">${one.innerLine ? `Line ${one.innerLine}: ` : ""}${one.message}</p>`)}
  </div>`;
}

/** A text with a way to put a variable in. @param {any} props */
function TemplateField({ shared, value, set, keys, isLong }) {
  const input = (/** @type {any} */ e) => set(e.currentTarget.value);
  return html`${isLong ? html`<textarea ...${shared} rows="2" class="mono" value=${value} onInput=${input}></textarea>`
    : html`<input ...${shared} value=${value} onInput=${input} />`}
    ${keys && html`<${Insert} keys=${keys} insert=${(/** @type {string} */ text) => set(value + text)} />`}`;
}

/** @param {{keys: any, insert: (text: string) => void}} props */
const Insert = ({ keys, insert }) => html`<select class="insert" aria-label="Insert a variable" value=""
    onChange=${(/** @type {any} */ e) => { insert(`{{${e.currentTarget.value}}}`); e.currentTarget.value = ""; }}>
  <option value="">Insert a variable …</option>
  ${variables(keys).map((one) => html`<option value=${one.label}>${one.label} (${one.detail})</option>`)}</select>`;

/** Messages for a model that judges. @param {{id: string, value: any[], set: (value: any) => void, keys: any}} props */
function MessagesField({ id, value, set, keys }) {
  const change = (/** @type {number} */ at, /** @type {any} */ more) => set(value.map((one, index) => (index === at ? { ...one, ...more } : one)));
  return html`<div class="stack">${value.map((message, at) => html`<div class="message-field" key=${at}>
      <select aria-label=${`Role of message ${at + 1}`} value=${message.role}
        onChange=${(/** @type {any} */ e) => change(at, { role: e.currentTarget.value })}>
        ${["system", "developer", "user", "assistant"].map((role) => html`<option>${role}</option>`)}</select>
      <button type="button" class="small" onClick=${() => set(value.filter((_, index) => index !== at))}>Remove</button>
      ${typeof message.content === "string"
        ? html`<textarea id=${`${id}-${at}`} rows="3" class="mono" aria-label=${`Text of message ${at + 1}`}
          value=${message.content}
            onInput=${(/** @type {any} */ e) => change(at, { content: e.currentTarget.value })}></textarea>
          <${Insert} keys=${keys} insert=${(/** @type {string} */ text) => change(at, { content: message.content + text })} />`
        : html`<p class="hint">This message has parts; edit them as JSON.</p>`}
    </div>`)}
    <div><button type="button" class="small"
      onClick=${() => set([...value, { role: "user", content: "" }])}>Add a message</button></div></div>`;
}

/** The parts of a multi grader. @param {any} props */
function Parts({ value, set, schemas, keys, problems, path }) {
  const rename = (/** @type {string} */ from, /** @type {string} */ to) => {
    if (to && !(to in value)) set(Object.fromEntries(Object.entries(value).map(([name, part]) => [name === from ? to : name, part])));
  };
  const free = () => {
    let number = Object.keys(value).length + 1;
    while (`part_${number}` in value) number += 1;
    return `part_${number}`;
  };
  return html`<div class="stack">${Object.entries(value).map(([name, part]) => html`<fieldset class="part" key=${name}>
      <legend><input aria-label="Name of this part" value=${name}
        onChange=${(/** @type {any} */ e) => rename(name, e.currentTarget.value.trim())} /></legend>
      <${GraderForm} grader=${part} schemas=${schemas} keys=${keys} problems=${problems} path=${`${path}.${name}`}
        onChange=${(/** @type {any} */ next) => set({ ...value, [name]: next })} />
      <button type="button" class="small"
        onClick=${() => set(Object.fromEntries(Object.entries(value).filter(([one]) => one !== name)))}>Remove ${name}</button>
    </fieldset>`)}
    <div><button type="button" class="small"
      onClick=${() => set({ ...value, [free()]: startOf("string_check", keys) })}>Add a part</button></div></div>`;
}

/** A field that has no form: as JSON; kept as text while it is none. @param {any} props */
function JsonField({ value, set, ...shared }) {
  const [text, setText] = useState(value === undefined ? "" : JSON.stringify(value));
  const [isWrong, setWrong] = useState(false);
  const change = (/** @type {any} */ e) => {
    setText(e.currentTarget.value);
    try {
      set(e.currentTarget.value.trim() === "" ? undefined : JSON.parse(e.currentTarget.value));
      setWrong(false);
    } catch {
      setWrong(true);
    }
  };
  return html`<input ...${shared} class="mono" value=${text} onInput=${change} placeholder="JSON" />
    ${isWrong && html`<p class="wrong-note" role="alert">This is not JSON yet; the last value that was is kept.</p>`}`;
}

/** @param {string} name @param {any} schema */
function kindOf(name, schema) {
  const kinds = schema.anyOf ?? [schema];
  if (name === "graders") return "parts";
  if (name === "source") return "python";
  if (schema.enum) return "choice";
  if (name === "input" && schema.type === "array") return "messages";
  if (schema.type === "array" && schema.items?.type === "string") return "lines";
  if (kinds.some((/** @type {any} */ one) => one.type === "number" || one.type === "integer")) return "number";
  return kinds.some((/** @type {any} */ one) => one.type === "string") ? "text" : "json";
}

/** calculate_output → Calculate output. @param {string} name */
export const title = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

/** A docstring as a sentence. @param {string} text */
export const plain = (text) => text.replaceAll("``", "").replace(/\s+/g, " ").trim();
