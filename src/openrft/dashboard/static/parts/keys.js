// @ts-check
/**
 * Keys of a page, for hands that stay on the keyboard.
 *
 *     const keys = useKeys([{ key: "j", title: "Next rollout", run: next }]);
 *     return html`… ${keys}`;   // a small button that tells them; the key ? does as well
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../core/html.js";
import { Dialog } from "./elements.js";

/** @typedef {{key: string, title: string, run: () => void}} Key */

/**
 * @param {Key[]} keys
 * @returns {any} the button, and the dialog while it is open
 */
export function useKeys(keys) {
  const [isOpen, setOpen] = useState(false);
  const known = useRef(keys);
  known.current = keys;
  useEffect(() => {
    const press = (/** @type {KeyboardEvent} */ event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (isTyping(event) || document.querySelector("dialog[open]")) return;
      if (event.key === "?") setOpen(true);
      const found = known.current.find((one) => one.key === event.key);
      if (!found && event.key !== "?") return;
      event.preventDefault();
      found?.run();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const all = [...keys, { key: "?", title: "These keys" }];
  return html`<span class="keys">
    <button type="button" class="small" onClick=${() => setOpen(true)}>Keys <kbd>?</kbd></button>
    ${isOpen && html`<${Dialog} title="Keys of this page" close=${() => setOpen(false)}>
      <dl class="facts">${all.map((one) => html`<dt><kbd>${one.key}</kbd></dt><dd>${one.title}</dd>`)}</dl>
    </${Dialog}>`}</span>`;
}

// Fields that take letters; in a number's or a slider's the keys go on to work.
const FIELDS = "input:not([type=checkbox], [type=radio], [type=number], [type=range]), select, textarea, [contenteditable]";

/** @param {KeyboardEvent} event */
const isTyping = (event) => event.target instanceof Element && event.target.closest(FIELDS) !== null;
