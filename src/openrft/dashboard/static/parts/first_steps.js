// @ts-check
/** What somebody sees who has no job yet: three ways to the first one. */
import { html } from "../core/html.js";
import { mayWrite } from "../core/session.js";
import { Code } from "./elements.js";

export const FirstSteps = () => html`<section class="first-steps" aria-label="First steps">
  <div class="empty"><h3>No job yet</h3><p>${mayWrite.value ? "Three" : "Two"} ways to the first one. Each appears here by itself.</p></div>
  <div class="ways">
    ${mayWrite.value && html`<div class="panel stack"><h2>In the browser</h2>
      <p>Drop a file, choose a grader, try it on some rows, start.</p>
      <div class="actions"><a class="button primary" href="/finetune/new">Create a job</a></div></div>`}
    <div class="panel stack"><h2>From Python</h2>
      <p>With OpenAI's own client. <a href="/keys">A key</a> goes into <code>OPENAI_API_KEY</code>.</p>
      <${Code} label="Python" text=${python(location.origin)} /></div>
    <div class="panel stack"><h2>The example</h2>
      <p>In the folder of the source code: trains a small model in about two minutes, without a GPU.</p>
      <${Code} label="Shell" text="make demo" /></div>
  </div>
</section>`;

/** @param {string} origin */
const python = (origin) => `from openai import OpenAI

client = OpenAI(base_url="${origin}/v1")
train = client.files.create(file=open("train.jsonl", "rb"), purpose="fine-tune")
valid = client.files.create(file=open("valid.jsonl", "rb"), purpose="fine-tune")
job = client.fine_tuning.jobs.create(
    model="openrft-tiny",
    training_file=train.id,
    validation_file=valid.id,
    method={"type": "reinforcement", "reinforcement": {"grader": {
        "type": "string_check", "name": "exact", "operation": "eq",
        "input": "{{sample.output_text}}", "reference": "{{item.answer}}",
    }}},
)
print("${origin}/finetune/" + job.id)
`;
