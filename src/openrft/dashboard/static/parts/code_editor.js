// @ts-check
/**
 * An editor for JSON or Python, with marks at the lines where something is wrong.
 *
 * CodeMirror is read when the first editor is shown. It lives in a shadow root: there its styles are adopted sheets, which
 * the page's policy allows, while <style> elements are not.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../core/html.js";
import { Busy, Problem } from "./elements.js";

const MOST_TOLD = 30;

/**
 * @typedef {{from: number, to: number, message: string, severity: "error"|"warning"}} Mark
 * @typedef {{label: string, detail?: string, apply?: string}} Completion
 */

/**
 * @param {{value: string, onChange: (value: string) => void, language: "json"|"python", label: string, marks?: Mark[],
 *   complete?: (before: string) => {from: number, options: Completion[]}|null, goto?: {offset: number}|null}} props
 *   `complete` gets the line up to the cursor and answers from which of its letters on it completes;
 *   a new `goto` puts the cursor there
 */
export function CodeEditor({ value, onChange, language, label, marks = [], complete, goto: target }) {
  const host = useRef(/** @type {HTMLDivElement|null} */ (null));
  const editor = useRef(/** @type {any} */ (null));
  const latest = useRef({ onChange, complete, value });
  latest.current = { onChange, complete, value };
  const [state, setState] = useState(/** @type {{isReady: boolean, error?: any}} */ ({ isReady: false }));

  useEffect(() => {
    let isGone = false;
    import("codemirror").then(
      (library) => {
        if (isGone || !host.current) return;
        editor.current = open(library, host.current, language, label, latest);
        setState({ isReady: true });
      },
      (error) => {
        if (!isGone) setState({ isReady: false, error });
      },
    );
    return () => {
      isGone = true;
      editor.current?.close();
      editor.current = null;
    };
  }, [language, label]);
  useEffect(() => editor.current?.show(value), [value, state.isReady]);
  useEffect(() => editor.current?.mark(marks), [JSON.stringify(marks), value, state.isReady]);
  useEffect(() => {
    if (target) editor.current?.goTo(target.offset);
  }, [target, state.isReady]);

  return html`<div class="editor">
    ${!state.isReady && (state.error ? html`<${Problem} error=${state.error} />` : html`<${Busy}
      what="Loading the editor" />`)}
    <div class="editor-host" ref=${host}></div>
  </div>`;
}

/**
 * @param {any} library
 * @param {HTMLDivElement} host
 * @param {"json"|"python"} language
 * @param {string} label
 * @param {{current: {onChange: (value: string) => void, complete: any, value: string}}} latest
 */
function open(library, host, language, label, latest) {
  const { EditorView, EditorState } = library;
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  let isShowing = false; // what comes from outside is told to nobody
  /** What was told of late: when it comes back as the value, somebody may have typed on meanwhile. @type {string[]} */
  let told = [];
  const data = [{ autocomplete: completing(latest) }]; // the same ones always: by them it knows what it has asked
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: latest.current.value,
      extensions: [
        library.basicSetup,
        library.lintGutter(),
        language === "json" ? library.json() : library.python(),
        EditorState.languageData.of(() => data),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false" }),
        EditorView.domEventHandlers({ beforeinput: (/** @type {any} */ event, /** @type {any} */ one) => replaceSelection(EditorView, one, event) }),
        looks(library),
        EditorView.updateListener.of((/** @type {any} */ update) => {
          if (!update.docChanged || isShowing) return;
          told = [...told.slice(-MOST_TOLD), update.state.doc.toString()];
          latest.current.onChange(told[told.length - 1]);
        }),
      ],
    }),
  });
  return {
    show(/** @type {string} */ value) {
      if (told.includes(value) || value === view.state.doc.toString()) return;
      told = [];
      isShowing = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value } });
      isShowing = false;
    },
    mark(/** @type {Mark[]} */ marks) {
      const length = view.state.doc.length;
      const inside = marks.map((one) => ({ ...one, from: Math.min(one.from, length), to: Math.min(one.to, length) }));
      view.dispatch(library.setDiagnostics(view.state, inside.sort((a, b) => a.from - b.from)));
    },
    goTo(/** @type {number} */ offset) {
      const anchor = Math.min(offset, view.state.doc.length);
      view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
      view.focus();
    },
    close: () => view.destroy(),
  };
}

/**
 * Typing over a selection. The browser itself would keep the look of what was there by an inline style, which the page's
 * policy forbids and its console would complain of.
 * @param {any} EditorView @param {any} view @param {InputEvent} event
 */
function replaceSelection(EditorView, view, event) {
  const text = event.data;
  // The browser's own selection: the editor may not have heard yet that it has changed.
  const selected = (view.root.getSelection ? view.root : document).getSelection();
  const isText = event.inputType === "insertText" && !event.isComposing && text;
  if (!isText || !selected || selected.isCollapsed || !view.contentDOM.contains(selected.anchorNode)) return false;
  const ends = [
    view.posAtDOM(selected.anchorNode, selected.anchorOffset),
    view.posAtDOM(selected.focusNode, selected.focusOffset),
  ];
  const [from, to] = [Math.min(...ends), Math.max(...ends)];
  const changes = { from, to, insert: view.state.toText(text) };
  const selection = { anchor: from + changes.insert.length };
  const insert = () => view.state.update({ changes, selection, userEvent: "input.type", scrollIntoView: true });
  const isTaken = view.state.facet(EditorView.inputHandler).some((/** @type {any} */ handle) => handle(view, from, to, text, insert));
  if (!isTaken) view.dispatch(insert());
  event.preventDefault();
  return true;
}

/** @param {{current: {complete: any}}} latest */
function completing(latest) {
  return (/** @type {any} */ context) => {
    const line = context.state.doc.lineAt(context.pos);
    const found = latest.current.complete?.(line.text.slice(0, context.pos - line.from));
    if (!found || found.options.length === 0) return null;
    const after = line.text.slice(context.pos - line.from);
    const options = found.options.map((/** @type {Completion} */ one) => {
      // Braces and quotes that are there already are not written twice.
      const end = /[}\]"']+$/.exec(one.apply ?? "")?.[0] ?? "";
      return end && after.startsWith(end) ? { ...one, apply: one.apply?.slice(0, -end.length) } : one;
    });
    return { from: line.from + found.from, options, validFor: /^[\w.]*$/ };
  };
}

/**
 * The page's colours reach into the shadow root as variables, so light and dark need nothing more.
 * @param {any} library
 */
function looks({ EditorView, HighlightStyle, syntaxHighlighting, tags }) {
  const colours = HighlightStyle.define([
    { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "var(--series-6)" },
    { tag: [tags.string, tags.special(tags.string)], color: "var(--series-3)" },
    { tag: [tags.number, tags.bool, tags.null], color: "var(--series-2)" },
    { tag: [tags.propertyName, tags.definition(tags.variableName), tags.function(tags.variableName)], color: "var(--series-1)" },
    { tag: tags.comment, color: "var(--faint)", fontStyle: "italic" },
    { tag: tags.invalid, color: "var(--bad)" },
  ]);
  const soft = "color-mix(in srgb, var(--accent) 25%, transparent)";
  const theme = EditorView.theme({
    "&": { backgroundColor: "var(--raised)", color: "var(--ink)", fontSize: "12.5px", maxHeight: "480px" },
    "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
    ".cm-content": { fontFamily: "var(--mono)" },
    ".cm-scroller": { overflow: "auto", lineHeight: "1.6" },
    ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--faint)", borderRight: "1px solid var(--line)" },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--accent) 7%, transparent)" },
    ".cm-cursor": { borderLeftColor: "var(--ink)" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: soft },
    ".cm-selectionMatch, &.cm-focused .cm-matchingBracket": { backgroundColor: soft },
    ".cm-tooltip, .cm-panels": { backgroundColor: "var(--raised)", color: "var(--ink)", border: "1px solid var(--line)" },
    ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": {
      background: "var(--accent)", color: "var(--on-accent)",
    },
    ".cm-textfield, .cm-button": { background: "var(--raised)", color: "var(--ink)", border: "1px solid var(--line)" },
    ".cm-foldPlaceholder": { background: "var(--sunken)", border: "none", color: "var(--faint)" },
    ".cm-diagnostic": { whiteSpace: "pre-wrap" },
  });
  return [theme, syntaxHighlighting(colours)];
}
