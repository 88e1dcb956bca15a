// @ts-check
/** The prompt of the playground: messages to edit, and rows of files to take them from. */
import { count } from "../core/format.js";
import { html } from "../core/html.js";
import { Problem } from "./elements.js";

const LONGEST = 1500; // characters of a prompt that still goes into the address
const ROLES = ["system", "developer", "user", "assistant"];

/** @typedef {import("./playground_rows.js").Message} Message */

/**
 * The prompt in the address: plain for one message of the user, else JSON.
 * @param {string|undefined} written
 * @returns {Message[]|null}
 */
export function readPrompt(written) {
  if (written === undefined) return null;
  if (written.startsWith("[{")) {
    try {
      const found = JSON.parse(written);
      const isMessage = (/** @type {any} */ one) => typeof one.role === "string" && typeof one.content === "string";
      if (found.every(isMessage)) return found;
    } catch {
      // A prompt that looks like JSON and is none is a text.
    }
  }
  return [{ role: "user", content: written }];
}

/** For the address; null when it is too long to be sent in one. @param {Message[]} messages */
export function writePrompt(messages) {
  const isPlain = messages.length === 1 && messages[0].role === "user" && !messages[0].content.startsWith("[{");
  const written = isPlain ? messages[0].content : JSON.stringify(messages);
  return written.length <= LONGEST ? written : null;
}

/**
 * @param {{messages: Message[], edit: (messages: Message[]) => void, commit: (messages: Message[]) => void}} props
 *   `commit`: editing has ended
 */
export function MessageEditor({ messages, edit, commit }) {
  const change = (/** @type {number} */ place, /** @type {Partial<Message>} */ changes) =>
    messages.map((one, at) => (at === place ? { ...one, ...changes } : one));
  const next = messages.at(-1)?.role === "user" ? "assistant" : "user";
  const hasSystem = messages.some((one) => one.role === "system" || one.role === "developer");
  return html`<div class="stack" role="group" aria-label="Prompt">
    ${messages.map((message, place) => html`<div class="prompt-message" key=${place}>
      <div class="row"><select aria-label=${`Role of message ${place + 1}`} value=${message.role}
          onChange=${(/** @type {any} */ event) => commit(change(place, { role: event.currentTarget.value }))}>
          ${[...new Set([...ROLES, message.role])].map((role) => html`<option value=${role}>${role}</option>`)}</select>
        ${messages.length > 1 && html`<button type="button" class="small" aria-label=${`Take message ${place + 1} out`}
          onClick=${() => commit(messages.filter((_, at) => at !== place))}>✕</button>`}</div>
      <textarea aria-label=${`${message.role} message`} rows=${rowsFor(message.content)} value=${message.content}
        dir="auto"
        onInput=${(/** @type {any} */ event) => edit(change(place, { content: event.currentTarget.value }))}
        onChange=${(/** @type {any} */ event) => commit(change(place, { content: event.currentTarget.value }))} />
    </div>`)}
    <div class="actions">${!hasSystem && html`<button type="button" class="small"
      onClick=${() => commit([{ role: "system", content: "" }, ...messages])}>Add system message</button>`}
      <button type="button" class="small"
        onClick=${() => commit([...messages, { role: next, content: "" }])}>Add message</button></div>
  </div>`;
}

/** @param {string} text */
const rowsFor = (text) => Math.min(14, Math.max(2, text.split("\n").length + 1));

/**
 * Which file and line the prompt is taken from.
 * @param {{files: any[], job: any, file: string|undefined, line: number, lines: number|null, error: any, pick:
 *   (changes: any) => void}} props
 */
export function RowPicker({ files, job, file, line, lines, error, pick }) {
  const known = files.some((one) => one.id === file);
  const uses = { [job?.validation_file]: " (held out in this job)", [job?.training_file]: " (trained on in this job)" };
  const title = (/** @type {any} */ one) => one.filename + (uses[one.id] ?? "");
  const last = lines ?? Infinity;
  const pickFile = (/** @type {string} */ id) => pick({ file: id || null, line: id ? 1 : null });
  return html`<div class="stack" role="group" aria-label="Take a row">
    <div class="row"><label for="row-file">From a file</label>
      <select id="row-file" value=${file ?? ""}
        onChange=${(/** @type {any} */ { currentTarget }) => pickFile(currentTarget.value)}>
        <option value="">none, typed here</option>
        ${file && !known && html`<option value=${file}>${file}</option>`}
        ${files.map((one) => html`<option key=${one.id} value=${one.id}>${title(one)}</option>`)}</select></div>
    ${file && html`<div class="row"><label for="row-line">Line</label>
      <input id="row-line" type="number" min="1" max=${lines} value=${line}
        onChange=${(/** @type {any} */ event) => pick({ line: Number(event.currentTarget.value) || 1 })} />
      <button type="button" class="small" disabled=${line <= 1} onClick=${() => pick({ line: line - 1 })}
        aria-label="Row before">‹</button>
      <button type="button" class="small" disabled=${line >= last} onClick=${() => pick({ line: line + 1 })}
        aria-label="Row after">›</button>
      ${lines && html`<button type="button" class="small"
        onClick=${() => pick({ line: 1 + Math.floor(Math.random() * lines) })}>Any row</button>
        <span class="faint">of ${count(lines)}</span>`}</div>`}
    <${Problem} error=${error} />
  </div>`;
}
