// @ts-check
/** Text of a model, a user or a grader: never markup, unseen characters by name, long ones cut with a way to see all. */
import { useState } from "preact/hooks";
import { count } from "../core/format.js";
import { html } from "../core/html.js";
import { visible } from "../core/visible.js";

/**
 * A block of such text.
 * @param {{text: any, most?: number, label?: string, search?: string}} props `most`: characters shown at first; `search` is marked
 */
export function Text({ text, most = 4000, label, search = "" }) {
  const [shown, setShown] = useState(most);
  const whole = typeof text === "string" ? text : text == null ? "" : JSON.stringify(text, null, 2);
  const rest = whole.length - shown;
  return html`<div class="text" dir="auto" role=${label ? "group" : null} aria-label=${label}>
    <pre tabindex=${rest > 0 || whole.length > 400 ? 0 : null}>${marked(visible(whole.slice(0, shown)), search)}</pre>
    ${rest > 0 && html`<button type="button" class="small" onClick=${() => setShown(shown + 100_000)}>
      Show ${rest > 100_000 ? "100,000 more" : "the rest"} (${count(rest)} characters are not shown)</button>`}
  </div>`;
}

/** One line of such text, for tables. @param {{text: any, most?: number}} props */
export function Line({ text, most = 120 }) {
  const whole = typeof text === "string" ? text : text == null ? "" : JSON.stringify(text);
  const line = visible(whole.slice(0, most * 2)).replace(/\s+/g, " ").trim();
  return html`<bdi class="line">${line.length > most ? `${line.slice(0, most)}…` : line}${whole.length > most * 2 && line.length <= most ? "…" : ""}</bdi>`;
}

/** Messages of a conversation. @param {{messages: any[], most?: number, search?: string}} props */
export const Messages = ({ messages, most = 2000, search = "" }) => html`<div class="messages">
  ${(Array.isArray(messages) ? messages : []).map(
    (message) => html`<div class="message"><span class="role"><${Line} text=${message.role} most=${20} /></span>
      <${Text} text=${contentOf(message)} most=${most} search=${search} /></div>`,
  )}
</div>`;

/** @param {any} message */
const contentOf = (message) =>
  typeof message?.content === "string" ? message.content : JSON.stringify(message?.content ?? message, null, 2);

/** @param {string} text @param {string} search */
function marked(text, search) {
  if (!search) return text;
  const found = text.toLowerCase();
  const wanted = search.toLowerCase();
  if (found.length !== text.length) return text; // some letters change their length; places would be wrong
  const parts = [];
  let from = 0;
  for (let at = found.indexOf(wanted); at >= 0 && parts.length < 2000; at = found.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), html`<mark>${text.slice(at, at + wanted.length)}</mark>`);
    from = at + wanted.length;
  }
  return [...parts, text.slice(from)];
}
