// @ts-check
/** A secret that the server tells this once. */
import { html } from "../core/html.js";
import { Copy } from "./elements.js";

/** @param {{title: string, value: string, close: () => void}} props */
export const Once = ({ title, value, close }) => html`<div class="notice stack" role="status">
  <p><strong>${title}</strong> Copy it now: nobody can ask for it again.</p>
  <div class="row"><code class="secret">${value}</code><${Copy} text=${value} />
    <button type="button" class="small" onClick=${close}>I have it</button></div>
</div>`;
