// @ts-check
/** The data of a job, row by row: what the run made of each. */
import { html } from "../core/html.js";
import { query, withQuery } from "../core/router.js";
import { HeldOutRows } from "../parts/dataset_held_out.js";
import { TrainingRows } from "../parts/dataset_training.js";
import { useTitle } from "../parts/frame.js";
import { JobHead } from "../parts/job_head.js";

/** @param {{id: string}} props */
export default function Dataset({ id }) {
  useTitle("Dataset");
  const isHeldOut = query.value.rows === "held_out";
  const link = (/** @type {boolean} */ isOther, /** @type {string} */ title) =>
    html`<a href=${withQuery({ rows: isOther ? "held_out" : null, state: null, sort: null, after: null })}
      aria-current=${isOther === isHeldOut ? "page" : null}>${title}</a>`;
  return html`<${JobHead} id=${id} tab="dataset" />
    <nav class="switch" aria-label="Rows">${link(false, "Training rows")}${link(true, "Held-out rows")}</nav>
    ${isHeldOut ? html`<${HeldOutRows} id=${id} />` : html`<${TrainingRows} id=${id} />`}`;
}
