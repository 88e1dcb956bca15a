// @ts-check
/** Colours of the style sheet as a canvas needs them, and fills that can be told apart without colour. */
import { isDark } from "../core/theme.js";

/** @type {Map<string, string>} */
const known = new Map();
let knownIsDark = isDark.peek();

/**
 * A colour of tokens.css, resolved for the theme in force: a canvas does not know `light-dark()`.
 * @param {string} name as in "--ink"
 */
export function colour(name) {
  if (knownIsDark !== isDark.peek()) {
    known.clear();
    knownIsDark = isDark.peek();
  }
  let found = known.get(name);
  if (!found) {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    found = getComputedStyle(probe).color;
    probe.remove();
    known.set(name, found);
  }
  return found;
}

/** @param {number} number of a series, from 1 */
export const seriesColour = (number) => colour(`--series-${((number - 1) % 8) + 1}`);

/** Dashes by the place of a line in its chart, so that lines differ without their colour. */
export const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [14, 4], [4, 2], [1, 4], [8, 2, 2, 2, 2, 2]];

/**
 * A fill for the area at this place of a stack: the colour, hatched in a way of its own.
 * @param {CanvasRenderingContext2D} context
 * @param {string} paint
 * @param {number} place
 */
export function areaFill(context, paint, place) {
  const size = 8 * devicePixelRatio;
  const tile = new OffscreenCanvas(size, size);
  const draw = /** @type {OffscreenCanvasRenderingContext2D} */ (tile.getContext("2d"));
  draw.globalAlpha = 0.55;
  draw.fillStyle = paint;
  draw.fillRect(0, 0, size, size);
  draw.globalAlpha = 0.9;
  draw.strokeStyle = paint;
  draw.lineWidth = 1.5 * devicePixelRatio;
  const kind = place % 4;
  draw.beginPath();
  for (const shift of [-size, 0, size]) {
    if (kind === 1) draw.moveTo(shift, size), draw.lineTo(shift + size, 0);
    if (kind === 2) draw.moveTo(shift, 0), draw.lineTo(shift + size, size);
  }
  if (kind === 3) draw.moveTo(0, size / 2), draw.lineTo(size, size / 2);
  draw.stroke();
  return context.createPattern(tile, "repeat") ?? paint;
}
