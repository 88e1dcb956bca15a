// @ts-check
/** How all charts of a page are drawn: smoothing, outliers, scale. In the address, and remembered in this browser. */
import { computed } from "@preact/signals";
import { html } from "../core/html.js";
import { query, setQuery } from "../core/router.js";

const KEY = "openrft-charts";
const DEFAULTS = { smooth: "0.6", outliers: "cut", scale: "linear" };

/** @returns {Record<string, string>} */
function remembered() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return DEFAULTS;
  }
}

/** The settings in force: `weight` 0…0.99 of smoothing, `isRobust` limits, `isLog` scale. */
export const settings = computed(() => {
  const { smooth, outliers, scale } = { ...remembered(), ...query.value };
  const weight = Number(smooth);
  return {
    weight: weight >= 0 && weight <= 0.99 ? weight : 0.6,
    isRobust: outliers !== "show",
    isLog: scale === "log",
  };
});

/** @param {Record<string, string>} changes */
function change(changes) {
  localStorage.setItem(KEY, JSON.stringify({ ...remembered(), ...changes }));
  setQuery(changes);
}

/** The controls above the charts of a page. */
export function ChartControls() {
  const { weight, isRobust, isLog } = settings.value;
  const turn = (/** @type {any} */ event) => change({ smooth: event.currentTarget.value });
  return html`<div class="chart-controls row" role="group" aria-label="All charts">
    <label for="chart-smoothing">Smoothing</label>
    <input id="chart-smoothing" type="range" min="0" max="0.99" step="0.01" value=${weight} onInput=${turn}
      title="Weight of earlier steps in the moving average. Validation is never smoothed" />
    <output for="chart-smoothing">${weight.toFixed(2)}</output>
    <label class="check"><input type="checkbox" checked=${isRobust}
      onChange=${() => change({ outliers: isRobust ? "show" : "cut" })} /> Cut outliers</label>
    <label class="check"><input type="checkbox" checked=${isLog}
      onChange=${() => change({ scale: isLog ? "linear" : "log" })} /> Log scale</label>
  </div>`;
}
