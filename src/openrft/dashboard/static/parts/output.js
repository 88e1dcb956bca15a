// @ts-check
/** What a model wrote: raw, or with its thoughts folded away. Always text. */
import { count } from "../core/format.js";
import { html } from "../core/html.js";
import { query } from "../core/router.js";
import { Menu } from "./menu.js";
import { Text } from "./text.js";

const OPEN = "<think>";
const CLOSE = "</think>";
const MOST_PARTS = 20;

/** @type {[string, string][]} */
const WAYS = [
  ["folded", "thoughts folded"],
  ["raw", "raw text"],
];

/** @param {{output: any, search?: string, most?: number}} props */
export function Output({ output, search = "", most = 4000 }) {
  const text = typeof output === "string" ? output : "";
  if (text === "") return html`<p class="faint">The answer is empty.</p>`;
  if (query.value.render === "raw") return html`<${Text} text=${text} most=${most} search=${search} label="Output" />`;
  return html`<div class="output">${partsOf(text).map((part) =>
    part.isThought
      ? html`<details class="thought" open=${isIn(part.text, search)}>
          <summary>Thoughts (${count(part.text.length)} characters)</summary>
          <${Text} text=${part.text} most=${most} search=${search} label="Thoughts" /></details>`
      : html`<${Text} text=${part.text} most=${most} search=${search} label="Output" />`,
  )}</div>`;
}

/** What comes after the last thought. @param {string} output */
export const afterThoughts = (output) => output.slice(output.lastIndexOf(CLOSE) < 0 ? 0 : output.lastIndexOf(CLOSE) + CLOSE.length);

/** How outputs are shown; kept in the address. */
export const RenderMenu = () => html`<${Menu} label="Show" name="render" options=${WAYS} />`;

/**
 * Thoughts and what is between them. A template may have opened the first thought already; the last may have been cut.
 * @param {string} text
 * @returns {{text: string, isThought: boolean}[]}
 */
function partsOf(text) {
  const closed = text.indexOf(CLOSE);
  const opened = text.indexOf(OPEN);
  let isThought = closed >= 0 && (opened < 0 || closed < opened);
  const parts = [];
  let at = 0;
  // A model that repeats the mark for ever makes no page of a thousand folds: what is left is one text.
  while (parts.length < MOST_PARTS) {
    const mark = isThought ? CLOSE : OPEN;
    const next = text.indexOf(mark, at);
    if (next < 0) break;
    parts.push({ text: text.slice(at, next), isThought });
    at = next + mark.length;
    isThought = !isThought;
  }
  parts.push({ text: text.slice(at), isThought });
  if (parts.length === 1) return parts; // without thoughts it stays as it is
  return parts.map((part) => ({ ...part, text: part.text.trim() })).filter((part) => part.text !== "");
}

/** @param {string} text @param {string} search */
const isIn = (text, search) => search !== "" && text.toLowerCase().includes(search.toLowerCase());
