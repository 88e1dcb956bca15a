// @ts-check
/** What is in a file of rows, and what is wrong with it by line: an answer of `GET /v1/files/{id}/preview`. */
import { count } from "../core/format.js";
import { html } from "../core/html.js";
import { Chip } from "./elements.js";
import { Table } from "./table.js";
import { Line, Text } from "./text.js";

/** @param {{preview: any}} props */
export function FilePreview({ preview }) {
  const { problems, warnings } = preview;
  return html`<div class="stack file-preview" data-rows=${preview.num_rows} data-problems=${preview.num_problems}>
    <p class="row">
      ${preview.num_problems ? html`<${Chip}
        tone="bad">${count(preview.num_problems)} problem${preview.num_problems === 1 ? "" : "s"}</${Chip}>` : html`<${Chip} tone="good">no problems</${Chip}>`}
      ${warnings.length > 0 && html`<${Chip} tone="warn">${warnings.length} to look at</${Chip}>`}
      <span>${count(preview.num_rows)} rows with ${Object.entries(preview.keys).map(([name, key], index) => html`${index ? ", " : ""}<code title=${Object.keys(key.types).join(", ")}><${Line} text=${name} most=${40} /></code>${key.missing_line === null ? "" : ` (in ${count(key.rows)})`}`)}</span>
    </p>
    ${problems.length > 0 && html`<${Problems} label="Problems of the file" problems=${problems} />
      ${preview.num_problems > problems.length && html`<p
        class="faint">The first ${problems.length} of ${count(preview.num_problems)}.</p>`}`}
    ${warnings.length > 0 && html`<${Problems} label="Worth a look" problems=${warnings} />`}
    ${preview.rows.length > 0 && html`<details><summary>First rows</summary>
      ${preview.rows.map((/** @type {any} */ row) => html`<div class="raw-row">
        <span class="role">Line ${row.line}</span><${Text} text=${row.content} most=${1200} /></div>`)}</details>`}
  </div>`;
}

/** @param {{problems: any[], label: string}} props */
const Problems = ({ problems, label }) => html`<${Table} label=${label} rows=${problems} height=${320} columns=${[
  { title: "Line", isNumber: true, isHead: true, cell: (/** @type {any} */ one) => one.line ?? "–" },
  { title: "Key", cell: (/** @type {any} */ one) => html`<code><${Line} text=${one.key ?? ""} /></code>` },
  { title: "Expected", cell: (/** @type {any} */ one) => html`<${Line} text=${one.expected} most=${200} />` },
  { title: "Found", cell: (/** @type {any} */ one) => html`<${Line} text=${one.found} most=${200} />` },
  { title: "What to do", cell: (/** @type {any} */ one) => html`<${Line} text=${one.fix} most=${240} />` },
]} />`;
