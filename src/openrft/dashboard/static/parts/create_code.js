// @ts-check
/** The same job as somebody would create it without this page: exactly what the button sends. */
import { useState } from "preact/hooks";
import { html } from "../core/html.js";
import { Code } from "./elements.js";

/** @typedef {{id: string, filename: string}} NamedFile */

/** @type {[string, string, (body: any, address: string, files: NamedFile[]) => string][]} */
const WAYS = [
  ["python", "Python", (body, address) => asPython(body, address)],
  ["curl", "curl", (body, address) => asCurl(body, address)],
  ["cli", "CLI", (body, address, files) => asCommands(body, address, files)],
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
    <${Code} label=${`This job as ${title}`} text=${spelled(write(body, location.origin, files))} />
  </div>`;
}

/** Characters that are not seen, as escapes: they stand in strings only, where JSON and Python read them alike. @param {string} code */
const spelled = (code) => code.replace(/[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
  (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A script for OpenAI's client. @param {any} body @param {string} address */
export function asPython(body, address) {
  const fields = Object.entries(body).map(([name, value]) => `    ${name}=${python(value, 1)},\n`).join("");
  return `import os

from openai import OpenAI

client = OpenAI(
    base_url="${address}/v1",
    api_key=os.environ["OPENAI_API_KEY"],  # in the file api-key of the server's home
)
job = client.fine_tuning.jobs.create(
${fields})
print(job.id)
`;
}

/** @param {any} body @param {string} address */
export const asCurl = (body, address) => `curl ${address}/v1/fine_tuning/jobs \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d @- <<'JSON'
${JSON.stringify(body, null, 2)}
JSON
`;

/**
 * Commands that fetch the files and train in the foreground, without a server.
 * @param {any} body @param {string} address @param {NamedFile[]} files
 */
export function asCommands(body, address, files) {
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
  const fetches = [...names].map(([id, name]) => `curl -H "Authorization: Bearer $OPENAI_API_KEY" -o ${name} ${address}/v1/files/${id}/content\n`);
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

/** A value as Python writes it, wrapped where it is long. @param {any} value @param {number} depth @returns {string} */
function python(value, depth) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value); // JSON's escapes are Python's too
  const pad = "    ".repeat(depth);
  const items = Array.isArray(value)
    ? value.map((one) => python(one, depth + 1))
    : Object.entries(value).map(([name, one]) => `${python(name, 0)}: ${python(one, depth + 1)}`);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  const short = open + items.join(", ") + close;
  if (short.length + pad.length <= 80 && !short.includes("\n")) return short;
  return `${open}\n${items.map((one) => `${pad}    ${one},\n`).join("")}${pad}${close}`;
}
