// @ts-check
/** A report, or a comparison of two passes, in one form: of rewards (more is better) and of losses (less is better). */
import { interval, number, reward } from "../core/format.js";

/**
 * @typedef {{low: number, high: number}} Interval
 * @typedef {{mean: number|null, interval: Interval|null}} Mean
 * @typedef {{group: string, label: string, note?: string, base: Mean, tuned: Mean, change: Mean, p: number|null,
 *   pHolm?: number|null,
 *   wins: number, ties: number, losses: number, rows: number, isMain?: boolean}} Line
 * @typedef {{index: number, line: number, prompt: string, base: number, tuned: number, change: number, isWorse:
 *   boolean, isBetter: boolean,
 *   whole: any}} Row
 */

/**
 * @param {any} report
 * @returns {{isLoss: boolean, outcome: string, sentence: string, notes: string[], base: any, tuned: any, main:
 *   Line|null,
 *   claimed: Mean|null, optimism: number, lines: Line[], rows: Row[], rowsLeftOut: number,
 *   show: (value: number|null|undefined) => string}}
 */
export function figuresOf(report) {
  const isLoss = report.kind === "loss";
  const lines = isLoss ? lossLines(report) : scoreLines(report);
  const [base, tuned] = report.arms;
  const selection = report.selection ?? {};
  const claimed = isLoss ? report.paired : "difference" in selection ? selection.difference : lines[0]?.change;
  return {
    isLoss,
    outcome: report.outcome,
    sentence: report.sentence,
    notes: report.notes ?? [],
    base,
    tuned,
    main: lines[0] ?? null,
    claimed: claimed ? { mean: claimed.mean, interval: claimed.interval } : null,
    optimism: selection.optimism ?? 0,
    lines,
    rows: report.rows.map((/** @type {any} */ row) => rowOf(row, isLoss)),
    rowsLeftOut: report.num_rows_left_out,
    show: isLoss ? number : reward,
  };
}

/** 0.62 [0.50, 0.73]. @param {Mean|null|undefined} mean @param {boolean} isLoss */
export function meanText(mean, isLoss) {
  if (!mean) return "–";
  const { low, high } = mean.interval ?? {};
  if (!isLoss) return interval(mean.mean, low, high);
  return mean.interval ? `${number(mean.mean)} [${number(low)}, ${number(high)}]` : number(mean.mean);
}

/** p < 0.001. @param {number|null|undefined} p */
export const pText = (p) => (typeof p !== "number" ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));

/** @param {any} report @returns {Line[]} */
function scoreLines(report) {
  const titles = /** @type {Record<string, string>} */ ({ sampled: "sampled as in training", greedy: "greedy" });
  const lines = report.comparisons.map((/** @type {any} */ one, /** @type {number} */ place) =>
    lineOf("Overall", one.metric, one, { note: titles[one.mode], isMain: place === 0 }));
  for (const one of report.slices ?? []) {
    const more = { note: `${one.num_rows} rows`, pHolm: one.p_value_holm };
    lines.push(lineOf(`By ${one.key}`, one.value, one.comparison, more));
  }
  for (const one of report.tries ?? []) {
    const label = one.comparison.metric === "pass@k" ? `pass@${one.k}` : `best of ${one.k}`;
    lines.push(lineOf("Several tries", label, one.comparison, {}));
  }
  const clean = report.leakage?.without;
  if (clean) lines.push(lineOf("Checks", "without rows that are trained on", clean, {}));
  const opinion = { note: "a second opinion, never trained on" };
  if (report.monitor) lines.push(lineOf("Checks", "by the monitor grader", report.monitor, opinion));
  return lines;
}

/** @param {string} group @param {string} label @param {any} comparison @param {any} more @returns {Line} */
function lineOf(group, label, comparison, more) {
  const paired = comparison.paired;
  return {
    group,
    label,
    base: { mean: comparison.base_mean, interval: comparison.base_interval },
    tuned: { mean: comparison.tuned_mean, interval: comparison.tuned_interval },
    change: { mean: paired?.mean ?? null, interval: paired?.interval ?? null },
    ...countsOf(paired),
    ...more,
  };
}

/** @param {any} report @returns {Line[]} */
function lossLines(report) {
  if (report.arms.length < 2) return [];
  const [base, tuned] = report.arms;
  return [{
    group: "Overall",
    label: "loss per token",
    note: "mean over rows",
    base: { mean: base.loss, interval: null },
    tuned: { mean: tuned.loss, interval: null },
    change: { mean: report.paired?.mean ?? null, interval: report.paired?.interval ?? null },
    ...countsOf(report.paired),
    isMain: true,
  }];
}

/** @param {any} paired */
const countsOf = (paired) => ({
  p: paired?.p_value ?? null,
  wins: paired?.wins ?? 0,
  ties: paired?.ties ?? 0,
  losses: paired?.losses ?? 0,
  rows: paired?.num_examples ?? 0,
});

/** @param {any} row @param {boolean} isLoss @returns {Row} */
function rowOf(row, isLoss) {
  const change = row.difference;
  return {
    index: row.index,
    line: row.line,
    prompt: row.prompt_text,
    base: isLoss ? row.base_loss : row.base_mean,
    tuned: isLoss ? row.tuned_loss : row.tuned_mean,
    change,
    isWorse: isLoss ? change > 1e-9 : change < -1e-9,
    isBetter: isLoss ? change < -1e-9 : change > 1e-9,
    whole: row,
  };
}
