// @ts-check
/** What is wrong with a grader, each at its place in the JSON: what the server says, and variables that the rows lack. */
import { lineOf, nearestPlace, offsetInString, offsetOf, readPlaces } from "../core/json_places.js";

/**
 * @typedef {Object} GraderProblem
 * @property {string} path field of the grader, as in `graders.style.input`; "" for all of it
 * @property {string} message
 * @property {"error"|"warning"} severity
 * @property {number} from offset in the JSON text
 * @property {number} to
 * @property {number} line line of the JSON text
 * @property {number|null} innerLine line within the field, where the field is a text of several (a source)
 * @property {number} innerColumn
 */

/** @typedef {Record<string, {rows: number, missing_line: number|null}>} Keys keys of the rows, as a file's preview has them */

const VARIABLE = /\{\{\s*item\.([^\s.[\]{}()|"']+)[^{}]*\}\}/g;

/** Why the text is no JSON; null where it is. @param {string} text @returns {GraderProblem|null} */
export function jsonProblem(text) {
  const { problem } = readPlaces(text);
  if (!problem) return null;
  const place = { from: Math.min(problem.at, text.length), to: Math.min(problem.at + 1, text.length) };
  return { path: "", message: `This is not JSON: ${problem.message}`, severity: "error", innerLine: null, innerColumn: 1,
    ...place, line: lineOf(text, place.from) };
}

/**
 * The server's words about a grader: lines such as `grader.input, line 1, column 3: …`, each at its place.
 * @param {string} text the grader's JSON
 * @param {{message: string, param?: string|null}} error
 * @param {string} [root] path of the grader in what was sent, as in "method.reinforcement.grader"
 * @returns {GraderProblem[]}
 */
export function serverProblems(text, error, root = "grader") {
  const { places } = readPlaces(text);
  /** @type {{path: string, innerLine: number|null, innerColumn: number, message: string}[]} */
  const told = [];
  for (const line of error.message.split("\n")) {
    const match = line.startsWith(root) ? /^([^\s:,]+)(?:, line (\d+)(?:, column (\d+))?)?: (.*)$/.exec(line) : null;
    if (match) {
      const path = match[1].slice(root.length).replace(/^\./, "");
      told.push({ path, innerLine: match[2] ? Number(match[2]) : null, innerColumn: Number(match[3] ?? 1), message: match[4] });
    } else if (told.length) {
      told[told.length - 1].message += `\n${line}`;
    } else {
      const path = error.param?.startsWith(root) ? error.param.slice(root.length).replace(/^\./, "") : "";
      told.push({ path, innerLine: null, innerColumn: 1, message: line });
    }
  }
  return told.map((one) => {
    const place = nearestPlace(places, one.path) ?? { from: 0, to: Math.min(1, text.length), valueFrom: 0 };
    let { from, to } = place;
    if (one.innerLine !== null && text[place.valueFrom] === '"' && places.has(one.path)) {
      const inner = JSON.parse(text.slice(place.valueFrom, place.to));
      from = offsetInString(text, place.valueFrom, offsetOf(inner, one.innerLine, one.innerColumn));
      to = Math.min(from + 1, place.to);
    }
    return { ...one, severity: "error", from, to, line: lineOf(text, from) };
  });
}

/**
 * Variables `{{item.x}}` that no row of the file has, or not every one.
 * @param {string} text the grader's JSON
 * @param {Keys|null} keys
 * @param {number} numRows
 * @returns {GraderProblem[]}
 */
export function unknownVariables(text, keys, numRows) {
  if (!keys || !numRows) return [];
  /** @type {GraderProblem[]} */
  const problems = [];
  for (const [path, place] of readPlaces(text).places) {
    // Only what graders read as templates: a Python source may hold such braces for its own ends.
    if (text[place.valueFrom] !== '"' || !/(^|\.)(input|reference)\b/.test(path)) continue;
    const value = JSON.parse(text.slice(place.valueFrom, place.valueTo));
    for (const match of value.matchAll(VARIABLE)) {
      const key = match[1];
      const known = Object.hasOwn(keys, key) ? keys[key] : null;
      if (known && known.missing_line === null) continue;
      const from = offsetInString(text, place.valueFrom, match.index);
      const to = offsetInString(text, place.valueFrom, match.index + match[0].length);
      const message = known
        ? `${match[0]}: only ${known.rows} of ${numRows} rows have the key ${key}; the row of line ${known.missing_line} lacks it`
        : `${match[0]}: no row of the training file has the key ${key}; there are ${Object.keys(keys).join(", ")}${meant(key, keys)}`;
      problems.push({ path, message, severity: "error", from, to, line: lineOf(text, from), innerLine: null, innerColumn: 1 });
    }
  }
  return problems;
}

/** @param {string} key @param {Keys} keys */
function meant(key, keys) {
  const near = Object.keys(keys).map((one) => ({ one, far: distance(one.toLowerCase(), key.toLowerCase()) }));
  near.sort((a, b) => a.far - b.far);
  return near.length && near[0].far <= Math.max(1, key.length / 3) ? `; did you mean ${near[0].one}?` : "";
}

/** Letters to change, add or leave out. @param {string} a @param {string} b */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
