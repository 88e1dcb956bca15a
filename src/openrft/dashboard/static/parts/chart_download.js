// @ts-check
/** A chart as a file: its numbers as CSV, its picture as PNG. */
import { colour, seriesColour } from "./chart_colour.js";
import { tableOf } from "./chart_table.js";

/** @typedef {import("./chart_data.js").Series} Series */

/** @param {Series[]} series @param {string} xLabel @param {string} file its name without the ending */
export function downloadCsv(series, xLabel, file) {
  const { titles, rows } = tableOf(series, xLabel);
  const lines = [titles.map(quoted), ...rows.map((row) => row.map((value) => value ?? ""))];
  save(new Blob([lines.map((cells) => cells.join(",")).join("\n") + "\n"], { type: "text/csv" }), `${file}.csv`);
}

/**
 * The canvas with title and legend on paper, in the theme that is seen.
 * @param {HTMLCanvasElement} canvas
 * @param {{title: string, series: Series[], file: string}} chart
 */
export async function downloadPng(canvas, { title, series, file }) {
  const ratio = devicePixelRatio;
  const [head, foot, edge] = [40 * ratio, 32 * ratio, 12 * ratio];
  const sheet = new OffscreenCanvas(canvas.width + 2 * edge, canvas.height + head + foot);
  const draw = /** @type {OffscreenCanvasRenderingContext2D} */ (sheet.getContext("2d"));
  draw.fillStyle = colour("--raised");
  draw.fillRect(0, 0, sheet.width, sheet.height);
  draw.fillStyle = colour("--ink");
  draw.textBaseline = "middle";
  draw.font = `600 ${15 * ratio}px system-ui, sans-serif`;
  draw.fillText(title, edge, head / 2);
  draw.drawImage(canvas, edge, head);
  draw.font = `${12 * ratio}px system-ui, sans-serif`;
  let left = edge;
  series.forEach((one, place) => {
    draw.fillStyle = seriesColour(one.color ?? place + 1);
    draw.fillRect(left, sheet.height - foot / 2 - 2 * ratio, 14 * ratio, 4 * ratio);
    draw.fillStyle = colour("--ink");
    draw.fillText(one.label, left + 20 * ratio, sheet.height - foot / 2);
    left += draw.measureText(one.label).width + 36 * ratio;
  });
  save(await sheet.convertToBlob({ type: "image/png" }), `${file}.png`);
}

/** @param {string} text a spreadsheet would compute what begins with one of these signs */
function quoted(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
