// @ts-check
/** The answer first: is it better, by how much, how sure; and what follows from it. */
import { count, duration, number, percent } from "../core/format.js";
import { html } from "../core/html.js";
import { Card, Chip, Section } from "./elements.js";
import { meanText, pText } from "./report_figures.js";
import { Line } from "./text.js";

const TONES = /** @type {Record<string, string>} */ ({
  better: "good", worse: "bad", "no change": "warn", "not measured": "quiet",
});

/** @typedef {ReturnType<typeof import("./report_figures.js").figuresOf>} Figures */

/** @param {{figures: Figures, names: [string, string]}} props */
export function Verdict({ figures, names }) {
  const { main, claimed, isLoss, optimism } = figures;
  return html`<section class="verdict ${TONES[figures.outcome]}" aria-label="Verdict" data-outcome=${figures.outcome}>
    <p class="verdict-line"><${Chip} tone=${TONES[figures.outcome]}>${figures.outcome}</${Chip}> <span><${Line}
      text=${figures.sentence} most=${600} /></span></p>
    ${main && html`<div class="cards">
      <${Card} id="card-base" label=${names[0]} value=${figures.show(main.base.mean)}
        note=${within(main.base, isLoss)} />
      <${Card} id="card-tuned" label=${names[1]} value=${figures.show(main.tuned.mean)}
        note=${within(main.tuned, isLoss)} />
      <${Card} id="card-change" label=${isLoss ? "Difference (below zero is better)" : "Difference, row by row"}
        value=${changeText(claimed?.mean, isLoss)}
        note=${claimed?.interval ? html`95 % interval ${bounds(claimed.interval, isLoss)} · p ${pText(main.p)}
          ${optimism > 0 && html`<br />less ${number(optimism)} for the choice`}` : "too few rows for an interval"} />
      <${Card} id="card-rows" label="Rows: better · same · worse"
        value=${`${count(main.wins)} · ${count(main.ties)} · ${count(main.losses)}`}
        note=${`${count(main.rows)} rows under both`} />
    </div>`}
    <p class="faint">The difference is taken on each row and then averaged, so how hard a row is cancels.
      Its interval decides; p is a second opinion.</p>
  </section>`;
}

/** @param {import("./report_figures.js").Mean} mean @param {boolean} isLoss */
const within = (mean, isLoss) => (mean.interval ? `95 % interval ${bounds(mean.interval, isLoss)}` : "mean over rows");

/** @param {import("./report_figures.js").Interval} range @param {boolean} isLoss */
const bounds = (range, isLoss) => meanText({ mean: 0, interval: range }, isLoss).replace(/^\S+ /, "");

/** +0.303, +0.000, −3.24. @param {number|null|undefined} value @param {boolean} isLoss */
export function changeText(value, isLoss) {
  const text = meanText({ mean: value ?? null, interval: null }, isLoss);
  return typeof value === "number" && value > 0 ? `+${text}` : text;
}

/** What to do next, by outcome. @param {{figures: Figures, report: any, job: any, models: string|null}} props */
export function NextSteps({ figures, report, job, models }) {
  const steps = stepsFor(figures, report, job, models).filter(Boolean);
  return html`<${Section} title="What to do next"><ol
    class="steps">${steps.map((one) => html`<li>${one}</li>`)}</ol></${Section}>`;
}

/** @param {Figures} figures @param {any} report @param {any} job @param {string|null} models @returns {any[]} */
function stepsFor(figures, report, job, models) {
  const base = `/finetune/${job.id}`;
  const worse = figures.main?.losses ?? 0;
  const readWinners = figures.isLoss
    ? html`No answer became less likely. A grader measures whether sampled answers are right; a loss does not.`
    : html`No row got worse. <a
      href="#rows">Read a few winners all the same</a>: are they right, or did they learn to please the grader?`;
  const read = worse > 0
    ? html`<a href="#rows">Read the ${worse === 1 ? "row" : `${count(worse)} rows`} that got worse</a>:${" "}
        is it a loss that you can live with?`
    : readWinners;
  const tryIt = models && html`<a href=${models}>Try base and tuned side by side</a> on prompts of your own.`;
  const more = html`<a href=${`/finetune/new?from=${encodeURIComponent(job.id)}`}>Create it again</a>`;
  const moreRows = report.power?.rows_needed
    ? html`These rows find a gain of ${number(report.power.detectable_gain)} in four of five cases. To find
        one of ${number(report.power.gain)} takes about ${count(report.power.rows_needed)} rows:
        give a larger test or validation file.`
    : null;
  if (figures.outcome === "better") {
    return [
      read,
      tryIt,
      report.is_sharpening && html`Only sampling got better; the greedy answer did not.
        Longer training, or harder prompts, may teach it something new.`,
      report.rows_kind !== "test" && html`These rows chose the checkpoint. ${more} with a${" "}
        <code>test_file</code> before you tell others a number.`,
      html`Use it: <a href=${`${base}/checkpoints`}>checkpoints</a> has the model's id, and the files to take away.`,
    ];
  }
  if (figures.outcome === "worse") {
    return [
      html`Do not ship it. ${read}`,
      html`Look for the step where it turned: <a href=${base}>overview</a>, validation beside training. An earlier <a
        href=${`${base}/checkpoints`}>checkpoint</a> may be good.`,
      html`Training reward rises while this falls? Then the grader pays for something that you do not want: read the <a
        href=${`${base}/rollouts?sort=best`}>best rollouts</a>.`,
      html`${more} with a smaller <code>learning_rate_multiplier</code>, or with <code>kl_beta</code> above zero.`,
    ];
  }
  if (figures.outcome === "no change") {
    return [
      html`It does not mean that nothing was learned: the rows cannot tell it from chance.`,
      moreRows,
      html`Is there a signal at all? <a
        href=${base}>Overview</a>, learning signal:
        if nearly all groups fail or all pass, the prompts are too hard or too easy.`,
      html`Training reward still rising at the end? <a
        href=${`/finetune/new?model=${encodeURIComponent(job.fine_tuned_model)}`}>Go on from this model</a>.`,
      worse > 0 && read,
    ];
  }
  return [
    html`Nothing could be compared. <a href=${`${base}/events`}>Events</a> say whether the grader failed.`,
    html`${more} with a validation file, and with a grader that answers.`,
  ];
}

/**
 * The two models as they were evaluated: lengths, what was cut, what has no grade.
 * @param {{figures: Figures, names: [string, string], report: any}} props
 */
export function Arms({ figures, names, report }) {
  if (!figures.base) return null;
  const title = figures.isLoss ? "Both models" : "Lengths and failures";
  const named = (/** @type {any} */ arm, /** @type {number} */ place) => ({ ...arm, title: names[place % 2] });
  const arms = /** @type {any[]} */ (report.arms.map(named));
  const rows = /** @type {[string, (arm: any) => any][]} */ (figures.isLoss
    ? [
        ["Rows", (arm) => count(arm.num_rows)],
        ["Tokens of their answers", (arm) => count(arm.num_tokens)],
        ["Loss, mean over all tokens", (arm) => number(arm.token_mean_loss)],
        ["Tokens that were the likeliest", (arm) => percent(arm.token_accuracy)],
      ]
    : [
        ["Completions", (arm) => `${count(arm.num_examples)} rows × ${arm.num_samples}`],
        ["Length, tokens on average", (arm) => number(arm.completion_tokens_mean)],
        ["Cut at the limit", (arm) => percent(arm.truncated_share)],
        ["Without a grade", (arm) => count(arm.num_ungraded)],
        ["First error", (arm) => html`<${Line} text=${arm.first_error ?? "–"} most=${100} />`],
      ]);
  return html`<${Section} title=${title}
    note=${figures.isLoss ? "" : "A gain that comes with much longer answers, or many that are cut, may be none."}>
    <div class="table-box" tabindex="0" role="region" aria-label="Figures of both models"><table>
      <thead><tr><th scope="col"><span class="unseen">What</span></th>
        ${arms.map(({ title, mode }) => html`<th scope="col" class="number">${title}${mode ? `, ${mode}` : ""}</th>`)}
      </tr></thead>
      <tbody>${rows.map(([name, of]) => html`<tr><th scope="row">${name}</th>
        ${arms.map((arm) => html`<td class="number">${of(arm)}</td>`)}</tr>`)}</tbody>
    </table></div></${Section}>`;
}

/** What one has to know to read the numbers rightly. @param {{report: any, figures: Figures}} props */
export function Notes({ report, figures }) {
  const leaked = report.leakage?.rows ?? [];
  if (!figures.notes.length && !leaked.length) return null;
  return html`<${Section} title="Before you believe it">
    <ul class="notes">${figures.notes.map((note) => html`<li><${Line} text=${note} most=${900} /></li>`)}</ul>
    ${leaked.length > 0 && html`<details><summary>Held-out rows that are (nearly) trained on: ${leaked.length}</summary>
      <ul>${leaked.slice(0, 50).map((/** @type {any} */ row) => html`<li>
        Line ${row.line} is ${row.is_same ? "" : "nearly "}line ${row.train_line} of the training file</li>`)}
      </ul></details>`}
    ${report.time_spent && html`<p class="faint">The run took ${duration(report.time_spent.seconds)}.</p>`}
  </${Section}>`;
}
