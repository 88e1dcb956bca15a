// @ts-check
/** Graders to begin with, and what can be written inside one. */

/** @typedef {import("./grader_problems.js").Keys} Keys */

const ANSWERS = ["answer", "reference_answer", "reference", "solution", "label", "target", "expected"];

/** The row's key that most likely holds the right answer. @param {Keys|null} keys */
export function answerKey(keys) {
  const names = Object.keys(keys ?? {}).filter((name) => !["messages", "tools", "parallel_tool_calls"].includes(name));
  return names.find((name) => ANSWERS.includes(name)) ?? names[0] ?? "answer";
}

/**
 * A grader of each type that works on these rows once its blanks are filled in.
 * @param {string} type
 * @param {Keys|null} keys
 * @returns {any}
 */
export function startOf(type, keys) {
  const reference = `{{item.${answerKey(keys)}}}`;
  const input = "{{sample.output_text}}";
  const question = [
    { role: "system", content: "Give 1 when the answer means the same as the reference, else 0." },
    { role: "user", content: `Reference: ${reference}\nAnswer: ${input}` },
  ];
  switch (type) {
    case "string_check":
      return { type, name: "exact", input, reference, operation: "eq" };
    case "text_similarity":
      return { type, name: "close", input, reference, evaluation_metric: "fuzzy_match" };
    case "python":
      return { type, name: "mine", source: sourceOf(answerKey(keys)) };
    case "score_model":
      return { type, name: "judge", model: "", input: question, range: [0, 1] };
    case "label_model":
      return { type, name: "judge", model: "", input: [{ role: "user", content: `Is this answer polite?\n\n${input}` }],
        labels: ["polite", "neutral", "rude"], passing_labels: ["polite", "neutral"] };
    case "endpoint":
      return { type, name: "service", url: "https://example.com/grade" };
    case "multi":
      return { type, name: "score", graders: {
        exact: { type: "string_check", input, reference, operation: "eq" },
        close: { type: "text_similarity", input, reference, evaluation_metric: "rouge_l" },
      }, calculate_output: "0.8 * exact + 0.2 * close" };
    default:
      return { type };
  }
}

/** @param {string} key */
const sourceOf = (key) => `def grade(sample, item):
    """A number: how good the answer is, mostly from 0 to 1. What is printed is kept with the grade."""
    answer = sample["output_text"].strip()
    return 1.0 if answer == str(item["${key}"]) else 0.0
`;

/** What a sample has, for completion. @type {[string, string][]} */
const SAMPLE = [
  ["output_text", "the whole answer"],
  ["output_json", "the answer read as JSON"],
  ["output_tools", "tool calls"],
  ["choices", "the answer as chat choices"],
  ["model", "name of the model"],
];

/**
 * Variables as text fields insert them.
 * @param {Keys|null} keys
 * @returns {{label: string, detail: string}[]}
 */
export const variables = (keys) => [
  ...Object.keys(keys ?? {}).map((key) => ({ label: `item.${key}`, detail: "of the row" })),
  ...SAMPLE.map(([name, detail]) => ({ label: `sample.${name}`, detail })),
];

/**
 * Completion inside JSON: variables within `{{`.
 * @param {Keys|null} keys
 * @returns {(before: string) => {from: number, options: any[]}|null}
 */
export const completeJson = (keys) => (before) => {
  const match = /\{\{\s*([\w.]*)$/.exec(before);
  if (!match) return null;
  return {
    from: before.length - match[1].length,
    options: variables(keys).map((one) => ({ ...one, type: "variable", apply: `${one.label}}}` })),
  };
};

/**
 * Completion inside Python: keys of the row and of the sample.
 * @param {Keys|null} keys
 * @returns {(before: string) => {from: number, options: any[]}|null}
 */
export const completePython = (keys) => (before) => {
  const match = /\b(item|sample)(\[["']|\.get\(["'])(\w*)$/.exec(before);
  if (!match) return null;
  const close = match[2].startsWith("[") ? `${match[2].slice(-1)}]` : match[2].slice(-1);
  const names = match[1] === "item" ? Object.keys(keys ?? {}).map((key) => [key, "of the row"]) : SAMPLE;
  return {
    from: before.length - match[3].length,
    options: names.map(([label, detail]) => ({ label, detail, type: "property", apply: label + close })),
  };
};
