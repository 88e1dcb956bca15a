// @ts-check
/** What failed while grading, grouped: the same fault is told once, with how often it happened and where. */
import { all } from "../core/api.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Busy, Problem, Section } from "./elements.js";
import { Line, Text } from "./text.js";

const MOST_READ = 600; // rollouts

/**
 * @typedef {{kind: string, grader: string, line: string, message: string, count: number, first: any, last: any}} Failure
 */

/** @param {{id: string, told: any[]}} props `told`: the job's events */
export function GraderFailures({ id, told }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/rollouts`;
  const found = useLoad(() => all(path, { errored: true }, MOST_READ), [path]);
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return html`<${Busy} what="Looking for grades that failed" />`;
  const failures = groupedFailures(found.data);
  const events = told.filter((event) => /Traceback|_error: /.test(event.message));
  if (!failures.length && !events.length) return null;
  const read = found.data.length >= MOST_READ ? `Of the newest ${MOST_READ} rollouts whose grading failed.` : "A failed grade is no zero: it is left out of training.";
  return html`<${Section} title="What failed while grading" note=${read} id="grader-failures">
    ${failures.map((one) => html`<details class="failure-group" data-count=${one.count} open=${failures.length === 1}>
      <summary><b>${one.count} ×</b> <code><${Line} text=${one.line} most=${160} /></code> <span class="faint">${one.kind.replace(/_/g, " ")}, grader <${Line} text=${one.grader} most=${40} /></span></summary>
      <${Text} text=${one.message} most=${3000} label="Traceback" />
      <p class="evidence"><a href=${`/finetune/${id}/rollouts/${one.first.id}`}>First, step ${one.first.step}</a> <a href=${`/finetune/${id}/rollouts/${one.last.id}`}>Latest, step ${one.last.step}</a>
        <a href=${`/finetune/${id}/rollouts?view=run&errored=true`}>All of them</a></p>
    </details>`)}
    ${!failures.length && groupedMessages(events).map((one) => html`<details class="failure-group" data-count=${one.count} open>
      <summary><b>${one.count} ×</b> <code><${Line} text=${one.line} most=${160} /></code></summary><${Text} text=${one.message} most=${3000} label="Traceback" /></details>`)}
  </${Section}>`;
}

/** @param {any[]} rollouts newest first @returns {Failure[]} the most frequent first */
function groupedFailures(rollouts) {
  /** @type {Map<string, Failure>} */
  const groups = new Map();
  for (const rollout of rollouts) {
    for (const { error, grader } of failuresIn(rollout.grade)) {
      const line = lastLine(error.message ?? "");
      const key = JSON.stringify([error.kind, grader, line]);
      const group = groups.get(key) ?? { kind: error.kind, grader, line, message: error.message ?? "", count: 0, first: rollout, last: rollout };
      groups.set(key, { ...group, count: group.count + 1, first: rollout.step < group.first.step ? rollout : group.first });
    }
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

/** Of a grade: those of its parts where parts failed, for the whole only repeats them. @param {any} grade @returns {{error: any, grader: string}[]} */
function failuresIn(grade) {
  const parts = Object.values(grade?.sub_grades ?? {}).flatMap(failuresIn);
  if (parts.length) return parts;
  const error = grade?.error ?? grade?.replaced;
  return error ? [{ error, grader: grade.grader ?? "" }] : [];
}

/** @param {any[]} events */
function groupedMessages(events) {
  /** @type {Map<string, {line: string, message: string, count: number}>} */
  const groups = new Map();
  for (const { message } of events) {
    const line = lastLine(message);
    const group = groups.get(line) ?? { line, message, count: 0 };
    groups.set(line, { ...group, count: group.count + 1 });
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

/** The line of a traceback that says what was wrong. @param {string} message */
const lastLine = (message) => message.trimEnd().split("\n").at(-1)?.trim() ?? "";
