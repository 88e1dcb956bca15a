// @ts-check
/**
 * A person's own scores beside a grader's. Some rollouts of a job, of every height of reward, are scored without seeing
 * what the grader said; then it is computed here how far the two agree. The labels stay in this browser.
 */
import { useEffect, useMemo, useState } from "preact/hooks";
import { all } from "../core/api.js";
import { confusion, meanDifference, rankCorrelation } from "../core/agreement.js";
import { number, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Busy, Empty, Problem } from "./elements.js";
import { Messages, Text } from "./text.js";

const WANTED = 20; // rollouts to label; ten say something, thirty are tedious
const HEIGHTS = 5; // of rewards, from the lowest to the highest

/** @typedef {Record<string, number>} Labels own scores by rollout id */

/**
 * The labels of a job in this browser.
 * @param {string} jobId
 * @returns {[Labels, (labels: Labels) => void]}
 */
function useLabels(jobId) {
  const key = `openrft-labels-${jobId}`;
  const [labels, setLabels] = useState(/** @returns {Labels} */ () => {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "{}");
    } catch {
      return {};
    }
  });
  useEffect(() => localStorage.setItem(key, JSON.stringify(labels)), [labels]);
  return [labels, setLabels];
}

/**
 * Some of the rollouts, of every height of reward although most may be alike, in an order that says nothing about it.
 * @param {any[]} rollouts @param {number} wanted
 */
export function spread(rollouts, wanted) {
  const graded = rollouts.filter((one) => typeof one.grade.score === "number");
  const scores = graded.map((one) => one.grade.score);
  const lowest = Math.min(...scores);
  const width = Math.max(...scores) - lowest || 1;
  /** @type {any[][]} */
  const heights = Array.from({ length: HEIGHTS }, () => []);
  for (const one of graded) heights[Math.min(HEIGHTS - 1, Math.floor((HEIGHTS * (one.grade.score - lowest)) / width))].push(one);
  for (const some of heights) some.sort((a, b) => scrambled(a.id) - scrambled(b.id));
  const picked = [];
  for (let round = 0; picked.length < Math.min(wanted, graded.length); round += 1) {
    picked.push(...heights.flatMap((some) => some.slice(round, round + 1)));
  }
  return picked.slice(0, wanted).sort((a, b) => scrambled(b.id) - scrambled(a.id));
}

/** @param {string} text */
const scrambled = (text) => [...text].reduce((sum, letter) => Math.imul(sum ^ letter.charCodeAt(0), 16777619) >>> 0, 2166136261);

/** @param {{jobId: string, threshold: number}} props */
export function Calibration({ jobId, threshold: ofGrader }) {
  const [labels, setLabels] = useLabels(jobId);
  const [threshold, setThreshold] = useState(ofGrader);
  const rollouts = useLoad(() => all(`/v1/fine_tuning/jobs/${jobId}/rollouts`, { limit: 200 }, 400), [jobId]);
  const some = useMemo(() => spread(rollouts.data ?? [], WANTED), [rollouts.data]);
  if (rollouts.error) return html`<${Problem} error=${rollouts.error} retry=${rollouts.again} />`;
  if (!rollouts.data) return html`<${Busy} />`;
  if (!some.length) return html`<${Empty} title="Nothing to score yet">
    <p>Once the job has sampled some answers they stand here.</p></${Empty}>`;
  const known = new Map(rollouts.data.map((one) => [one.id, one]));
  const labelled = Object.keys(labels).filter((id) => known.has(id));
  const set = (/** @type {string} */ id, /** @type {string} */ text) => {
    const { [id]: _, ...rest } = labels;
    setLabels(text === "" || !Number.isFinite(Number(text)) ? rest : { ...rest, [id]: Number(text) });
  };
  return html`<div class="stack" id="calibration" data-labelled=${labelled.length}>
    <p class="hint">Score ${some.length} answers yourself, as the grader should: its own score shows once you have given yours. The labels stay in this browser.</p>
    ${labelled.length > 1 && html`<${Agreement} mine=${labelled.map((id) => labels[id])}
      theirs=${labelled.map((id) => known.get(id).grade.score)} threshold=${threshold} setThreshold=${setThreshold} />`}
    <div class="actions">
      <${Download} jobId=${jobId} rows=${labelled.map((id) => rowOf(known.get(id), labels[id]))} />
      ${labelled.length > 0 && html`<button type="button" class="small"
        onClick=${() => setLabels({})}>Forget these labels</button>`}</div>
    <ol class="labels">${some.map((one, at) => html`<li key=${one.id} class="panel">
      <details><summary>Prompt</summary><${Messages} messages=${one.prompt} /></details>
      <${Text} text=${one.answer || one.output} most=${1500} label=${`Answer ${at + 1}`} />
      <div class="row"><label>Your score <input class="short" type="number" step="any"
        aria-label=${`Your score of answer ${at + 1}`} value=${labels[one.id] ?? ""}
        onInput=${(/** @type {any} */ e) => set(one.id, e.currentTarget.value)} /></label>
        ${[0, 0.5, 1].map((value) => html`<button type="button" class="small" aria-pressed=${labels[one.id] === value}
          onClick=${() => set(one.id, String(value))}>${value}</button>`)}
        ${one.id in labels && html`<span>Grader: <strong
          data-score=${one.grade.score}>${reward(one.grade.score)}</strong></span>`}
        <a href=${`/finetune/${jobId}/rollouts/${one.id}`}>Rollout</a></div></li>`)}</ol>
  </div>`;
}

/** @param {{mine: number[], theirs: number[], threshold: number, setThreshold: (value: number) => void}} props */
function Agreement({ mine, theirs, threshold, setThreshold }) {
  const table = confusion(theirs, mine, threshold);
  const rank = rankCorrelation(mine, theirs);
  return html`<div class="panel stack" role="status" aria-label="Agreement">
    <p>Over ${mine.length} answers${mine.length < 10 ? " (ten or more say something)" : ""}: mean difference
      <strong data-figure="difference">${number(meanDifference(mine, theirs))}</strong>, rank correlation
      <strong data-figure="rank">${rank === null ? "none: one of you gave everything the same" : number(rank)}</strong>.</p>
    <label>An answer passes from <input class="short" type="number" step="any" value=${threshold}
      onInput=${(/** @type {any} */ e) => setThreshold(Number(e.currentTarget.value))} /> on</label>
    <div class="table-box" role="region" tabindex="0" aria-label="Who passes what"><table class="confusion"><thead><tr>
      <td></td><th scope="col" class="number">You pass</th><th scope="col" class="number">You do not</th></tr></thead>
      <tbody>
      <tr><th scope="row">The grader passes</th><td class="number" data-figure="both">${table.both}</td>
        <td class="number" data-figure="onlyA">${table.onlyA}${table.onlyA ? " paid for nothing" : ""}</td></tr>
      <tr><th scope="row">It does not</th><td class="number"
        data-figure="onlyB">${table.onlyB}${table.onlyB ? " not paid" : ""}</td>
        <td class="number" data-figure="neither">${table.neither}</td></tr></tbody></table></div>
  </div>`;
}

/** @param {any} rollout @param {number} label */
const rowOf = (rollout, label) => ({ rollout_id: rollout.id, step: rollout.step, line: rollout.line, messages: rollout.prompt,
  answer: rollout.answer, label, score: rollout.grade.score });

/** @param {{jobId: string, rows: any[]}} props */
function Download({ jobId, rows }) {
  const [address, setAddress] = useState("");
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
    setAddress(made);
    return () => URL.revokeObjectURL(made);
  }, [text]);
  return rows.length > 0 && html`<a class="button small" href=${address}
    download=${`${jobId}-labels.jsonl`}>Labels as JSONL</a>`;
}
