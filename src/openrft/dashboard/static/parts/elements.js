// @ts-check
/** The small parts of every page. Each is a plain function from what it shows to elements. */
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../core/html.js";

/** @typedef {import("../core/api.js").ApiError} ApiError */

/** Something has to be waited for. @param {{what?: string}} props */
export const Busy = ({ what = "Loading" }) => html`<p class="busy" role="status">${what} …</p>`;

/** There is nothing, and what to do about it. @param {{children?: any, title: string}} props */
export const Empty = ({ title, children }) => html`<div class="empty"><h3>${title}</h3>${children}</div>`;

/**
 * What went wrong, in the server's own words, with a way to try again.
 * @param {{error: any, retry?: () => void}} props
 */
export function Problem({ error, retry }) {
  if (!error) return null;
  return html`<div class="problem" role="alert">
    <p>${error.message ?? String(error)}</p>
    ${error.param && html`<p class="faint">Field: <code>${error.param}</code></p>`}
    ${error.requestId && html`<p class="faint">Request: <code>${error.requestId}</code></p>`}
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

const TONES = /** @type {Record<string, string>} */ ({
  running: "good", succeeded: "good", failed: "bad", cancelled: "quiet", paused: "warn",
  queued: "quiet", validating_files: "quiet", completed: "good", error: "bad", warn: "warn", info: "quiet",
});

/** A status as a word with a mark; the word says it, the colour helps. @param {{status: string}} props */
export const Status = ({ status }) =>
  html`<span class="chip ${TONES[status] ?? "quiet"}" data-status=${status}>${status.replace("_", " ")}</span>`;

/** A word with a tone: good, bad, warn, quiet. @param {{tone?: string, title?: string, children?: any}} props */
export const Chip = ({ tone = "quiet", title, children }) => html`<span class="chip ${tone}" title=${title}>${children}</span>`;

/**
 * One number with its name, and what it means below.
 * @param {{label: string, value: any, note?: any, id?: string, tone?: string}} props
 */
export const Card = ({ label, value, note, id, tone = "" }) => html`<div class="card ${tone}" id=${id}>
  <div class="card-label">${label}</div>
  <div class="card-value">${value}</div>
  ${note && html`<div class="card-note">${note}</div>`}
</div>`;

/** A part of a page with its heading. @param {{title: string, actions?: any, children?: any, id?: string, note?: any}} props */
export const Section = ({ title, actions, children, id, note }) => html`<section class="section" id=${id} aria-label=${title}>
  <header class="section-head"><h2>${title}</h2>${note && html`<p class="faint">${note}</p>`}<div class="actions">${actions}</div></header>
  ${children}
</section>`;

/**
 * Pages of one thing, as links: each has its address.
 * @param {{label: string, tabs: {href: string, title: string, isHere: boolean, count?: number|null}[]}} props
 */
export const Tabs = ({ label, tabs }) => html`<nav class="tabs" aria-label=${label}>
  ${tabs.map(
    (tab) => html`<a href=${tab.href} aria-current=${tab.isHere ? "page" : null}>
      ${tab.title}${tab.count ? html` <span class="count">${tab.count}</span>` : null}</a>`,
  )}
</nav>`;

/**
 * A labelled input. `children` is the control; it gets its id by `for`.
 * @param {{label: string, for: string, hint?: any, error?: string|null, children?: any}} props
 */
export const Field = ({ label, for: id, hint, error, children }) => html`<div class="field ${error ? "wrong" : ""}">
  <label for=${id}>${label}</label>
  ${children}
  ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  ${error && html`<p class="wrong-note" role="alert" id=${`${id}-error`}>${error}</p>`}
</div>`;

/** Copies a text. @param {{text: string, label?: string}} props */
export function Copy({ text, label = "Copy" }) {
  const [said, say] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {
      say("Select and copy it yourself: the browser does not let us");
    }
    setTimeout(() => say(""), 2000);
  };
  return html`<button type="button" class="small" onClick=${copy} aria-live="polite">${said || label}</button>`;
}

/** Code to take away. @param {{text: string, label: string}} props */
export const Code = ({ text, label }) => html`<div class="code" role="group" aria-label=${label}>
  <${Copy} text=${text} /><pre tabindex="0"><code>${text}</code></pre>
</div>`;

/**
 * A button that asks the server for something: it waits, and says what went wrong.
 * @param {{run: () => Promise<any>, children?: any, kind?: string, confirm?: string, disabled?: boolean, id?: string}} props
 *   `confirm`: a question that is asked first
 */
export function Action({ run, children, kind = "", confirm: question, disabled = false, id }) {
  const [isAtWork, setAtWork] = useState(false);
  const [error, setError] = useState(/** @type {any} */ (null));
  const [isAsking, setAsking] = useState(false);
  const act = async () => {
    setAsking(false);
    setAtWork(true);
    setError(null);
    try {
      await run();
    } catch (one) {
      setError(one);
    }
    setAtWork(false);
  };
  return html`<span class="action">
    <button type="button" id=${id} class=${kind} disabled=${disabled || isAtWork} aria-busy=${isAtWork}
      onClick=${question ? () => setAsking(true) : act}>${children}</button>
    ${isAsking && html`<${Dialog} title=${question} close=${() => setAsking(false)}>
      <div class="actions"><button type="button" class="primary" onClick=${act}>Yes</button>
      <button type="button" onClick=${() => setAsking(false)}>No</button></div></${Dialog}>`}
    ${error && html`<span class="wrong-note" role="alert">${error.message}</span>`}
  </span>`;
}

/** Over the page until it is closed; Escape closes it. @param {{title: any, close: () => void, children?: any}} props */
export function Dialog({ title, close, children }) {
  const element = useRef(/** @type {HTMLDialogElement|null} */ (null));
  useEffect(() => element.current?.showModal(), []);
  return html`<dialog ref=${element} onClose=${close} aria-label=${title}>
    <header class="section-head"><h2>${title}</h2>
      <div class="actions"><button type="button" class="small" onClick=${close} aria-label="Close">✕</button></div></header>
    ${children}
  </dialog>`;
}
