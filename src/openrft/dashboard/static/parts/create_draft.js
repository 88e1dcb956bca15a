// @ts-check
/** A job that is being written: kept in this browser until it is created, and what is sent of it. */
import { useEffect, useState } from "preact/hooks";
import { get } from "../core/api.js";

/**
 * @typedef {Object} Draft
 * @property {"reinforcement"|"supervised"} method
 * @property {string} model
 * @property {string} training_file id
 * @property {string} validation_file id
 * @property {string} test_file id
 * @property {string} grader JSON text; "" for none
 * @property {string} monitor_grader JSON text
 * @property {string} response_format JSON text
 * @property {Record<string, string>} hyperparameters as typed; what is not typed is not sent
 * @property {string} suffix
 * @property {string} seed
 * @property {[string, string][]} metadata
 * @property {string} integrations JSON text
 */

/** @typedef {Record<string, string>} Wrong what is wrong, by the field's path in the request */

const KEY = "openrft-new-job";

/** @type {Draft} */
export const EMPTY = {
  method: "reinforcement", model: "", training_file: "", validation_file: "", test_file: "", grader: "", monitor_grader: "",
  response_format: "", hyperparameters: {}, suffix: "", seed: "", metadata: [], integrations: "",
};

/**
 * The draft of this browser; what changes is kept at once.
 * @returns {[Draft, (changes: Partial<Draft>) => void, () => void]} the draft, a way to change it, and one to begin anew
 */
export function useDraft() {
  const [draft, setDraft] = useState(kept);
  useEffect(() => keepDraft(draft), [draft]);
  const change = (/** @type {Partial<Draft>} */ changes) => setDraft((old) => ({ ...old, ...changes }));
  const clear = () => {
    keepDraft(EMPTY); // at once: who leaves the page now sees no effect run any more
    setDraft(EMPTY);
  };
  return [draft, change, clear];
}

/** What the form begins with when it is opened next. @param {Draft} draft */
export function keepDraft(draft) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(draft));
  } catch {
    // Without room for it the draft lives as long as the page.
  }
}

/** @returns {Draft} */
function kept() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    return found && typeof found === "object" ? { ...EMPTY, ...found } : EMPTY;
  } catch {
    return EMPTY;
  }
}

/**
 * What is sent for a draft, and what keeps it from being sent, by field.
 * @param {Draft} draft
 * @param {Record<string, any>} schemas of the methods' hyperparameters
 * @returns {{body: any, wrong: Wrong}}
 */
export function bodyOf(draft, schemas) {
  /** @type {Wrong} */
  const wrong = {};
  const where = `method.${draft.method}`;
  const json = (/** @type {string} */ text, /** @type {string} */ path) => {
    try {
      return text.trim() ? JSON.parse(text) : undefined;
    } catch (error) {
      wrong[path] = `This is not JSON: ${/** @type {Error} */ (error).message}`;
      return undefined;
    }
  };
  const properties = schemas[draft.method]?.properties ?? {};
  /** @type {Record<string, any>} */
  const hyperparameters = {};
  for (const [name, text] of Object.entries(draft.hyperparameters)) {
    if (text.trim() !== "" && name in properties) hyperparameters[name] = valueOf(text, properties[name]);
  }
  if (draft.test_file) hyperparameters.test_file = draft.test_file;
  /** @type {Record<string, any>} */
  const options = { grader: json(draft.grader, `${where}.grader`) };
  if (draft.method === "reinforcement") {
    options.monitor_grader = json(draft.monitor_grader, `${where}.monitor_grader`);
    options.response_format = json(draft.response_format, `${where}.response_format`);
  }
  if (Object.keys(hyperparameters).length) options.hyperparameters = hyperparameters;
  const metadata = draft.metadata.filter(([key]) => key !== "");
  const body = {
    model: draft.model,
    training_file: draft.training_file,
    validation_file: draft.validation_file || undefined,
    suffix: draft.suffix || undefined,
    seed: draft.seed.trim() === "" ? undefined : plainNumber(draft.seed),
    method: { type: draft.method, [draft.method]: options },
    metadata: metadata.length ? Object.fromEntries(metadata) : undefined,
    integrations: json(draft.integrations, "integrations"),
  };
  if (!draft.model) wrong.model = "Choose a model.";
  if (!draft.training_file) wrong.training_file = "Choose a file to train on.";
  if (draft.method === "reinforcement") {
    if (!draft.validation_file) wrong.validation_file = "A reinforcement job is watched on rows that it does not train on: choose a second file.";
    if (!draft.grader.trim()) wrong[`${where}.grader`] = "Write a grader: it says how good an answer is.";
  }
  return { body: JSON.parse(JSON.stringify(body)), wrong };
}

/**
 * The draft that would create an existing job again, with "auto" where that job had it.
 * @param {string} id
 * @returns {Promise<Draft>}
 */
export async function draftOf(id) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
  const [job, settings] = await Promise.all([get(path), get(`${path}/settings`)]);
  const method = job.method?.type ?? "supervised";
  const options = job.method?.[method] ?? {};
  const { test_file: testFile, ...asked } = settings.asked ?? {};
  const integrations = (job.integrations ?? []).map((/** @type {any} */ one) =>
    one.type === "wandb" ? { ...one, wandb: { ...one.wandb, run_id: undefined } } : one);
  const typed = Object.entries(asked).filter(([, value]) => !isUnsaid(value));
  return {
    ...EMPTY,
    method,
    model: job.model,
    training_file: job.training_file,
    validation_file: job.validation_file ?? "",
    test_file: testFile ?? "",
    grader: written(options.grader),
    monitor_grader: written(options.monitor_grader),
    response_format: written(options.response_format),
    hyperparameters: Object.fromEntries(typed.map(([name, value]) => [name, textOf(value)])),
    suffix: job.user_provided_suffix ?? "",
    seed: String(job.seed ?? ""),
    metadata: Object.entries(job.metadata ?? {}),
    integrations: integrations.length ? written(integrations) : "",
  };
}

/** @param {any} value */
const isUnsaid = (value) => value === "auto" || value === "default" || value === null || (Array.isArray(value) && value.length === 0);

/** @param {any} value */
const written = (value) => (value === null || value === undefined ? "" : `${JSON.stringify(value, null, 2)}\n`);

/** @param {any} value */
const textOf = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/**
 * What was typed for a hyperparameter, as its schema has it; what cannot be that is sent as it is, for the server to say.
 * @param {string} text
 * @param {any} schema
 */
function valueOf(text, schema) {
  const kinds = (schema.anyOf ?? [schema]).map((/** @type {any} */ one) => one.type);
  const plain = text.trim();
  if (kinds.includes("boolean") && (plain === "true" || plain === "false")) return plain === "true";
  if (kinds.includes("number") || kinds.includes("integer")) return plainNumber(plain);
  if (kinds.includes("array")) {
    try {
      return JSON.parse(plain);
    } catch {
      return [text];
    }
  }
  return plain;
}

/** @param {string} text */
const plainNumber = (text) => (Number.isFinite(Number(text)) && text.trim() !== "" ? Number(text) : text);
