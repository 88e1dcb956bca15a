// @ts-check
/** The same job as somebody would create it without this page: exactly what the button sends. */
import { useState } from "preact/hooks";
import { curl, keywords, pythonClient } from "../core/code.js";
import { html } from "../core/html.js";
import { Code } from "./elements.js";

/** @typedef {{id: string, filename: string}} NamedFile */

/** @type {[string, string, (body: any, files: NamedFile[]) => string][]} */
const WAYS = [
  ["python", "Python", asPython],
  ["curl", "curl", (body) => curl("/v1/fine_tuning/jobs", body)],
  ["cli", "CLI", asCommands],
  ["json", "JSON", (body) => JSON.stringify(body, null, 2)],
];

/** @param {{body: any, files: NamedFile[]}} props */
export function ShowAs({ body, files }) {
  const [way, setWay] = useState("python");
  const [, title, write] = WAYS.find(([name]) => name === way) ?? WAYS[0];
  return html`<div class="stack" id="show-as">
    <div class="segments" role="group" aria-label="Show as">${WAYS.map(([name, one]) => html`<button type="button"
      aria-pressed=${way === name}
      onClick=${() => setWay(name)}>${one}</button>`)}</div>
    <${Code} label=${`This job as ${title}`} text=${spelled(write(body, files))} />
  </div>`;
}

/** Characters that are not seen, as escapes: they stand in strings only, where JSON and Python read them alike. @param {string} code */
const spelled = (code) => code.replace(/[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
  (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A script for OpenAI's client. @param {any} body */
function asPython(body) {
  return `${pythonClient()}
job = client.fine_tuning.jobs.create(
${keywords(body)})
print(job.id)
`;
}

/**
 * Commands that fetch the files and train in the foreground, without a server.
 * @param {any} body @param {NamedFile[]} files
 */
function asCommands(body, files) {
  const job = structuredClone(body);
  const options = job.method[job.method.type];
  /** @type {Map<string, string>} */
  const names = new Map();
  const local = (/** @type {string} */ id, /** @type {string} */ role) => {
    if (!names.has(id)) names.set(id, plainName(files.find((file) => file.id === id)?.filename ?? "", role, [...names.values()]));
    return names.get(id);
  };
  for (const role of ["training_file", "validation_file"]) if (job[role]) job[role] = local(job[role], role);
  if (options.hyperparameters?.test_file) {
    job.test_file = local(options.hyperparameters.test_file, "test_file");
    delete options.hyperparameters.test_file;
  }
  const fetches = [...names].map(([id, name]) => `curl -H "Authorization: Bearer $OPENAI_API_KEY" -o ${name} ${location.origin}/v1/files/${id}/content\n`);
  return `${fetches.join("")}cat > job.json <<'JSON'
${JSON.stringify(job, null, 2)}
JSON
openrft run job.json
`;
}

/** A file name that no shell makes something else of. @param {string} name @param {string} role @param {string[]} taken */
function plainName(name, role, taken) {
  const own = /^[\w][\w.-]*$/.test(name) ? name : `${role.replace("_file", "")}.jsonl`;
  return taken.includes(own) ? `${role.replace("_file", "")}-${own}` : own;
}
