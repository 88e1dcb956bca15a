// @ts-check
/** The checkpoints of a job: how good each is on the held-out rows, and what can be done with it. */
import { all, get } from "../core/api.js";
import { bytes, change, interval, isNumber, number, reward, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useJob } from "../core/live.js";
import { useLoad } from "../core/load.js";
import { query, setQuery } from "../core/router.js";
import { CheckpointExport } from "../parts/checkpoint_export.js";
import { Busy, Chip, Copy, Empty, Problem, Section } from "../parts/elements.js";
import { jobPath } from "../parts/exports.js";
import { useTitle } from "../parts/frame.js";
import { axisOf, IntervalMark } from "../parts/interval_mark.js";
import { JobHead } from "../parts/job_head.js";
import { Table } from "../parts/table.js";
import { Line } from "../parts/text.js";

const AGAIN = 5000; // milliseconds after which a job that trains is asked again
const MOST_GRADERS = 6; // columns
const OF_REWARDS =
  "the bar its 95 % interval. Intervals may overlap and the difference still be sure: “compare” pairs the rows.";
const BEST =
  "Has the best single validation. What ships has the best average of three in a row: the best of many is partly luck";

/** @param {{id: string}} props */
export default function Checkpoints({ id }) {
  useTitle("Checkpoints");
  const job = useJob(id).job.value;
  return html`<${JobHead} id=${id} tab="checkpoints" />${job && html`<${Shown} job=${job} />`}`;
}

/** @param {{job: any}} props */
function Shown({ job }) {
  const every = job.status === "running" ? AGAIN : 0;
  const found = useLoad(() => readCheckpoints(job), [job.id, job.status], { every });
  // What is known stays while a later request fails.
  const problem = found.error && html`<${Problem} error=${found.error} retry=${found.again} />`;
  if (!found.data) return problem || html`<${Busy} />`;
  const { rows, base, isLoss, evaluations } = found.data;
  const show = isLoss ? number : reward;
  if (!rows.length) {
    return html`${problem}<${Empty} title="No checkpoint yet"><p>${job.status === "running" || job.status === "queued"
      ? "One is made at every validation, and when the job is paused."
      : `The job ended as “${job.status}” before its first validation.`}</p></${Empty}>`;
  }
  const exported = rows.find((/** @type {any} */ row) => row.id === query.value.export);
  return html`${problem}
    <${Section} title="Checkpoints" note=${whatIsKept(isLoss)} actions=${html`<${TrySelected} rows=${rows}
      job=${job} />`}>
      <${CheckpointTable} job=${job} rows=${rows} base=${base} isLoss=${isLoss} evaluations=${evaluations} />
      <p class="faint">The mark is the mean over the held-out rows, ${isLoss ? "lower is better" : OF_REWARDS}
        ${" "}The dashed line is the base model${isNumber(base) ? `, ${show(base)}` : ""}.</p>
    </${Section}>
    ${exported && html`<${CheckpointExport} job=${job} checkpoint=${exported}
      close=${() => setQuery({ export: null })} />`}`;
}

/** @param {any} job */
async function readCheckpoints(job) {
  const [rows, metrics, evaluations] = await Promise.all([
    all(`${jobPath(job)}/checkpoints`),
    get(`${jobPath(job)}/metrics`, { names: "valid/reward_mean,valid/loss", max_points: 50 }),
    get(`${jobPath(job)}/evaluations`),
  ]);
  const isLoss = !rows.some((row) => "full_valid_mean_reward" in row.metrics);
  const series = metrics.series[isLoss ? "valid/loss" : "valid/reward_mean"];
  return { rows, isLoss, base: series?.steps[0] === 0 ? series.values[0] : null, evaluations: evaluations.data };
}

/** @param {boolean} isLoss */
const whatIsKept = (isLoss) =>
  `The three with the ${isLoss ? "lowest validation loss" : "highest validation reward"} are kept, beside what ships.`;

/** Links to try what is ticked. @param {{rows: any[], job: any}} props */
function TrySelected({ rows, job }) {
  const ticked = new Set((query.value.ticked ?? "").split(","));
  const models = rows.filter((row) => ticked.has(row.id)).map((row) => row.fine_tuned_model_checkpoint);
  if (!models.length) {
    const address = playground(job, [job.model, rows[0].fine_tuned_model_checkpoint]);
    return html`<a class="button" href=${address}>Try the newest beside the base</a>`;
  }
  return html`<a class="button" href=${playground(job, models)}>
    ${models.length > 1 ? `Try ${models.length} side by side` : "Try the ticked one"}</a>`;
}

/** @param {any} job @param {string[]} models */
const playground = (job, models) =>
  `/playground?models=${encodeURIComponent(models.join(","))}&job=${encodeURIComponent(job.id)}`;

/** @param {{job: any, rows: any[], base: number|null, isLoss: boolean, evaluations: any[]}} props */
function CheckpointTable({ job, rows, base, isLoss, evaluations }) {
  const ticked = new Set((query.value.ticked ?? "").split(",").filter(Boolean));
  const isByValue = query.value.sort === "validation";
  const sign = isLoss ? 1 : -1; // the best first
  const place = (/** @type {any} */ row) => sign * (valueOf(row) ?? sign * Infinity);
  const shown = isByValue ? [...rows].sort((one, other) => place(one) - place(other)) : rows;
  const axis = axisOf([base, ...rows.flatMap((row) => [row.valid?.low, row.valid?.high, valueOf(row)])]);
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.graders ?? {})))].slice(0, MOST_GRADERS);
  const tick = (/** @type {string} */ id) => {
    ticked.has(id) ? ticked.delete(id) : ticked.add(id);
    setQuery({ ticked: [...ticked].join(",") });
  };
  const show = isLoss ? number : reward;
  /** @type {import("../parts/table.js").Column[]} */
  const columns = [
    { title: html`<span class="unseen">Tick to try</span>`,
      cell: (row) => html`<input type="checkbox" checked=${ticked.has(row.id)} aria-label=${`Tick ${nameOf(row)}`}
        onChange=${() => tick(row.id)} />` },
    { title: "Step", sort: "step", isHead: true, isNumber: true, cell: (row) => row.step_number },
    { title: "", cell: (row) => html`<${Marks} row=${row} />` },
    { title: isLoss ? "Validation loss" : "Validation reward", sort: "validation", className: "mark-cell",
      cell: (row) => html`<span class="validation">
        ${validation(row, show)}<${IntervalMark} axis=${axis} mean=${valueOf(row)} low=${row.valid?.low}
          high=${row.valid?.high} mark=${base}
          label=${`${nameOf(row)}: ${validation(row, show)}, base ${show(base)}`} /></span>` },
    { title: "Against base", isNumber: true, cell: (row) => against(valueOf(row), base) },
    ...names.map((name) => ({ title: html`<${Line} text=${name} most=${40} />`, isNumber: true,
      cell: (/** @type {any} */ row) => reward(row.graders?.[name]) })),
    { title: "Size", isNumber: true,
      cell: (row) => html`<span title=${`Made ${when(row.created_at)}`}>${bytes(row.bytes)}</span>` },
    { title: "What to do with it",
      cell: (row) => html`<${RowActions} job=${job} row=${row} evaluations=${evaluations} />` },
  ];
  return html`<${Table} label="Kept checkpoints" rows=${shown} rowKey=${(/** @type {any} */ row) => row.id}
    sorted=${isByValue ? "validation" : "step"}
    onSort=${(/** @type {string} */ name) => setQuery({ sort: name === "step" ? null : name })}
    rowProps=${(/** @type {any} */ row) => ({ "data-step": row.step_number, "data-checkpoint": row.id })}
    columns=${columns} />`;
}

/** @param {any} row @returns {number|null} */
const valueOf = (row) => row.valid?.mean ?? null;

/** @param {any} row @param {(value: number|null) => string} show */
const validation = (row, show) =>
  isNumber(row.valid?.low) ? interval(row.valid.mean, row.valid.low, row.valid.high) : show(valueOf(row));

/** @param {number|null} value @param {number|null} base */
const against = (value, base) => (isNumber(value) && isNumber(base) ? change(value - base) : "–");

/** @param {any} row */
const nameOf = (row) => (row.is_final ? `the model that ships (step ${row.step_number})` : `step ${row.step_number}`);

/** @param {{row: any}} props */
const Marks = ({ row }) => html`<span class="row marks">
  ${row.is_final && html`<${Chip} tone="good"
    title="The job's model: fine_tuned_model in the job object">ships</${Chip}>`}
  ${row.is_best && !row.is_final && html`<${Chip} title=${BEST}>best</${Chip}>`}
  ${!row.is_final && html`<${Chip} title="Training can go on from here">kept</${Chip}>`}
</span>`;

/** @param {{job: any, row: any, evaluations: any[]}} props */
function RowActions({ job, row, evaluations }) {
  const model = row.fine_tuned_model_checkpoint;
  const of = (/** @type {number} */ step) => evaluations.find((one) => one.step === step && one.dataset === "valid");
  const [first, own] = [of(0), of(row.metrics?.step ?? row.step_number)];
  return html`<span class="actions">
    <a class="button small" href=${playground(job, [job.model, model])} aria-label=${`Try ${nameOf(row)}`}>Try</a>
    ${first && own && html`<a class="button small" aria-label=${`Compare ${nameOf(row)} with the base`}
      href=${`/finetune/${job.id}/report?a=${first.id}&b=${own.id}`}>Compare</a>`}
    <button type="button" class="small" aria-label=${`Export ${nameOf(row)}`}
      onClick=${() => setQuery({ export: row.id })}>Export</button>
    <a class="button small" aria-label=${`Continue from ${nameOf(row)}`}
      href=${`/finetune/new?model=${encodeURIComponent(model)}`}>Continue</a>
    <${Copy} text=${model} label="Copy id" />
  </span>`;
}
