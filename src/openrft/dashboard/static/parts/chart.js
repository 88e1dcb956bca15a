// @ts-check
/**
 * A chart over steps: drawn by uPlot on a canvas, read by everybody through its sentence, its table and its keyboard cursor.
 *
 *     <Chart id="reward" title="Reward" unit="reward" series=${[
 *       {name: "reward/mean", label: "Train", steps, values},
 *       {name: "valid/reward_mean", label: "Validation", kind: "dots", steps, values, low, high}]}
 *       baseline=${{value: 0.31, label: "base"}} onPick=${(step) => navigate(…)} />
 *
 * Its figure has `data-points` (of the longest series), `data-last` and `data-last-step` (of the first series).
 */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isNumber } from "../core/format.js";
import { html } from "../core/html.js";
import { query, setQuery } from "../core/router.js";
import { isDark } from "../core/theme.js";
import { drawNever, drawSoon } from "./chart_frame.js";
import { Legend } from "./chart_legend.js";
import { modelOf } from "./chart_model.js";
import { makePlot, plotData, plotOptions } from "./chart_plot.js";
import { settings } from "./chart_settings.js";
import { downloadCsv, downloadPng } from "./chart_download.js";
import { ChartTable } from "./chart_table.js";
import { writer } from "./chart_unit.js";

/** @typedef {import("./chart_data.js").Series} Series */

/**
 * @typedef {Object} ChartProps
 * @property {string} id
 * @property {string} title
 * @property {any} [note] what to know when reading it
 * @property {Series[]} series
 * @property {boolean} [stacked] each on top of the one before
 * @property {"reward"|"share"|"seconds"|"tokens"|"bytes"|"number"} [unit]
 * @property {[number, number]} [range] of the values, fixed
 * @property {{value: number, label: string}|null} [baseline] a dashed line
 * @property {{step: number, label: string, tone?: string}[]} [markers]
 * @property {(step: number) => void} [onPick] a click on a step, or Enter at it
 * @property {string} [xLabel] "step" unless said otherwise
 * @property {number} [height]
 * @property {string} [file] name of downloads
 */

/** @param {ChartProps} props */
export function Chart(props) {
  const { id, title, note, unit, xLabel = "step", markers = [], file = id } = props;
  const series = props.series.filter((one) => one.steps.length > 0);
  const [hidden, setHidden] = useState(/** @type {Set<string>} */ (new Set()));
  const cursor = useSignal(/** @type {number|null} */ (null)); // place in the model's steps
  const [said, say] = useState("");
  const plot = useRef(/** @type {any} */ (null));
  const isTable = (query.value.table ?? "").split(",").includes(id);
  const model = useMemo(
    () => modelOf(series, hidden, props, settings.value),
    [...series.flatMap((one) => [one.steps, one.values, one.label]), series.length, hidden, settings.value, props.baseline?.value, props.range?.join()],
  );
  const box = usePlot(plot, { ...props, xLabel, markers, series }, model, cursor);
  const toggle = (/** @type {string} */ name) => setHidden((old) => (old.has(name) ? new Set([...old].filter((one) => one !== name)) : new Set(old).add(name)));
  const [first] = series;
  return html`<figure class="chart" id=${id} aria-label=${title} data-last=${first?.values.at(-1) ?? ""}
      data-points=${Math.max(0, ...series.map((one) => one.steps.length))} data-last-step=${first?.steps.at(-1) ?? ""}>
    <header class="chart-head"><h3>${title}</h3>
      <div class="chart-actions">
        <button type="button" class="plain" aria-pressed=${isTable} onClick=${() => turnTable(id)}>Table</button>
        <button type="button" class="plain" disabled=${!first} aria-label=${`${title} as CSV`} onClick=${() => downloadCsv(series, xLabel, file)}>CSV</button>
        <button type="button" class="plain" disabled=${!first || isTable} aria-label=${`${title} as PNG`}
          onClick=${() => downloadPng(plot.current.ctx.canvas, { title, series, file })}>PNG</button>
      </div></header>
    ${note && html`<p class="chart-note">${note}</p>`}
    ${first && html`<${Legend} series=${series} hidden=${hidden} toggle=${toggle} cursor=${cursor} steps=${model.steps} unit=${unit} xLabel=${xLabel}
      markers=${markers} stacked=${props.stacked} outside=${model.limits.outside} />`}
    ${!first && html`<p class="chart-empty">Nothing measured yet</p>`}
    ${first && !isTable && html`<div class="plot" ref=${box} role="img" tabindex="0" aria-label=${sentenceOf(title, series, unit, xLabel)}
      style=${{ height: `${props.height ?? 220}px` }} title=${props.onPick ? "Click a step to read its rollouts. Drag to zoom, double-click to see all." : null}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => moveCursor(event, plot.current, model, props.onPick, (place) => say(reading(place, model.steps, series, unit, xLabel)))}></div>`}
    ${first && isTable && html`<${ChartTable} title=${title} series=${series} unit=${unit} xLabel=${xLabel} onPick=${props.onPick} markers=${markers} />`}
    <p class="unseen" aria-live="polite">${said}</p>
  </figure>`;
}

/**
 * Keeps a plot in the box while there is one: made anew when its form changes, drawn anew when its points do.
 * @param {{current: any}} plot @param {any} props @param {import("./chart_model.js").Model} model
 * @param {import("@preact/signals").Signal<number|null>} cursor
 */
function usePlot(plot, props, model, cursor) {
  const [box, setBox] = useState(/** @type {HTMLElement|null} */ (null));
  const looks = useRef(/** @type {any} */ (null));
  looks.current = { model, baseline: props.baseline, markers: props.markers, range: props.range, onPick: props.onPick };
  const dark = isDark.value;
  const isDrawn = useRef(false); // whether the plot shows this model already
  const isSeen = useRef(true); // what is scrolled away is drawn when it comes back
  const draw = () => {
    const made = plot.current;
    const width = made?.root.parentElement?.clientWidth;
    if (!width) return;
    if (Math.abs(width - made.width) > 1) made.setSize({ width, height: props.height ?? 220 });
    if (isDrawn.current) return;
    isDrawn.current = true;
    made.setData(plotData(looks.current.model));
  };
  useEffect(() => {
    if (!box) return;
    const height = props.height ?? 220;
    const options = plotOptions(() => looks.current, { width: box.clientWidth || 400, height, unit: props.unit, xLabel: props.xLabel }, {
      onCursor: (place) => (cursor.value = place),
      onPick: (place) => looks.current.onPick?.(looks.current.model.steps[place]),
    });
    const made = makePlot(options, plotData(looks.current.model), box);
    plot.current = made;
    isDrawn.current = true;
    const watcher = new ResizeObserver(() => drawSoon(made, draw));
    watcher.observe(box);
    const sight = new IntersectionObserver(([entry]) => {
      isSeen.current = entry.isIntersecting;
      if (isSeen.current && !isDrawn.current) drawSoon(made, draw);
    }, { rootMargin: "200px" });
    sight.observe(box);
    return () => {
      watcher.disconnect();
      sight.disconnect();
      drawNever(made);
      made.destroy();
      plot.current = null;
    };
  }, [box, model.form, dark, props.height, props.unit, props.xLabel]);
  const shown = useRef(/** @type {any} */ (null)); // the plot as of the last change: a new one shows its model already
  useEffect(() => {
    const made = plot.current;
    const isNew = shown.current !== made;
    shown.current = made;
    if (!made || isNew) return;
    isDrawn.current = false;
    if (isSeen.current) drawSoon(made, draw);
  }, [model, props.markers.length]);
  return setBox;
}

/** @param {string} id */
function turnTable(id) {
  const shown = (query.value.table ?? "").split(",").filter(Boolean);
  setQuery({ table: (shown.includes(id) ? shown.filter((one) => one !== id) : [...shown, id]).join(",") });
}

/** What a chart says to those who do not see it. @param {string} title @param {Series[]} series @param {string|undefined} unit @param {string} xLabel */
function sentenceOf(title, series, unit, xLabel) {
  const parts = series.map((one) => {
    const place = one.values.findLastIndex(isNumber);
    return place < 0 ? `${one.label}: no numbers` : `${one.label} ${writer(unit)(one.values[place])} at ${xLabel} ${one.steps[place]}`;
  });
  return `${title}. ${parts.join("; ")}. Arrow keys read step by step.`;
}

/** @param {number} place @param {number[]} steps @param {Series[]} series @param {string|undefined} unit @param {string} xLabel */
function reading(place, steps, series, unit, xLabel) {
  const step = steps[place];
  const parts = series.map((one) => [one.label, one.values[one.steps.indexOf(step)]]).filter(([, value]) => isNumber(value));
  return `${xLabel} ${step}: ${parts.map(([label, value]) => `${label} ${writer(unit)(/** @type {any} */ (value))}`).join(", ")}`;
}

/** @param {KeyboardEvent} event @param {any} plot @param {import("./chart_model.js").Model} model @param {any} onPick @param {(place: number) => void} tell */
function moveCursor(event, plot, model, onPick, tell) {
  const last = model.steps.length - 1;
  const here = plot?.cursor.idx;
  /** @type {Record<string, number>} */
  const ways = { ArrowLeft: isNumber(here) ? here - 1 : last, ArrowRight: isNumber(here) ? here + 1 : 0, Home: 0, End: last };
  if (event.key === "Enter" && isNumber(here)) {
    event.preventDefault();
    onPick?.(model.steps[here]);
  }
  if (!plot || !(event.key in ways)) return;
  event.preventDefault();
  const place = Math.max(0, Math.min(last, ways[event.key]));
  plot.setCursor({ left: plot.valToPos(model.steps[place], "x"), top: plot.bbox.height / devicePixelRatio / 2 }, true, true);
  tell(place);
}
