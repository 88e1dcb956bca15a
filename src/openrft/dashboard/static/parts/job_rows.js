// @ts-check
/** The list of jobs: a row for each, which narrow windows show as a card. */
import { ago, change, count, duration, isNumber, number, reward, when } from "../core/format.js";
import { html } from "../core/html.js";
import { Chip, Status } from "./elements.js";
import { Sparkline } from "./sparkline.js";
import { Line } from "./text.js";

/** Jobs that one comparison takes. */
export const MOST_COMPARED = 8;

/** @typedef {any} Summary `fine_tuning.job.summary` of the API */

/**
 * @param {{rows: Summary[], picked: string[], onPick: (id: string) => void}} props `picked`: ids that are ticked
 */
export const JobTable = ({ rows, picked, onPick }) => html`<div class="table-box jobs" tabindex="0" role="region" aria-label="Jobs">
  <table data-rows=${rows.length}>
    <caption class="unseen">Jobs</caption>
    <thead><tr>
      <th scope="col"><span class="unseen">Compare</span></th><th scope="col">Job</th><th scope="col">Status</th>
      <th scope="col">Step</th><th scope="col">Curve</th><th scope="col">Improvement</th><th scope="col">Time</th>
      <th scope="col">Created</th>
    </tr></thead>
    <tbody>${rows.map((row) => html`<${JobRow} key=${row.id} row=${row} isPicked=${picked.includes(row.id)}
      isFull=${picked.length >= MOST_COMPARED} onPick=${onPick} />`)}</tbody>
  </table>
</div>`;

/** @param {{row: Summary, isPicked: boolean, isFull: boolean, onPick: (id: string) => void}} props `isFull`: no more can be ticked */
function JobRow({ row, isPicked, isFull, onPick }) {
  const { job } = row;
  const isLoss = methodOf(row) === "supervised";
  return html`<tr data-job=${row.id} class=${isPicked ? "picked" : ""}>
    <td class="tick"><input type="checkbox" aria-label=${`Compare ${nameOf(row)}`} checked=${isPicked}
      disabled=${isFull && !isPicked} onChange=${() => onPick(row.id)} /></td>
    <th scope="row" class="job-name">
      <a href=${`/finetune/${row.id}`}><${Line} text=${nameOf(row)} most=${60} /></a>
      <div class="faint"><${Line} text=${job.model} most=${60} /> · ${methodOf(row)}</div>
      ${row.grader && html`<div class="faint"><${Line} text=${row.grader} most=${70} /></div>`}
      <div class="faint"><span class="unseen">Training file: </span><${Line} text=${row.training_file_name ?? job.training_file} most=${50} /></div>
    </th>
    <td class="job-status">
      <div class="row"><${Status} status=${job.status} />
        ${row.alarms > 0 && html`<${Chip} tone="warn">${row.alarms === 1 ? "1 alarm" : `${row.alarms} alarms`}</${Chip}>`}</div>
      <div class="faint next-action"><${Line} text=${row.next_action} most=${190} /></div>
    </td>
    <td class="job-step"><${Progress} row=${row} /></td>
    <td class="job-curve"><${Sparkline} curve=${row.sparkline} isLoss=${isLoss} />${latest(row, isLoss)}</td>
    <td class="job-gain"><${Improvement} row=${row} isLoss=${isLoss} /></td>
    <td class="job-time">
      <div title="From creating it to its end">${duration(elapsed(job))}</div>
      ${row.estimated_finish && html`<div class="faint" title=${when(row.estimated_finish)}>${remaining(row)}</div>`}
    </td>
    <td class="job-created faint"><div title=${when(job.created_at)}>${ago(job.created_at)}</div>
      ${row.created_by && html`<div title=${`Key ${row.created_by.id}`}>by <${Line} text=${row.created_by.name ?? row.created_by.id} most=${30} /></div>`}</td>
  </tr>`;
}

/** @param {{row: Summary}} props */
function Progress({ row }) {
  if (!isNumber(row.step)) return html`<span class="faint">${row.total_steps ? `0 / ${count(row.total_steps)}` : "–"}</span>`;
  if (!row.total_steps) return html`${count(row.step)}`;
  return html`<div>${count(row.step)} / ${count(row.total_steps)}</div>
    <progress value=${row.step} max=${row.total_steps} aria-label="Steps done">${row.step} of ${row.total_steps}</progress>`;
}

/** @param {Summary} row @param {boolean} isLoss */
function latest(row, isLoss) {
  if (!isNumber(row.latest)) return null;
  const value = isLoss ? `loss ${number(row.latest)}` : reward(row.latest);
  return html`<div class="faint" title="Latest validation">${value}</div>`;
}

/**
 * The report's gain with its interval; before there is one, the best validation less the base's.
 * @param {{row: Summary, isLoss: boolean}} props
 */
function Improvement({ row, isLoss }) {
  const { report } = row;
  if (isNumber(report?.gain)) {
    const shown = isLoss ? number : reward;
    const range = isNumber(report.low) && isNumber(report.high) ? `[${shown(report.low)}, ${shown(report.high)}]` : "";
    return html`<div title=${report.sentence}><strong>${signed(report.gain, isLoss)}</strong></div>
      <div class="faint" title="95 % interval of the difference on the same held-out rows">${isLoss && "loss "}${range}</div>
      <${Chip} tone=${TONES[report.outcome] ?? "quiet"}>${report.outcome}</${Chip}>`;
  }
  if (!isNumber(row.gain)) return html`<span class="faint" title="Known from the second validation on">–</span>`;
  return html`<div><strong>${signed(row.gain, isLoss)}</strong></div>
    <div class="faint" title="The best validation less the base's. The best of several is partly luck; the report's interval is not misled by that">
      ${isLoss ? "loss, so far" : "so far"}</div>`;
}

const TONES = /** @type {Record<string, string>} */ ({ better: "good", worse: "bad", "no change": "quiet" });

/** @param {number} value @param {boolean} isLoss */
const signed = (value, isLoss) => (isLoss ? `${value > 0 ? "+" : ""}${number(value)}` : change(value));

/** What a job is called: its suffix, else its id. @param {Summary} row */
export const nameOf = (row) => row.job.user_provided_suffix || row.id;

/** "reinforcement" or "supervised". @param {Summary} row */
export const methodOf = (row) => row.job.method?.type ?? "supervised";

/** Seconds since it was created, or until it ended. @param {any} job */
export const elapsed = (job) => Math.max(0, (job.finished_at ?? Date.now() / 1000) - job.created_at);

/** @param {Summary} row */
function remaining(row) {
  const seconds = row.estimated_finish - Date.now() / 1000;
  return seconds > 0 ? `${duration(seconds)} left` : "about to end";
}
