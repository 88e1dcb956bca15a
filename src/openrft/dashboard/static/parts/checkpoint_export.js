// @ts-check
/** How one checkpoint is taken away: the model that ships as a download, others by a command. */
import { get } from "../core/api.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Busy, Code, Dialog, Problem } from "./elements.js";
import { Download, jobPath, ModelDownloads } from "./exports.js";

/** @param {{job: any, checkpoint: any, close: () => void}} props */
export function CheckpointExport({ job, checkpoint, close }) {
  const settings = useLoad(() => get(`${jobPath(job)}/settings`), [job.id]);
  const step = `step ${checkpoint.step_number}`;
  const title = checkpoint.is_final ? `Export the model that ships (${step})` : `Export ${step}`;
  const body = () => {
    if (settings.error) return html`<${Problem} error=${settings.error} retry=${settings.again} />`;
    if (!settings.data) return html`<${Busy} />`;
    const isAdapter = settings.data.resolved?.weights === "lora";
    return checkpoint.is_final
      ? html`<ul class="downloads"><${ModelDownloads} job=${job} isAdapter=${isAdapter} /></ul>
          <p class="faint">In Python, once it is unzipped:</p>
          <${Code} label="Load the model" text=${loadCode(job, isAdapter)} />`
      : html`<${ByCommand} job=${job} step=${checkpoint.step_number} />`;
  };
  return html`<${Dialog} title=${title} close=${close}><div class="stack">${body()}</div></${Dialog}>`;
}

/**
 * A checkpoint of the training: weights and optimizer, which become a model where the base model is.
 * @param {{job: any, step: number}} props
 */
const ByCommand = ({ job, step }) => html`
  <p>It answers here already, under its id. As files it is a point of the training, not a model yet; one is made of it
    wherever openrft and the base model are:</p>
  <ul class="downloads"><${Download} href=${`${jobPath(job)}/exports/run`} name=${`${job.id}-run.zip`}
    title="Whole run (.zip)">
    with all checkpoints that are kept</${Download}></ul>
  <${Code} label="Commands" text=${[
    `unzip ${job.id}-run.zip`,
    `openrft export ${job.id}-run --to model-step-${step} --step ${step}`,
  ].join("\n")} />
  <p class="faint">The folder is a Hugging Face model; of LoRA, the adapter lies beside the merged weights.</p>`;

/** @param {any} job @param {boolean} isAdapter */
const loadCode = (job, isAdapter) =>
  [
    "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "",
    `model = AutoModelForCausalLM.from_pretrained("${job.id}-merged")`,
    `tokenizer = AutoTokenizer.from_pretrained("${job.id}-merged")`,
    ...(isAdapter
      ? [
          "", "# or the adapter alone:", "from peft import PeftModel", "",
          `base = AutoModelForCausalLM.from_pretrained("${job.model}")`,
          `model = PeftModel.from_pretrained(base, "${job.id}-adapter")`,
        ]
      : []),
  ].join("\n");
