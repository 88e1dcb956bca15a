// @ts-check
/** A new job: what it learns from, what it is graded by, whether it can learn, and what is sent. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { all, get, post } from "../core/api.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { navigate, query, setQuery } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Checks } from "../parts/create_checks.js";
import { ShowAs } from "../parts/create_code.js";
import { bodyOf, draftOf, useDraft } from "../parts/create_draft.js";
import { FilePick, usePreview } from "../parts/create_files.js";
import { More } from "../parts/create_more.js";
import { Hyperparameters } from "../parts/create_options.js";
import { fieldsOf, Wrong } from "../parts/create_wrong.js";
import { Busy, Empty, Field, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { GraderEditor, useGraderCheck } from "../parts/grader_editor.js";
import { serverProblems } from "../parts/grader_problems.js";
import { GraderRun } from "../parts/grader_run.js";

const MOST_OFFERED = 4; // models with a button of their own

const METHODS = [
  ["reinforcement", "Reinforcement", "The model answers, a grader scores, and what scored higher becomes likelier."],
  ["supervised", "Supervised", "The rows hold the answers, and the model learns to say them."],
];

export default function Create() {
  useTitle("New job");
  const options = useLoad(() => get("/v1/fine_tuning/options"), []);
  const models = useLoad(() => get("/v1/models"), []);
  const files = useLoad(() => all("/v1/files", { purpose: "fine-tune" }), []);
  const failed = options.error ?? models.error ?? files.error;
  const again = () => [options, models, files].forEach((one) => one.again());
  if (!mayWrite.value) {
    return html`<h1>New job</h1><${Empty} title="The key of this browser may only read">
      <p>Jobs are created with a key of the scope write. <a href="/keys">Keys</a></p></${Empty}>`;
  }
  if (failed) return html`<h1>New job</h1><${Problem} error=${failed} retry=${again} />`;
  if (!options.data || !models.data || !files.data) return html`<h1>New job</h1><${Busy} />`;
  return html`<${Form} options=${options.data} models=${models.data.data} known=${files.data} />`;
}

/** @param {{options: any, models: any[], known: any[]}} props */
function Form({ options, models, known }) {
  const [draft, change, clear] = useDraft();
  const [files, setFiles] = useState(known);
  const [failure, setFailure] = useState(/** @type {any} */ (null));
  const [isSending, setSending] = useState(false);
  const copying = useCopied(change);
  const { method } = draft;
  const where = `method.${method}`;
  const training = usePreview(draft.training_file, method, "training_file");
  const validation = usePreview(draft.validation_file, method, "validation_file");
  const test = usePreview(draft.test_file, method, "test_file");
  const keys = training.data?.keys ?? null;
  const check = useGraderCheck(draft.grader, keys, training.data?.num_rows ?? 0);
  const monitor = useGraderCheck(draft.monitor_grader, keys, training.data?.num_rows ?? 0);
  const { body, wrong: missing } = useMemo(() => bodyOf(draft, options.hyperparameters), [draft]);
  const told = failure ? fieldsOf(failure) : {};
  // What the server said of a grader stands at its line; the editor's own check says it again when the text changes.
  const graderProblems = failure?.param?.startsWith(`${where}.grader`) && check.state === "good"
    ? serverProblems(draft.grader, failure, `${where}.grader`) : check.problems;
  const set = (/** @type {Partial<import("../parts/create_draft.js").Draft>} */ changes) => {
    setFailure(null);
    change(changes);
  };
  const isReady = Object.keys(missing).length === 0 && (!draft.grader.trim() || check.state === "good") && ["good", "empty"].includes(monitor.state);
  const create = async () => {
    setSending(true);
    setFailure(null);
    try {
      const job = await post("/v1/fine_tuning/jobs", body);
      clear();
      navigate(`/finetune/${job.id}`);
    } catch (error) {
      setFailure(error);
      setSending(false);
    }
  };
  const mode = query.value.editor ?? "form";
  const editor = { schemas: options.graders, keys, mode, setMode: (/** @type {string} */ next) => setQuery({ editor: next }) };
  const isReinforcement = method === "reinforcement";
  return html`
    <header class="section-head"><h1>New job</h1><div class="actions">
      <button type="button" class="small"
      onClick=${() => { setFailure(null); clear(); }}>Clear the form</button></div></header>
    ${copying.isAtWork && html`<${Busy} what="Copying the job" />`}<${Problem} error=${copying.error} />
    <div class="create">
      <form class="create-form" onSubmit=${(/** @type {any} */ e) => e.preventDefault()} aria-label="New job">
        <${Model} ...${{ draft, set, told, models }} />
        <${Data} ...${{ draft, set, told, files, training, validation, test }}
          onUpload=${(/** @type {any} */ file) => setFiles((old) => [file, ...old])} />
        <${Section} title="Grader" note=${isReinforcement ? "Says how good an answer is; the job learns whatever it pays for." : "Optional: scores answers to held-out rows. It never trains."}>
          ${told[`${where}.grader`] && graderProblems.length === 0 && html`<p class="wrong-note"
            role="alert">${told[`${where}.grader`]}</p>`}
          <${GraderEditor} ...${editor} text=${draft.grader}
            onChange=${(/** @type {string} */ text) => set({ grader: text })} problems=${graderProblems}
            state=${graderProblems.length ? "wrong" : check.state} />
        </${Section}>
        ${draft.grader.trim() !== "" && html`<${Section} title="Try it on sample rows">
          <${GraderRun} grader=${draft.grader} isGood=${check.state === "good"} model=${draft.model}
            fileId=${draft.training_file} numRows=${training.data?.num_rows ?? 0} method=${method}
            options=${chatOptions(body)} />
        </${Section}>`}
        <${Section} title="Hyperparameters">
          <${Hyperparameters} method=${method} schema=${options.hyperparameters[method]} values=${draft.hyperparameters}
            onChange=${(/** @type {any} */ values) => set({ hyperparameters: values })} wrong=${told} />
        </${Section}>
        <${More} ...${{ draft, set, told, missing, editor, monitor, where, isReinforcement }} />
        <${Section} title="Before it trains" note="Ten seconds to a minute here spare hours there.">
          <${Checks} body=${body} isReady=${isReady} /></${Section}>
      </form>
      <aside class="create-side" aria-label="What is sent">
        <div class="panel stack">
          <h2>Create</h2>
          <${Wrong} missing=${missing} failure=${failure} check=${check}
            previews=${[training.data, validation.data, test.data]} />
          <button type="button" class="primary" id="create" disabled=${isSending || check.state === "wrong" || Object.keys(missing).length > 0}
            aria-busy=${isSending} onClick=${create}>Create the job</button>
        </div>
        <div class="panel stack"><h2>Show as</h2><p class="hint">Exactly what the button sends.</p>
          <${ShowAs} body=${body} files=${files} /></div>
      </aside>
    </div>`;
}

/** @param {{draft: any, set: (changes: any) => void, told: Record<string, string>, models: any[]}} props */
const Model = ({ draft, set, told, models }) => html`<${Section} title="Method and model">
  <div class="kinds" role="radiogroup" aria-label="Method">${METHODS.map(([name, title, what]) => html`
    <label class="kind ${draft.method === name ? "chosen" : ""}">
      <input type="radio" name="method" value=${name} checked=${draft.method === name}
        onChange=${() => set({ method: name })} />
      <span><strong>${title}</strong><br /><span class="faint">${what}</span></span></label>`)}</div>
  ${told["method.type"] && html`<p class="wrong-note" role="alert">${told["method.type"]}</p>`}
  <${Field} label="Base model" for="model" error=${told.model}
    hint="One of this server's, a fine-tuned one (ft:…) to go on with, or a name on the Hugging Face hub.">
    <input id="model" list="models" value=${draft.model} autocomplete="off" spellcheck="false"
      aria-describedby="model-hint"
      onInput=${(/** @type {any} */ e) => set({ model: e.currentTarget.value.trim() })} />
    <datalist id="models">${models.map((one) => html`<option value=${one.id}></option>`)}</datalist>
  </${Field}>
  <div class="row">${models.filter((one) => one.owned_by === "openrft").slice(0, MOST_OFFERED).map((one) => html`
    <button type="button" class="small" aria-pressed=${draft.model === one.id}
      onClick=${() => set({ model: one.id })}>${one.id}</button>`)}</div>
</${Section}>`;

/** @param {any} props */
function Data({ draft, set, told, files, training, validation, test, onUpload }) {
  const shared = (/** @type {string} */ role, /** @type {any} */ preview, path = role) => ({
    role, preview, files, onUpload, value: draft[role], error: told[path], onPick: (/** @type {string} */ id) => set({ [role]: id }),
  });
  return html`<${Section} title="Data" note="JSON Lines: one row an object with messages, and what the grader needs.">
    <${FilePick} ...${shared("training_file", training)} label="Training file" hint="What it learns from." />
    <${FilePick} ...${shared("validation_file", validation)} label="Validation file"
      hint=${draft.method === "reinforcement"
      ? "Other rows, at most 1,000: watched all along, and the best checkpoint is chosen by them."
      : "Other rows: watched all along. Without them the last step ships."} />
    <details open=${draft.test_file !== ""}><summary>Test file</summary>
      <${FilePick} ...${shared("test_file", test, `method.${draft.method}.hyperparameters.test_file`)} label="Test file"
        hint="Rows that nothing is chosen by: the report's figures come from them, so they flatter nobody." /></details>
  </${Section}>`;
}

/** Takes over a job or a model that the address names, once. @param {(draft: any) => void} change */
function useCopied(change) {
  const { from, model } = query.value;
  const [state, setState] = useState({ isAtWork: false, error: /** @type {any} */ (null) });
  useEffect(() => {
    let isGone = false;
    const leave = () => void (isGone = true);
    if (model) change({ model });
    if (!from) {
      if (model) setQuery({ model: null });
      return leave;
    }
    setState({ isAtWork: true, error: null });
    draftOf(from).then(
      (draft) => {
        if (isGone) return; // the address is another page's by now
        change(model ? { ...draft, model } : draft);
        setState({ isAtWork: false, error: null });
        // From here on it is a draft of its own: a reload must not undo what is changed in it.
        setQuery({ from: null, model: null });
      },
      (error) => setState({ isAtWork: false, error }),
    );
    return leave;
  }, []);
  return state;
}

/** How a sample answer is asked for: as the job would. @param {any} body */
function chatOptions(body) {
  const { response_format: form, hyperparameters = {} } = body.method[body.method.type];
  const most = hyperparameters.max_completion_tokens;
  return {
    ...(form ? { response_format: form } : {}),
    temperature: typeof hyperparameters.temperature === "number" ? hyperparameters.temperature : 1,
    ...(typeof most === "number" ? { max_completion_tokens: most } : {}),
  };
}
