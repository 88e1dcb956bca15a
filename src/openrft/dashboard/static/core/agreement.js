// @ts-check
/** How far two columns of scores say the same: two graders, or a grader and a person. Pairs with a null are left out. */

/** @typedef {(number|null|undefined)[]} Scores */

/** @param {Scores} a @param {Scores} b @returns {[number, number][]} */
export const pairsOf = (a, b) =>
  /** @type {[number, number][]} */ (a.map((one, index) => [one, b[index]]).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)));

/** Mean of |a − b|; null without pairs. @param {Scores} a @param {Scores} b */
export function meanDifference(a, b) {
  const pairs = pairsOf(a, b);
  return pairs.length ? pairs.reduce((sum, [x, y]) => sum + Math.abs(x - y), 0) / pairs.length : null;
}

/**
 * Spearman's rank correlation, equal scores sharing the mean of their ranks. Null where one of them never varies: then
 * there is no order to agree on.
 * @param {Scores} a @param {Scores} b
 */
export function rankCorrelation(a, b) {
  const pairs = pairsOf(a, b);
  if (pairs.length < 2) return null;
  const x = ranks(pairs.map(([one]) => one));
  const y = ranks(pairs.map(([, one]) => one));
  const middle = (pairs.length + 1) / 2;
  let both = 0;
  let ofX = 0;
  let ofY = 0;
  for (let index = 0; index < pairs.length; index += 1) {
    both += (x[index] - middle) * (y[index] - middle);
    ofX += (x[index] - middle) ** 2;
    ofY += (y[index] - middle) ** 2;
  }
  return ofX && ofY ? both / Math.sqrt(ofX * ofY) : null;
}

/**
 * Who passes whom, from a threshold on.
 * @param {Scores} a @param {Scores} b @param {number} threshold
 * @returns {{both: number, onlyA: number, onlyB: number, neither: number}}
 */
export function confusion(a, b, threshold) {
  const counts = { both: 0, onlyA: 0, onlyB: 0, neither: 0 };
  for (const [x, y] of pairsOf(a, b)) {
    if (x >= threshold && y >= threshold) counts.both += 1;
    else if (x >= threshold) counts.onlyA += 1;
    else if (y >= threshold) counts.onlyB += 1;
    else counts.neither += 1;
  }
  return counts;
}

/** @param {number[]} values from 1; equal ones share the mean of their places */
function ranks(values) {
  const order = values.map((_, index) => index).sort((one, other) => values[one] - values[other]);
  const found = new Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to + 1 < order.length && values[order[to + 1]] === values[order[from]]) to += 1;
    for (let place = from; place <= to; place += 1) found[order[place]] = (from + to) / 2 + 1;
    from = to + 1;
  }
  return found;
}
