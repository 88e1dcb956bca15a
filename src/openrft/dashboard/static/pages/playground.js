// @ts-check
/** Two or more models, one prompt: their answers side by side as they are written, graded as a job grades them. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../core/api.js";
import { curl, keywords, python, pythonClient } from "../core/code.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Busy, Code, Empty, Field, Problem, Section } from "../parts/elements.js";
import { optionsOf } from "../parts/exports.js";
import { useTitle } from "../parts/frame.js";
import { Column } from "../parts/playground_answers.js";
import { GraderPicker, ItemEditor } from "../parts/playground_grading.js";
import { MessageEditor, readPrompt, RowPicker, writePrompt } from "../parts/playground_prompt.js";
import { readSource } from "../parts/playground_rows.js";
import { ask } from "../parts/playground_run.js";

/** @typedef {import("../parts/playground_prompt.js").Message} Message */

export default function Playground() {
  useTitle("Playground");
  const jobId = query.value.job;
  const known = useLoad(async () => {
    const [models, files, job] = await Promise.all([
      get("/v1/models"),
      get("/v1/files", { limit: 1000 }),
      jobId ? get(`/v1/fine_tuning/jobs/${encodeURIComponent(jobId)}`) : null,
    ]);
    const rows = files.data.filter((/** @type {any} */ one) => one.purpose === "fine-tune" || one.purpose === "evals");
    return { models: models.data.map((/** @type {any} */ one) => one.id), files: rows, job };
  }, [jobId]);
  return html`<header class="stack"><h1>Playground</h1>
    <p class="faint">One prompt, several models. The same seed gives all of them the same luck,
      so that what differs is the model.</p></header>
    ${known.error ? html`<${Problem} error=${known.error} retry=${known.again} />` : known.data ? html`<${Bench}
      key=${jobId} known=${known.data} />` : html`<${Busy} />`}`;
}

/** @param {{known: {models: string[], files: any[], job: any}}} props */
function Bench({ known }) {
  const { file, line, job, rollout, prompt } = query.value;
  const place = file ? [file, line] : [job, rollout];
  const source = useLoad(() => readSource({ file, line, job, rollout }), [Boolean(file), ...place]);
  const [draft, setDraft] = useState(/** @type {Message[]|null} */ (null));
  const [itemDraft, setItemDraft] = useState(/** @type {any} */ (undefined));
  const [grader, setGrader] = useState(/** @type {any} */ (gradedBy(known.job)));
  const [answers, setAnswers] = useState(/** @type {Record<string, any>} */ ({}));
  const running = useRef(/** @type {Record<string, {stop: () => void}>} */ ({}));
  const round = useRef(0); // what an earlier one still says is not shown
  const stopAll = () => Object.values(running.current).forEach((one) => one.stop());
  useEffect(() => stopAll, []);

  const models = chosenModels(known);
  const messages = draft ?? readPrompt(prompt) ?? source.data?.messages ?? [{ role: "user", content: "" }];
  const item = itemDraft === undefined ? (source.data?.item ?? null) : itemDraft;
  const canAsk = mayWrite.value && models.length > 0 && messages.some((one) => one.content.trim());
  const isRunning = Object.values(answers).some((one) => one.status === "running");

  const commit = (/** @type {Message[]} */ changed) => {
    const written = writePrompt(changed);
    setDraft(written === null ? changed : null);
    setQuery({ prompt: written });
  };
  const forget = () => {
    stopAll();
    round.current += 1;
    running.current = {};
    setAnswers({});
  };
  const pick = (/** @type {any} */ changes) => {
    forget(); // they answer another row, and would be graded by this one
    setDraft(null);
    setItemDraft(undefined);
    setQuery({ prompt: null, rollout: null, ...changes });
  };
  const run = () => {
    forget();
    commit(messages);
    const own = round.current;
    running.current = Object.fromEntries(models.map((model, place) => {
      const key = `${place} ${model}`;
      return [key, ask(model, bodyOf(messages), (answer) => {
        if (own === round.current) setAnswers((old) => ({ ...old, [key]: answer }));
      })];
    }));
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && canAsk) run();
  };

  return html`<div class="bench" onKeyDown=${keys}>
    <div class="bench-side stack">
      <${ModelPicker} models=${models} known=${known.models} />
      <${RowPicker} files=${inOrder(known)} job=${known.job} file=${file} line=${Number(line ?? 1)}
        lines=${source.data?.lines ?? null} error=${source.error} pick=${pick} />
      <${MessageEditor} messages=${messages} edit=${setDraft} commit=${commit} />
      <${Options} />
      <div class="actions"><button type="button" class="primary" disabled=${!canAsk}
        onClick=${run}>Ask ${models.length > 1 ? `all ${models.length}` : ""}</button>
        ${isRunning && html`<button type="button" onClick=${stopAll}>Stop all</button>`}<span
          class="faint">Ctrl + Enter</span></div>
      ${!mayWrite.value && html`<p class="hint">The key of this browser may only read; models answer to one of the scope
        ${" "}write.</p>`}
      <${GraderPicker} own=${known.job} grader=${grader} pick=${setGrader} />
      ${grader && html`<${ItemEditor} row=${place.join()} item=${item} edit=${setItemDraft} />`}
    </div>
    <div class="bench-answers stack">
      ${models.length ? html`<div class="answer-columns">${models.map((model, place) => {
        const key = `${place} ${model}`;
        return html`<${Column} key=${key} model=${model} answer=${answers[key] ?? null} grader=${grader?.definition}
          item=${item} stop=${() => running.current[key]?.stop()}
          remove=${models.length > 1 ? () => choose(models.filter((_, at) => at !== place)) : null} />`;
      })}</div>` : html`<${Empty}
        title="Choose a model"><p>Base models and everything that was trained here can answer.</p></${Empty}>`}
      ${models.length > 0 && html`<${CopyAs} models=${models} body=${bodyOf(messages)} />`}
    </div>
  </div>`;
}

/** The job's grader, as GraderPicker gives it. @param {any} job */
const gradedBy = (job) => (optionsOf(job).grader ? { job: job.id, definition: optionsOf(job).grader } : null);

/**
 * The models in the address; else base and tuned of the job, else a base model and the newest that was trained.
 * @param {{models: string[], job: any}} known
 */
function chosenModels({ models, job }) {
  if (query.value.models !== undefined) return query.value.models.split(",").filter(Boolean);
  if (job) return [job.model, job.fine_tuned_model].filter(Boolean);
  const trained = models.find((name) => name.startsWith("ft:"));
  const base = trained ? models.find((name) => name === trained.split(":")[1]) : undefined;
  return [base ?? models[0], trained].filter((name) => name !== undefined);
}

/** The job's own files first, those that are held out before all. @param {{files: any[], job: any}} known */
function inOrder({ files, job }) {
  const rank = (/** @type {any} */ one) => [job?.validation_file, job?.training_file].indexOf(one.id);
  return [...files].sort((one, other) => (rank(one) < 0 ? 9 : rank(one)) - (rank(other) < 0 ? 9 : rank(other)));
}

/** What is asked, beside the model. @param {Message[]} messages */
function bodyOf(messages) {
  const number = (/** @type {string} */ name) => (name in query.value ? Number(query.value[name]) : undefined);
  return {
    messages,
    n: number("n") === 1 ? undefined : number("n"),
    temperature: number("temperature"),
    max_completion_tokens: number("max_tokens"),
    seed: number("seed"),
  };
}

/** @param {string[]} models */
const choose = (models) => setQuery({ models: models.join(",") });

/** @param {{models: string[], known: string[]}} props */
const ModelPicker = ({ models, known }) => html`<div class="row"><label for="add-model">Models</label>
  <select id="add-model" value=""
    onChange=${(/** @type {any} */ { currentTarget: { value } }) => value && choose([...models, value])}>
    <option value="">${models.length ? "Add one more" : "Choose"} …</option>
    ${known.filter((name) => !models.includes(name)).map((name) => html`<option key=${name}
      value=${name}>${name}</option>`)}</select></div>`;

const OPTIONS = /** @type {[string, string, any, string][]} */ ([
  ["n", "Samples", { min: 1, max: 16, step: 1 }, "1"],
  ["temperature", "Temperature", { min: 0, max: 2, step: 0.1 }, "1"],
  ["max_tokens", "Most tokens", { min: 1, step: 1 }, "all"],
  ["seed", "Seed", { step: 1 }, "any"],
]);

const Options = () => html`<div class="options" role="group" aria-label="Sampling">${OPTIONS.map(
  ([name, title, limits, empty]) => html`<${Field} label=${title} for=${`option-${name}`}><input id=${`option-${name}`}
    type="number" ...${limits} placeholder=${empty}
    value=${query.value[name] ?? ""} onChange=${(/** @type {any} */ { currentTarget: input }) =>
      input.reportValidity() && setQuery({ [name]: input.value })} /></${Field}>`,
)}</div>`;

/** The same as code. @param {{models: string[], body: any}} props */
function CopyAs({ models, body }) {
  const script = `${pythonClient()}
for model in ${python(models)}:
    answer = client.chat.completions.create(
        model=model,
${keywords(body, 8)}    )
    for choice in answer.choices:
        print(model, choice.message.content, sep="\\n", end="\\n\\n")
`;
  const asked = models.map((model) => curl("/v1/chat/completions", { model, ...body })).join("\n\n");
  return html`<${Section} title="Copy as"><details><summary>Python</summary><${Code} label="Python"
    text=${script} /></details>
    <details><summary>curl</summary><${Code} label="curl"
      text=${asked} /></details></${Section}>`;
}
