// @ts-check
/** What two or more configurations say differently, key by key. */

/** @typedef {Record<string, string>} Flat keys with dots, and their values as text */

/**
 * Nested keys as one level: {"grader.graders.exact.type": "string_check"}.
 * @param {any} value
 * @param {string} [path]
 * @param {Flat} [into]
 * @returns {Flat}
 */
export function flattened(value, path = "", into = {}) {
  if (value === null || value === undefined) return into;
  if (typeof value !== "object") {
    into[path] = typeof value === "string" ? value : JSON.stringify(value);
    return into;
  }
  for (const [key, one] of Object.entries(value)) flattened(one, path ? `${path}.${key}` : key, into);
  return into;
}

/**
 * The keys whose values are not the same everywhere, in the order in which they first appear.
 * @param {Flat[]} configurations
 * @returns {{key: string, values: (string|undefined)[]}[]}
 */
export function differences(configurations) {
  const keys = [...new Set(configurations.flatMap((one) => Object.keys(one)))];
  return keys.map((key) => ({ key, values: configurations.map((one) => one[key]) }))
    .filter(({ values }) => new Set(values).size > 1);
}

/**
 * What decides how a job turns out: files by name, and options as they were resolved.
 * @param {any} summary
 * @param {any} settings the job's `settings`, or null
 * @returns {Flat}
 */
export function configurationOf(summary, settings) {
  const { job } = summary;
  const kind = job.method?.type ?? "supervised";
  const { hyperparameters, ...rest } = job.method?.[kind] ?? {};
  return flattened({
    model: job.model,
    method: kind,
    training_file: summary.training_file_name ?? job.training_file,
    validation_file: summary.validation_file_name ?? job.validation_file,
    seed: job.seed,
    ...rest,
    hyperparameters: { ...hyperparameters, ...settings?.resolved },
    metadata: job.metadata,
  });
}
