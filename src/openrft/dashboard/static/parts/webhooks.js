// @ts-check
/** Addresses that are told when jobs and eval runs end. */
import { useState } from "preact/hooks";
import { all, get, post, remove } from "../core/api.js";
import { ago, count } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { Action, Busy, Chip, Dialog, Problem, Section } from "./elements.js";
import { NameForm } from "./name_form.js";
import { Once } from "./once.js";
import { Table } from "./table.js";
import { Line } from "./text.js";

const PATH = "/v1/webhooks";

/** @param {{mayWrite: boolean}} props */
export function Webhooks({ mayWrite }) {
  const list = useLoad(() => all(PATH), []);
  const [made, setMade] = useState(/** @type {any} */ (null));
  const [shown, setShown] = useState(/** @type {any} */ (null));
  const create = async (/** @type {string} */ url) => {
    setMade(await post(PATH, { url }));
    list.again();
  };
  return html`<${Section} id="webhooks" title="Webhooks" note="An address that is told when a job or an eval run ends.">
    ${mayWrite && html`<${NameForm} id="new-webhook" type="url" label="New address" placeholder="https://" button="Add the address" send=${create} />`}
    ${made && html`<${Once} title="The secret, by which the address can tell that it is this server who asks." value=${made.secret} close=${() => setMade(null)} />`}
    ${list.error && html`<${Problem} error=${list.error} retry=${list.again} />`}
    ${!list.data ? !list.error && html`<${Busy} />` : list.data.length === 0 ? html`<p class="faint">None.</p>`
      : html`<div class="managed"><${Table} label="Webhooks" rows=${list.data} rowKey=${(/** @type {any} */ one) => one.id} columns=${[
        { title: "Address", isHead: true, cell: (/** @type {any} */ one) => html`<${Line} text=${one.url} />` },
        { title: "Told of", cell: (/** @type {any} */ one) => html`<span title=${one.event_types.join(", ")}>${count(one.event_types.length)} kinds of ends</span>` },
        { title: "Made", cell: (/** @type {any} */ one) => ago(one.created_at) },
        { title: html`<span class="unseen">Actions</span>`, cell: (/** @type {any} */ one) => html`<div class="row tight">
          <button type="button" class="small" onClick=${() => setShown(one)}>Deliveries</button>
          ${mayWrite && html`<${Action} kind="small danger" confirm=${`Tell ${one.url} nothing more?`} run=${async () => {
            await remove(`${PATH}/${one.id}`);
            list.again();
          }}>Delete</${Action}>`}</div>` },
      ]} /></div>`}
    ${shown && html`<${Dialog} title=${`Deliveries to ${shown.url}`} close=${() => setShown(null)}><${Deliveries} id=${shown.id} /></${Dialog}>`}
  </${Section}>`;
}

/** @param {{id: string}} props */
function Deliveries({ id }) {
  const list = useLoad((signal) => get(`${PATH}/${id}/deliveries`, {}, { signal }), [id]);
  if (list.error) return html`<${Problem} error=${list.error} />`;
  if (!list.data) return html`<${Busy} />`;
  if (!list.data.data.length) return html`<p class="faint">Nothing has ended since it was made.</p>`;
  return html`<${Table} label="Deliveries" rows=${list.data.data} columns=${[
    { title: "Event", isHead: true, cell: (/** @type {any} */ one) => one.type },
    { title: "Of", cell: (/** @type {any} */ one) => html`<code>${one.data.id}</code>` },
    { title: "Status", cell: (/** @type {any} */ one) => html`<${Chip}>${one.status}</${Chip}>` },
    { title: "Attempts", isNumber: true, cell: (/** @type {any} */ one) => count(one.attempts) },
    { title: "What went wrong", cell: (/** @type {any} */ one) => html`<${Line} text=${one.problem} most=${200} />` },
  ]} />`;
}
