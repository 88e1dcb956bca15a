// @ts-check
/** The charts of a job's first page: what each shows, from which metrics. OpenAI's six first, then whether there is a signal. */
import { isNumber, number } from "../core/format.js";

/** @typedef {import("../core/series.js").Points} Points */
/** @typedef {Record<string, Points>} SeriesByName */
/**
 * A chart of the page. One that is optional is left out where it has nothing to show.
 * @typedef {Omit<Partial<import("./chart.js").ChartProps>, "series"> &
 *   {id: string, title: string, series: any[], isOptional?: boolean}} ChartSpec
 */

/** Kinds of failed grades, as in grade/errors/… */
const ERRORS = [
  "python_grader_runtime_error", "python_grader_server_error", "model_grader_server_error", "model_grader_refusal_error",
  "model_grader_parse_error", "invalid_variable_error", "sample_parse_error", "unresponsive_reward_error",
  "truncated_observation_error", "other_error",
];
const MOST_PARTS = 8; // of a multi grader; there are as many colours
const SECONDS = ["sampling", "grading", "waiting", "update", "other", "evaluation"];
const NAMES = [
  "reward/mean", "reward/std", "reward/within_group_std", "valid/reward_mean", "valid/reward_low", "valid/reward_high",
  "valid/monitor_mean", "valid/monitor_low", "valid/monitor_high",
  "groups/all_pass_share", "groups/all_fail_share", "rollout/completion_tokens_mean", "rollout/completion_tokens_p99",
  "valid/completion_tokens_mean", "rollout/truncated_share", "valid/truncated_share", "rollout/staleness_max", "grade/prompt_tokens",
  "grade/completion_tokens", "time/grade_seconds_mean", "time/grade_seconds_p95", "policy/entropy", "policy/kl_to_reference",
  "policy/k3_to_sampler", "policy/mismatch_max_abs", "policy/clipped_share", "optimizer/gradient_norm", "train/loss",
  "train/token_accuracy", "valid/loss", "valid/token_accuracy", "optimizer/learning_rate", "optimizer/relative_update", "train/tokens",
  "time/step_seconds", "time/record_seconds", "time/grader_outage_seconds", "time/spent_minutes", "spent/tokens",
  "spent/grader_cost", "budget/minutes", "budget/tokens", "budget/grader_cost",
  ...SECONDS.map((part) => `time/${part}_seconds`), ...ERRORS.map((kind) => `grade/errors/${kind}`),
];

/** The parts of a multi grader. @param {any} job @returns {string[]} */
export function partsOf(job) {
  const grader = job?.method?.reinforcement?.grader;
  return grader?.type === "multi" ? Object.keys(grader.graders ?? {}) : [];
}

/** Every metric that the first page shows. @param {any} job */
export const namesOf = (job) => [...NAMES, ...partsOf(job).slice(0, MOST_PARTS).map((part) => `grade/${part}/mean`)];

/**
 * @param {SeriesByName} series
 * @param {any[]} told the job's metrics events: of validations by part and of reasoning tokens only they tell
 * @param {any} job
 * @returns {ChartSpec[]}
 */
export function openaiCharts(series, told, job) {
  const line = lineOf(series);
  const rewards = [
    line("reward/mean", "Train"),
    { ...line("valid/reward_mean", "Validation"), ...intervalOf(series, "valid/reward"), kind: "dots" },
    { ...line("valid/monitor_mean", "Monitor grader"), ...intervalOf(series, "valid/monitor"), kind: "dots" },
  ].filter((one) => one.steps.length);
  return [
    {
      id: "chart-reward", title: "Reward", unit: "reward", series: rewards, range: unitRange(rewards), baseline: baselineOf(series),
      note: "Each step trains on other prompts, so single training values cannot be compared; validation is always the same rows, with 95 % intervals.",
    },
    ...graderChart(series, told, job),
    {
      id: "chart-tokens", title: "Reasoning and completion tokens", unit: "tokens",
      series: [
        line("rollout/completion_tokens_mean", "Completion, mean"), line("rollout/completion_tokens_p99", "Completion, p99"),
        { ...fromEvents(told, "reasoning_tokens_mean", "Reasoning, mean"), color: 3 },
        { ...line("valid/completion_tokens_mean", "Validation, mean"), kind: "dots", color: 4 },
      ],
      note: `Answers that grow while validation stays flat are paid for their length.${sinceOf(told, "Reasoning")}`,
    },
    { id: "chart-grading-tokens", title: "Grading token usage", unit: "tokens", isOptional: true,
      series: [line("grade/prompt_tokens", "Prompt"), line("grade/completion_tokens", "Completion")].filter(hasSome) },
    { id: "chart-grading", title: "Grading latency", unit: "seconds",
      series: [line("time/grade_seconds_mean", "Mean"), line("time/grade_seconds_p95", "p95")] },
    { id: "chart-duration", title: "Per step duration", unit: "seconds", stacked: true,
      series: SECONDS.map((part) => line(`time/${part}_seconds`, { grading: "Grading in the loop", waiting: "Waiting for grades" }[part] ?? capital(part))).filter(hasSome) },
    { id: "chart-errors", title: "Errors", unit: "number", stacked: true, isOptional: true,
      series: ERRORS.map((kind) => line(`grade/errors/${kind}`, capital(kind.replace(/_error$/, "").replace(/_/g, " ")))).filter(hasSome),
      note: "Grades of a step that failed, by kind. A failed grade is no zero: it is left out." },
  ];
}

/** @param {SeriesByName} series @returns {ChartSpec[]} whether there is something to learn from, and whether the update is sound */
export function signalCharts(series) {
  const line = lineOf(series);
  const age = series["rollout/staleness_max"]?.values.at(-1);
  return [
    { id: "chart-groups", title: "Groups: all fail, mixed, all pass", unit: "share", stacked: true, range: [0, 1], series: groupSplit(series),
      note: "Only mixed groups teach. Many all-pass groups late in a good run mean mastery, not failure." },
    { id: "chart-std", title: "Reward spread", unit: "reward",
      series: [line("reward/within_group_std", "Within a group"), line("reward/std", "All rollouts")],
      note: "Advantages are made of the spread within a group; at 0 there is nothing to learn." },
    { id: "chart-truncated", title: "Truncated and clipped", unit: "share", series: [
      line("rollout/truncated_share", "Truncated rollouts"), { ...line("valid/truncated_share", "Truncated, validation"), kind: "dots" },
      line("policy/clipped_share", "Clipped tokens") ] },
    { id: "chart-entropy", title: "Entropy", unit: "number", series: [line("policy/entropy", "Nats per token")],
      note: "Falls as the policy becomes sure. Near 0 with a flat reward, it has stopped exploring." },
    { id: "chart-kl", title: "KL and sampler-trainer mismatch", unit: "number", series: [
      line("policy/kl_to_reference", "KL to reference"), line("policy/k3_to_sampler", "KL to sampler"), line("policy/mismatch_max_abs", "Largest mismatch") ],
      note: `Without kl_beta, KL only informs.${isNumber(age) ? ` Rollouts are at most ${number(age)} updates old; 0 is on-policy.` : ""}` },
    { id: "chart-gradient", title: "Gradient norm", unit: "number", series: [line("optimizer/gradient_norm", "Before clipping")],
      note: "The loss is left out on purpose: in reinforcement it starts near 0 and measures no progress." },
  ];
}

/** @param {SeriesByName} series @returns {ChartSpec[]} of a supervised job */
export function supervisedCharts(series) {
  const line = lineOf(series);
  const base = series["valid/loss"];
  return [
    { id: "chart-loss", title: "Loss", unit: "number", series: [line("train/loss", "Train"), { ...line("valid/loss", "Validation"), kind: "dots" }],
      baseline: base?.steps[0] === 0 && isNumber(base.values[0]) ? { value: base.values[0], label: "base" } : null,
      note: "Validation is always the same rows. When it rises while training falls, the model learns the rows by heart." },
    { id: "chart-accuracy", title: "Token accuracy", unit: "share", range: [0, 1],
      series: [line("train/token_accuracy", "Train"), { ...line("valid/token_accuracy", "Validation"), kind: "dots" }] },
    { id: "chart-gradient", title: "Gradient norm", unit: "number", series: [line("optimizer/gradient_norm", "Before clipping")] },
    { id: "chart-rate", title: "Learning rate", unit: "number", series: [{ ...line("optimizer/learning_rate", "Of the step"), smooth: false }] },
    { id: "chart-update", title: "Relative update", unit: "number", series: [line("optimizer/relative_update", "‖Δw‖ / ‖w‖")] },
    { id: "chart-duration", title: "Per step duration", unit: "seconds", stacked: true,
      series: ["update", "other", "evaluation"].map((part) => line(`time/${part}_seconds`, capital(part))) },
  ];
}

/** The validation of the base, as a dashed line. @param {SeriesByName} series */
export function baselineOf(series) {
  const valid = series["valid/reward_mean"];
  return valid?.steps[0] === 0 && isNumber(valid.values[0]) ? { value: valid.values[0], label: "base" } : null;
}

/** @param {SeriesByName} series */
const lineOf = (series) => (/** @type {string} */ name, /** @type {string} */ label) => ({ name, label, ...(series[name] ?? { steps: [], values: [] }) });

/** @param {SeriesByName} series @param {string} stem */
function intervalOf(series, stem) {
  const [mean, low, high] = ["mean", "low", "high"].map((end) => series[`${stem}_${end}`]);
  if (!mean || !low || !high || low.steps.length !== mean.steps.length) return { low: undefined, high: undefined };
  return { low: low.values, high: high.values };
}

/** Of a very long run only the newest events are here, and what only they tell begins late. @param {any[]} told @param {string} what */
const sinceOf = (told, what) => (told[0]?.step > 1 ? ` ${what} is shown from step ${told[0].step} on.` : "");

/** One line for each part of a multi grader, and its validation, which only events tell. @param {SeriesByName} series @param {any[]} told @param {any} job */
function graderChart(series, told, job) {
  const parts = partsOf(job);
  if (!parts.length) return [];
  const shown = parts.slice(0, MOST_PARTS).flatMap((part, place) => [
    { ...lineOf(series)(`grade/${part}/mean`, part), color: place + 1 },
    { ...validOf(told, part), kind: "dots", color: place + 1 },
  ]);
  return [{ id: "chart-graders", title: "Reward by grader", unit: /** @type {const} */ ("reward"), series: shown, range: unitRange(shown),
    note: `One grader that rises while another falls is being played.${parts.length > MOST_PARTS ? ` The first ${MOST_PARTS} of ${parts.length}.` : ""}${sinceOf(told, "Validation")}` }];
}

/** @param {any[]} told @param {string} part */
function validOf(told, part) {
  const points = told.map((data) => [data.step, data.scores?.graders?.find((/** @type {any} */ one) => one.name === part)?.valid_reward_mean])
    .filter(([, value]) => isNumber(value));
  return { name: `valid ${part}`, label: `${part}, validation`, steps: points.map(([step]) => step), values: points.map(([, value]) => value) };
}

/** @param {any[]} told @param {string} key @param {string} label */
function fromEvents(told, key, label) {
  const points = told.filter((data) => isNumber(data[key]));
  return { name: key, label, steps: points.map((data) => data.step), values: points.map((data) => data[key]) };
}

/** @param {SeriesByName} series */
function groupSplit(series) {
  const [fail, pass] = [series["groups/all_fail_share"], series["groups/all_pass_share"]];
  if (!fail || !pass || fail.steps.length !== pass.steps.length) return [];
  const mixed = fail.values.map((value, place) => (isNumber(value) && isNumber(pass.values[place]) ? Math.max(0, 1 - value - Number(pass.values[place])) : null));
  return [
    { name: "groups/all_fail_share", label: "All fail", steps: fail.steps, values: fail.values, color: 2 },
    { name: "mixed", label: "Mixed", steps: fail.steps, values: mixed, color: 3 },
    { name: "groups/all_pass_share", label: "All pass", steps: pass.steps, values: pass.values, color: 1 },
  ];
}

/** Scores of the usual range are always drawn on it, so that runs look alike. @param {any[]} series @returns {[number, number]|undefined} */
function unitRange(series) {
  const values = series.flatMap((one) => [...one.values, ...(one.low ?? []), ...(one.high ?? [])]).filter(isNumber);
  return values.every((value) => value >= 0 && value <= 1) ? [0, 1] : undefined;
}

/** @param {{values: any[]}} series */
const hasSome = (series) => series.values.some((value) => value > 0);

/** @param {string} text */
const capital = (text) => text[0].toUpperCase() + text.slice(1);
