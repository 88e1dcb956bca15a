// @ts-check
/** Choosing the files of a job: one that is there, or a new one dropped here; what is in it is read at once. */
import { useState } from "preact/hooks";
import { get, upload } from "../core/api.js";
import { ago, bytes } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { visible } from "../core/visible.js";
import { Busy, Field, Problem } from "./elements.js";
import { FilePreview } from "./file_preview.js";

/** What is in a file, for a job of this method; asked once for each. @param {string} fileId @param {string} method @param {string} role */
export const usePreview = (fileId, method, role) =>
  useLoad((signal) => (fileId ? get(`/v1/files/${fileId}/preview`, { method, role }, { signal }) : Promise.resolve(null)), [fileId, method, role]);

/**
 * @param {{role: "training_file"|"validation_file"|"test_file", label: string, hint: string, value: string, files: any[],
 *   onPick: (id: string) => void, onUpload: (file: any) => void, error?: string|null, preview: any}} props
 *   `preview`: what `usePreview` says of the chosen file
 */
export function FilePick({ role, label, hint, value, files, onPick, onUpload, error, preview }) {
  const [state, setState] = useState({ isOver: false, uploading: "", error: /** @type {any} */ (null) });
  const take = async (/** @type {File|undefined} */ file) => {
    if (!file) return;
    setState({ isOver: false, uploading: file.name, error: null });
    try {
      const made = await upload(file);
      onUpload(made);
      onPick(made.id);
      setState({ isOver: false, uploading: "", error: null });
    } catch (one) {
      setState({ isOver: false, uploading: "", error: one });
    }
  };
  const over = (/** @type {boolean} */ isOver) => (/** @type {any} */ event) => {
    event.preventDefault();
    if (state.isOver !== isOver) setState({ ...state, isOver });
  };
  const drop = (/** @type {any} */ event) => {
    event.preventDefault();
    take(event.dataTransfer?.files?.[0]);
  };
  const isKnown = !value || files.some((file) => file.id === value);
  return html`<div class="file-pick ${state.isOver ? "over" : ""}" onDragOver=${over(true)} onDragLeave=${over(false)}
    onDrop=${drop} data-role=${role}>
    <${Field} label=${label} for=${role} hint=${hint} error=${error}>
      <div class="row">
        <select id=${role} value=${value} onChange=${(/** @type {any} */ e) => onPick(e.currentTarget.value)}
          aria-describedby=${`${role}-hint`}>
          <option value="">${role === "training_file" ? "Choose a file" : "none"}</option>
          ${!isKnown && html`<option value=${value}>${value}</option>`}
          ${files.map((file) => html`<option
            value=${file.id}>${visible(file.filename)} · ${bytes(file.bytes)} · ${ago(file.created_at)}</option>`)}
        </select>
        <label class="button">Upload …<input class="unseen" type="file" accept=".jsonl,.json,.txt"
          aria-label=${`Upload ${label.toLowerCase()}`}
          onChange=${(/** @type {any} */ e) => take(e.currentTarget.files[0])} /></label>
        <span class="faint">or drop it here</span>
      </div>
    </${Field}>
    ${state.uploading && html`<${Busy} what=${`Uploading ${visible(state.uploading)}`} />`}
    <${Problem} error=${state.error} />
    ${value && preview.isLoading && !preview.data && html`<${Busy} what="Reading the file" />`}
    ${value && html`<${Problem} error=${preview.error} retry=${preview.again} />`}
    ${value && preview.data && html`<${FilePreview} preview=${preview.data} />`}
  </div>`;
}
