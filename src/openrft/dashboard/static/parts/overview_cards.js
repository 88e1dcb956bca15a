// @ts-check
/** Four numbers before everything else: reward, what it gained over the base, validation, and what is left of time and money. */
import { get } from "../core/api.js";
import { change, count, duration, interval, isNumber, number, percent, reward } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Card } from "./elements.js";

/** @param {import("../core/series.js").Points|undefined} points @returns {{step: number, value: number}|null} */
export function lastOf(points) {
  const place = points?.values.findLastIndex(isNumber) ?? -1;
  return points && place >= 0 ? { step: points.steps[place], value: /** @type {number} */ (points.values[place]) } : null;
}

/** The value at a step. @param {import("../core/series.js").Points|undefined} points @param {number|undefined} step */
const at = (points, step) => points?.values[points.steps.indexOf(step ?? -1)] ?? null;

/** @param {{job: any, series: Record<string, import("../core/series.js").Points>}} props */
export function OverviewCards({ job, series }) {
  const isSupervised = job.method?.type !== "reinforcement";
  return html`<div class="cards" id="overview-cards">
    ${isSupervised ? html`<${LossCards} job=${job} series=${series} />` : html`<${RewardCards} job=${job} series=${series} />`}
    <${TimeCard} job=${job} series=${series} />
  </div>`;
}

/** @param {{job: any, series: Record<string, any>}} props */
function RewardCards({ job, series }) {
  const train = lastOf(series["reward/mean"]);
  const valid = lastOf(series["valid/reward_mean"]);
  const base = series["valid/reward_mean"]?.steps[0] === 0 ? series["valid/reward_mean"].values[0] : null;
  const [low, high] = ["low", "high"].map((end) => at(series[`valid/reward_${end}`], valid?.step));
  const within = valid && isNumber(low) && isNumber(high) ? `95 %: ${interval(valid.value, low, high).replace(/^\S+ /, "")} · ` : "";
  return html`
    <${Card} id="card-reward" label="Training reward" value=${reward(train?.value)} note=${train ? `mean of step ${train.step}` : "no step yet"} />
    <${GainCard} job=${job} base=${base} valid=${valid} />
    <${Card} id="card-validation" label="Validation reward" value=${reward(valid?.value)}
      note=${valid ? `${within}step ${valid.step}` : "no validation yet"} />`;
}

/**
 * The gain on the same held-out rows: of the report where there is one, else of the latest validation.
 * @param {{job: any, base: number|null, valid: {step: number, value: number}|null}} props
 */
function GainCard({ job, base, valid }) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(job.id)}`;
  const isOver = job.status === "succeeded";
  const found = useLoad(async () => {
    if (isOver) {
      const report = await get(`${path}/report`);
      return { ...gainOf(report), note: `of the shipped model, step ${report.shipped_step}` };
    }
    if (!valid || valid.step === 0) return null;
    const passes = (await get(`${path}/evaluations`)).data.filter((/** @type {any} */ one) => one.dataset === "valid" && one.mode === "sampled");
    const pair = [0, valid.step].map((step) => passes.find((/** @type {any} */ one) => one.step === step)?.id);
    if (!pair.every(Boolean)) return null;
    return { ...gainOf(await get(`${path}/compare`, { evaluations: pair.join(",") })), note: `step ${valid.step}, row by row` };
  }, [job.id, isOver, valid?.step ?? null]);
  // Until the rows are kept with the job the difference of the means is still known.
  const plain = valid && valid.step > 0 && isNumber(base) ? { value: valid.value - base, low: null, high: null, note: `step ${valid.step} against the base` } : null;
  const gain = found.data ?? (found.isLoading ? null : plain);
  if (!gain || !isNumber(gain.value)) {
    return html`<${Card} id="card-gain" label="Improvement over the base" value="–" note=${found.isLoading ? "" : "known after the second validation"} />`;
  }
  const hasInterval = isNumber(gain.low) && isNumber(gain.high);
  const isClear = hasInterval && (gain.low > 0 || gain.high < 0);
  return html`<${Card} id="card-gain" label="Improvement over the base" tone=${isClear ? (gain.value > 0 ? "good" : "bad") : ""} value=${change(gain.value)}
    note=${html`${hasInterval ? `95 %: [${change(gain.low)}, ${change(gain.high)}] · ` : ""}${gain.note}${hasInterval && !isClear ? " · could be chance" : ""}`} />`;
}

/** The paired difference of mean scores, and its interval. @param {any} report */
function gainOf(report) {
  const claimed = report.selection?.difference ?? report.comparisons?.find((/** @type {any} */ one) => one.metric === "mean score" && one.mode === "sampled")?.paired;
  return { value: claimed?.mean ?? null, low: claimed?.interval?.low ?? null, high: claimed?.interval?.high ?? null };
}

/** @param {{job: any, series: Record<string, any>}} props */
function LossCards({ series }) {
  const [train, valid, accuracy] = ["train/loss", "valid/loss", "valid/token_accuracy"].map((name) => lastOf(series[name]));
  const base = series["valid/loss"]?.steps[0] === 0 ? series["valid/loss"].values[0] : null;
  return html`
    <${Card} id="card-loss" label="Training loss" value=${number(train?.value)} note=${train ? `step ${train.step}` : "no step yet"} />
    <${Card} id="card-validation" label="Validation loss" value=${number(valid?.value)} note=${valid
      ? isNumber(base) ? `base ${number(base)} · step ${valid.step}` : `step ${valid.step}` : "no validation yet"} />
    <${Card} id="card-accuracy" label="Validation token accuracy" value=${percent(accuracy?.value)} note=${accuracy ? `step ${accuracy.step}` : "no validation yet"} />`;
}

/** @param {{job: any, series: Record<string, any>}} props */
function TimeCard({ job, series }) {
  const spent = lastOf(series["time/spent_minutes"]);
  const cost = lastOf(series["spent/grader_cost"]);
  const tokens = lastOf(series["spent/tokens"]);
  const left = job.status === "running" && job.estimated_finish ? Math.max(0, job.estimated_finish - Date.now() / 1000) : null;
  const used = [tokens && `${count(tokens.value)} tokens`, cost && cost.value > 0 && `grading cost ${number(cost.value)}`].filter(Boolean).join(" · ");
  return left === null
    ? html`<${Card} id="card-time" label="Time and cost" value=${spent ? duration(60 * spent.value) : "–"} note=${used ? `spent, ${used}` : "nothing spent yet"} />`
    : html`<${Card} id="card-time" label="Time left, about" value=${duration(left)} note=${`${spent ? duration(60 * spent.value) : "–"} spent${used ? ` · ${used}` : ""}`} />`;
}
