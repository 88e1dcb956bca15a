// @ts-check
/** One queue for the drawing of all charts: each at most once a frame, and only as many in a frame as it has time for. */

const MILLISECONDS = 12;

/** @type {Map<any, () => void>} */
const waiting = new Map();
let isAsked = false;

/** Draw this chart when the browser next draws. Asked twice, it is drawn once, as it was asked last. @param {any} chart @param {() => void} draw */
export function drawSoon(chart, draw) {
  waiting.set(chart, draw);
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(drawSome);
}

/** @param {any} chart */
export const drawNever = (chart) => waiting.delete(chart);

function drawSome() {
  const end = performance.now() + MILLISECONDS;
  for (const [chart, draw] of waiting) {
    waiting.delete(chart);
    draw();
    if (performance.now() > end) break;
  }
  isAsked = waiting.size > 0;
  if (isAsked) requestAnimationFrame(drawSome);
}
