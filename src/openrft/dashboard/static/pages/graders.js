// @ts-check
/** The graders of this project: what their versions changed, what they give, and whether a person agrees. */
import { useState } from "preact/hooks";
import { all, get } from "../core/api.js";
import { rankCorrelation } from "../core/agreement.js";
import { number } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { navigate, query, setQuery, withQuery } from "../core/router.js";
import { mayWrite } from "../core/session.js";
import { Calibration } from "../parts/calibration.js";
import { draftOf, keepDraft } from "../parts/create_draft.js";
import { usePreview } from "../parts/create_files.js";
import { Action, Busy, Empty, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { GraderEditor, useGraderCheck } from "../parts/grader_editor.js";
import { GraderRun } from "../parts/grader_run.js";
import { graderOf, gradersOf, Versions } from "../parts/grader_versions.js";
import { bucketsOf, ScoreBars } from "../parts/score_bars.js";
import { Table } from "../parts/table.js";
import { Line } from "../parts/text.js";

export default function Graders() {
  useTitle("Graders");
  const jobs = useLoad(() => all("/v1/fine_tuning/jobs"), []);
  if (jobs.error) return html`<h1>Graders</h1><${Problem} error=${jobs.error} retry=${jobs.again} />`;
  if (!jobs.data) return html`<h1>Graders</h1><${Busy} />`;
  const graders = gradersOf(jobs.data);
  if (!graders.length) {
    return html`<h1>Graders</h1><${Empty} title="No job has a grader yet"><p>A grader says how good an answer is.</p>
      ${mayWrite.value && html`<a class="button" href="/finetune/new">Write one in a new job</a>`}</${Empty}>`;
  }
  const chosen = graders.find((one) => one.name === query.value.name) ?? graders[0];
  const ofChosen = new Set(chosen.versions.flatMap((one) => one.jobs));
  const newestFirst = jobs.data.filter((one) => ofChosen.has(one));
  const job = newestFirst.find((one) => one.id === query.value.job) ?? newestFirst[0];
  return html`<h1>Graders</h1>
    <${Table} label="Graders of this project" rows=${graders} rowKey=${(/** @type {any} */ one) => one.name} columns=${[
      { title: "Name", isHead: true, cell: (/** @type {any} */ one) => html`<a
        href=${withQuery({ name: one.name, job: null })} aria-current=${one === chosen ? "true" : null}>
        <${Line} text=${one.name} /></a>` },
      { title: "Type", cell: (/** @type {any} */ one) => html`<code>${one.type}</code>` },
      { title: "Versions", isNumber: true, cell: (/** @type {any} */ one) => one.versions.length },
      { title: "Jobs", isNumber: true, cell: (/** @type {any} */ one) => one.versions.flatMap((/** @type {any} */ version) => version.jobs).length },
    ]} />
    <${Section} title=${`Versions of ${chosen.name}`}
      note="Jobs whose graders have this name; each change is a version."><${Versions} grader=${chosen} /></${Section}>
    <div class="row"><label for="of-job">What it gave in the job</label> <select id="of-job" value=${job.id}
      onChange=${(/** @type {any} */ e) => setQuery({ job: e.currentTarget.value })}>
      ${newestFirst.map((one) => html`<option
        value=${one.id}>${one.user_provided_suffix ? `${one.user_provided_suffix} · ` : ""}${one.id}</option>`)}</select></div>
    <${Scores} key=${`scores-${job.id}`} jobId=${job.id} />
    <${Section} title="Do you agree?"><${Calibration} key=${job.id} jobId=${job.id}
      threshold=${graderOf(job).pass_threshold ?? 1} /></${Section}>
    ${mayWrite.value && html`<${Section} title="Change it and try"><${Workshop} key=${`try-${job.id}`}
      job=${job} /></${Section}>`}`;
}

/** @param {{jobId: string}} props */
function Scores({ jobId }) {
  const path = `/v1/fine_tuning/jobs/${jobId}/rollouts`;
  const histogram = useLoad(() => get(`${path}/histogram`, { buckets: 10 }), [jobId]);
  const rollouts = useLoad(() => all(path, { limit: 200 }, 1000), [jobId]);
  const error = histogram.error ?? rollouts.error;
  if (error) return html`<${Problem} error=${error}
    retry=${() => [histogram, rollouts].forEach((one) => one.again())} />`;
  if (!histogram.data || !rollouts.data) return html`<${Busy} />`;
  const { reward, graders, steps } = histogram.data;
  if (!steps.length) return html`<${Empty} title="This job has graded nothing yet"></${Empty}>`;
  const parts = Object.keys(graders);
  return html`<${Section} title="Scores" note=${`Of the steps ${steps[0]} to ${steps[steps.length - 1]}.`}>
    <div class="grid"><div class="panel"><${ScoreBars}
      title=${`Rewards${reward.missing ? `, ${reward.missing} could not be given` : ""}`}
      buckets=${bucketsOf(reward)} /></div>
      ${parts.map((name) => html`<div class="panel" key=${name}>
        <${ScoreBars} title=${`Scores of ${name}`} buckets=${bucketsOf(graders[name])} /></div>`)}</div>
    ${parts.length > 1 && html`<${PartAgreement} parts=${parts} rollouts=${rollouts.data} />`}</${Section}>`;
}

/** How far the parts of a multi grader order answers alike. @param {{parts: string[], rollouts: any[]}} props */
function PartAgreement({ parts, rollouts }) {
  const columns = Object.fromEntries(parts.map((name) => [name, rollouts.map((one) => one.grade.sub_grades?.[name]?.score ?? null)]));
  return html`<h3>Agreement between its parts</h3>
    <p class="hint">Rank correlation over ${rollouts.length} answers: 1 the same order, 0 none in common, below 0 one pays for what the other punishes. Two parts near 1 are one part paid twice.</p>
    <${Table} label="Agreement between the parts" rows=${parts} columns=${[
      { title: "Part", isHead: true, cell: (/** @type {string} */ one) => html`<${Line} text=${one} />` },
      ...parts.map((other) => ({ title: html`<${Line}
        text=${other} />`, isNumber: true, cell: (/** @type {string} */ one) => one === other ? "–" : html`<span
        data-pair=${`${one} ${other}`}>${number(rankCorrelation(columns[one], columns[other]))}</span>` })),
    ]} />`;
}

/** The editor and the run panel, on the files and the base model of a job. @param {{job: any}} props */
function Workshop({ job }) {
  const options = useLoad(() => get("/v1/fine_tuning/options"), []);
  const [text, setText] = useState(`${JSON.stringify(graderOf(job), null, 2)}\n`);
  const preview = usePreview(job.training_file, job.method.type, "training_file");
  const check = useGraderCheck(text, preview.data?.keys ?? null, preview.data?.num_rows ?? 0);
  const take = async () => {
    keepDraft({ ...(await draftOf(job.id)), grader: text });
    navigate("/finetune/new");
  };
  if (options.error) return html`<${Problem} error=${options.error} retry=${options.again} />`;
  if (!options.data) return html`<${Busy} />`;
  return html`<div class="stack"><${GraderEditor} text=${text} onChange=${setText} schemas=${options.data.graders}
    problems=${check.problems} state=${check.state}
      keys=${preview.data?.keys ?? null} mode=${query.value.editor ?? "form"}
        setMode=${(/** @type {string} */ editor) => setQuery({ editor })} />
    <${Problem} error=${preview.error} />
    <${GraderRun} grader=${text} isGood=${check.state === "good"} model=${job.model} fileId=${job.training_file}
      numRows=${preview.data?.num_rows ?? 0} method=${job.method.type} />
    <div><${Action} run=${take} disabled=${check.state !== "good"}>Use it in a new job</${Action}></div></div>`;
}
