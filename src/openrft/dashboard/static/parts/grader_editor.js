// @ts-check
/**
 * Writing a grader: as a form, as JSON, or (where it has some) its Python. Its JSON text is the one truth; the others
 * change that text. It is checked by the server while one writes, and mistakes are shown at their lines.
 */
import { useEffect, useMemo, useState } from "preact/hooks";
import { post } from "../core/api.js";
import { html } from "../core/html.js";
import { offsetOf } from "../core/json_places.js";
import { visible } from "../core/visible.js";
import { CodeEditor } from "./code_editor.js";
import { Empty } from "./elements.js";
import { GraderForm, plain } from "./grader_form.js";
import { jsonProblem, serverProblems, unknownVariables } from "./grader_problems.js";
import { completeJson, completePython, startOf } from "./grader_starts.js";

/** @typedef {import("./grader_problems.js").GraderProblem} GraderProblem */

const WAIT = 350; // milliseconds without a keystroke before the server is asked
const MODES = [["form", "Form"], ["json", "JSON"], ["python", "Python"]];

/**
 * What is wrong with a grader's JSON, asked again when it has changed.
 * @param {string} text
 * @param {import("./grader_problems.js").Keys|null} keys
 * @param {number} numRows
 * @returns {{problems: GraderProblem[], state: "empty"|"checking"|"good"|"wrong"}}
 */
export function useGraderCheck(text, keys, numRows) {
  const [told, setTold] = useState(/** @type {{of: string, error: any}} */ ({ of: "", error: null }));
  const written = useMemo(() => (text.trim() ? jsonProblem(text) : null), [text]);
  useEffect(() => {
    if (!text.trim() || written) return undefined;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      post("/v1/fine_tuning/alpha/graders/validate", { grader: JSON.parse(text) }, { signal: abort.signal }).then(
        () => setTold({ of: text, error: null }),
        (error) => abort.signal.aborted || setTold({ of: text, error }),
      );
    }, WAIT);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text, written]);
  if (!text.trim()) return { problems: [], state: "empty" };
  if (written) return { problems: [written], state: "wrong" };
  const isCurrent = told.of === text;
  const problems = [...(isCurrent && told.error ? serverProblems(text, told.error) : []), ...unknownVariables(text, keys, numRows)];
  return { problems, state: problems.length ? "wrong" : isCurrent ? "good" : "checking" };
}

/**
 * @param {{text: string, onChange: (text: string) => void, schemas: Record<string, any>, problems: GraderProblem[],
 *   state: string, keys: import("./grader_problems.js").Keys|null, mode: string, setMode: (mode: string) => void,
 *   label?: string}} props
 */
export function GraderEditor({ text, onChange, schemas, problems, state, keys, mode, setMode, label = "Grader" }) {
  const [target, setTarget] = useState(/** @type {{offset: number}|null} */ (null));
  const [part, setPart] = useState("");
  const grader = parsed(text);
  const sources = sourcesOf(grader);
  const source = sources.includes(part) ? part : sources[0];
  const write = (/** @type {any} */ next) => onChange(`${JSON.stringify(next, null, 2)}\n`);
  const goTo = (/** @type {GraderProblem} */ problem) => {
    if (mode === "python" && source === problem.path && problem.innerLine) {
      setTarget({ offset: offsetOf(valueAt(grader, source), problem.innerLine, problem.innerColumn) });
    } else {
      setMode("json");
      setTarget({ offset: problem.from }); // followed once the editor is there
    }
  };
  return html`<div class="grader-editor">
    <div class="row">
      <div class="segments" role="group" aria-label=${`${label}: how it is written`}>${MODES.map(
        ([name, title]) => html`<button type="button" aria-pressed=${mode === name}
          onClick=${() => { setTarget(null); setMode(name); }}>${title}</button>`)}</div>
      <label class="start">Start from <select value=""
        onChange=${(/** @type {any} */ e) => { write(startOf(e.currentTarget.value, keys)); e.currentTarget.value = ""; }}>
        <option value="">…</option>${Object.keys(schemas).map((type) => html`<option>${type}</option>`)}</select></label>
      <span class="chip ${{ good: "good", wrong: "bad" }[state] ?? "quiet"}" role="status" data-grader=${state}>${
        { empty: "nothing yet", checking: "checking …", good: "well-formed", wrong: problems.length === 1 ? "1 problem" : `${problems.length} problems` }[state]}</span>
    </div>
    ${mode === "json" && html`<${CodeEditor} language="json" label=${`${label} as JSON`} value=${text}
      onChange=${onChange}
      marks=${problems} complete=${completeJson(keys)} goto=${target} />`}
    ${mode === "form" && (grader ? html`<${GraderForm} grader=${grader} onChange=${write} schemas=${schemas}
      keys=${keys} problems=${problems} />`
      : text.trim() ? html`<${Empty} title="The JSON has a mistake">
        <p>Correct it under JSON; then the form can show it.</p></${Empty}>`
      : html`<${Choose} schemas=${schemas} choose=${(/** @type {string} */ type) => write(startOf(type, keys))} />`)}
    ${mode === "python" && (source ? html`
      ${sources.length > 1 && html`<label>Part <select value=${source}
        onChange=${(/** @type {any} */ e) => setPart(e.currentTarget.value)}>
        ${sources.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>`}
      <${CodeEditor} key=${source} language="python" label=${`${label} as Python`} value=${valueAt(grader, source)}
        onChange=${(/** @type {string} */ next) => write(withValue(grader, source, next))}
          complete=${completePython(keys)}
        marks=${marksInSource(problems, source, valueAt(grader, source))} goto=${target} />
      <p class="hint">Called once for every answer, in a sandbox: no files, no network, 120 seconds, 2 GB. Any finite number is a score.</p>`
      : html`<${Empty} title="This grader has no Python"><p>A Python grader is a function of yours, <code>grade(sample, item)</code>, that returns a number.</p>
        <button type="button" onClick=${() => write(startOf("python", keys))}>Write it in Python${text.trim() ? " instead" : ""}</button></${Empty}>`)}
    ${problems.length > 0 && html`<ul class="problems"
      aria-label=${`Problems of the ${label.toLowerCase()}`}>${problems.map((one) => html`<li>
      <button type="button" class="plain"
        onClick=${() => goTo(one)}>Line ${one.line}${one.innerLine ? `, line ${one.innerLine} of ${one.path}` : one.path ? `, ${one.path}` : ""}</button>
      <span class="said">${visible(one.message)}</span></li>`)}</ul>`}
  </div>`;
}

/** @param {{schemas: Record<string, any>, choose: (type: string) => void}} props */
const Choose = ({ schemas, choose }) => html`<div class="kinds" role="group" aria-label="Types of graders">
  ${Object.entries(schemas).map(([type, schema]) => html`<button type="button" onClick=${() => choose(type)}>
    <strong>${type}</strong><span>${plain((schema.description ?? "").split("\n")[0])}</span></button>`)}</div>`;

/** @param {string} text */
function parsed(text) {
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}

/** Paths of the Python in a grader. @param {any} grader */
const sourcesOf = (grader) => [
  ...(grader?.type === "python" ? ["source"] : []),
  ...Object.entries(grader?.graders ?? {}).filter(([, part]) => part?.type === "python").map(([name]) => `graders.${name}.source`),
];

/** @param {any} grader @param {string} path */
const valueAt = (grader, path) => path.split(".").reduce((inner, key) => inner?.[key], grader) ?? "";

/** @param {any} grader @param {string} path @param {string} value @returns {any} */
function withValue(grader, path, value) {
  const [first, ...rest] = path.split(".");
  return { ...grader, [first]: rest.length ? withValue(grader[first], rest.join("."), value) : value };
}

/** @param {GraderProblem[]} problems @param {string} path @param {string} source */
const marksInSource = (problems, path, source) =>
  problems.filter((one) => one.path === path).map((one) => {
    const from = one.innerLine ? offsetOf(source, one.innerLine, one.innerColumn) : 0;
    return { from, to: Math.min(from + 1, source.length), message: one.message, severity: one.severity };
  });
