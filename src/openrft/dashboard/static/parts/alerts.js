// @ts-check
/** What goes wrong while a job trains: what is so, what to do about it, and the answers that show it. */
import { muted, turnMute } from "../core/alarms.js";
import { html } from "../core/html.js";
import { Chip, Problem } from "./elements.js";
import { Line } from "./text.js";

/**
 * @param {{id: string, found: ReturnType<typeof import("../core/alarms.js").useAlarms>}} props
 */
export function Alerts({ id, found }) {
  if (found.error) return html`<${Problem} error=${found.error} retry=${found.again} />`;
  const alarms = found.alarms ?? [];
  if (!alarms.length) return null;
  const isMuted = (/** @type {any} */ one) => muted.value.includes(`${id}/${one.code}`);
  const past = alarms.filter((one) => one.ended_step !== null && !isMuted(one));
  const silent = alarms.filter(isMuted);
  return html`<section class="alerts" id="alerts" aria-label="Alerts">
    ${found.open.map((one) => html`<${Alert} key=${`${one.code}-${one.step}`} id=${id} alarm=${one} />`)}
    ${past.length > 0 && html`<details><summary>${past.length} ${past.length === 1 ? "alert is" : "alerts are"} over</summary>
      ${past.map((one) => html`<${Alert} id=${id} alarm=${one} />`)}</details>`}
    ${silent.length > 0 && html`<details><summary>${silent.length} muted in this browser</summary>
      ${silent.map((one) => html`<${Alert} id=${id} alarm=${one} isMuted=${true} />`)}</details>`}
  </section>`;
}

/** @param {{id: string, alarm: any, isMuted?: boolean}} props */
function Alert({ id, alarm, isMuted = false }) {
  const tone = alarm.ended_step !== null || isMuted ? "quiet" : alarm.severity === "error" ? "bad" : "warn";
  const since = alarm.ended_step === null ? `since step ${alarm.step}` : `steps ${alarm.step} to ${alarm.ended_step}`;
  return html`<article class="alert ${tone}" data-alarm=${alarm.code} aria-label=${alarm.code.replace(/_/g, " ")}>
    <header><${Chip} tone=${tone}>${alarm.code.replace(/_/g, " ")}</${Chip}> <span class="faint">${since}</span>
      <button type="button" class="small" onClick=${() => turnMute(id, alarm.code)}>${isMuted ? "Show again" : "Mute"}</button></header>
    <p><${Line} text=${alarm.sentence} most=${600} /></p>
    <p class="advice"><b>What to do:</b> <${Line} text=${alarm.advice} most=${600} /></p>
    ${alarm.evidence?.length > 0 && html`<p class="evidence">Answers that show it:
      ${alarm.evidence.map((/** @type {any} */ one) => html` <a href=${evidenceHref(id, one)}>${one.source === "validation" ? "validation " : ""}step ${one.step}, line ${one.line}, sample ${one.sample + 1}</a>`)}</p>`}
  </article>`;
}

/** Where the answer can be read: among those of its prompt at its step, or beside the base's in the comparison of the two evaluations. @param {string} id @param {any} one */
function evidenceHref(id, one) {
  if (one.source !== "validation") return `/finetune/${id}/rollouts?example=${encodeURIComponent(one.example)}&step=${one.step}&sample=${one.sample}`;
  if (one.step === 0) return `/finetune/${id}/dataset?rows=held_out`;
  return `/finetune/${id}/report?a=step-000000-valid-sampled&b=step-${String(one.step).padStart(6, "0")}-valid-sampled`;
}
