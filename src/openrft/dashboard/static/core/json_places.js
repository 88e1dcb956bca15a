// @ts-check
/**
 * Where things stand in a JSON text: the server names a field by its path, an editor shows a place.
 *
 *     const {places} = readPlaces('{"graders": {"a": {"type": 1}}}');
 *     places.get("graders.a.type")     // {from, to, valueFrom, valueTo}
 */

/**
 * @typedef {Object} Place
 * @property {number} from of the key, or of the value where there is none
 * @property {number} to end of the value
 * @property {number} valueFrom
 * @property {number} valueTo
 */

/**
 * @param {string} text
 * @returns {{places: Map<string, Place>, problem: {at: number, message: string}|null}} `problem`: why it is no JSON, and
 *   where; the places before it are known all the same. The whole document has the path "".
 */
export function readPlaces(text) {
  /** @type {Map<string, Place>} */
  const places = new Map();
  let at = 0;

  const fail = (/** @type {string} */ message) => {
    throw { at, message };
  };
  const skip = () => {
    while (/[ \t\r\n]/.test(text[at] ?? "")) at += 1;
  };
  const found = () => (at < text.length ? `found ${JSON.stringify(text[at])}` : "the text ends here");

  const readString = () => {
    const match = /^"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/.exec(text.slice(at, at + 300_000));
    if (!match) fail('a string that does not end on its line, or a \\ that means nothing: write \\n for a line break, \\\\ for \\');
    at += /** @type {RegExpExecArray} */ (match)[0].length;
    return JSON.parse(/** @type {RegExpExecArray} */ (match)[0]);
  };

  /** @param {string} path @param {number} from @param {number} depth */
  const readValue = (path, from, depth) => {
    skip();
    if (depth > 60) fail("nested too deeply");
    const valueFrom = at;
    const first = text[at];
    if (first === "{") readObject(path, depth);
    else if (first === "[") readArray(path, depth);
    else if (first === '"') readString();
    else {
      const match = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/.exec(text.slice(at, at + 400));
      if (!match) fail(`expected a value, ${found()}`);
      at += /** @type {RegExpExecArray} */ (match)[0].length;
    }
    places.set(path, { from: from < 0 ? valueFrom : from, to: at, valueFrom, valueTo: at });
  };

  /** @param {string} path @param {number} depth */
  const readObject = (path, depth) => {
    at += 1;
    skip();
    const keys = new Set();
    for (let isFirst = true; text[at] !== "}"; isFirst = false) {
      if (!isFirst) {
        if (text[at] !== ",") fail(`expected , or }, ${found()}`);
        at += 1;
        skip();
      }
      const from = at;
      if (text[at] !== '"') fail(`expected a key in double quotes, ${found()}`);
      const key = readString();
      if (keys.has(key)) {
        at = from;
        fail(`the key ${JSON.stringify(key)} is there twice; write it once`);
      }
      keys.add(key);
      skip();
      if (text[at] !== ":") fail(`expected : after the key, ${found()}`);
      at += 1;
      readValue(path ? `${path}.${key}` : key, from, depth + 1);
      skip();
    }
    at += 1;
  };

  /** @param {string} path @param {number} depth */
  const readArray = (path, depth) => {
    at += 1;
    skip();
    for (let index = 0; text[at] !== "]"; index += 1) {
      if (index > 0) {
        if (text[at] !== ",") fail(`expected , or ], ${found()}`);
        at += 1;
      }
      readValue(`${path}[${index}]`, -1, depth + 1);
      skip();
    }
    at += 1;
  };

  try {
    readValue("", -1, 0);
    skip();
    if (at < text.length) fail(`the document has ended, and then ${found()}`);
  } catch (error) {
    const problem = /** @type {any} */ (error);
    if (typeof problem?.at !== "number") throw error;
    return { places, problem };
  }
  return { places, problem: null };
}

/**
 * The place of a path, or of the nearest thing around it that is there: what is missing is shown where it belongs.
 * @param {Map<string, Place>} places
 * @param {string} path
 * @returns {Place|undefined}
 */
export function nearestPlace(places, path) {
  const whole = places.get(path);
  if (whole) return whole;
  for (let end = path.length; end > 0; ) {
    end = Math.max(path.lastIndexOf(".", end - 1), path.lastIndexOf("[", end - 1), 0);
    const place = places.get(path.slice(0, end));
    // Of something that lacks a part only the beginning is marked, not all that is in it.
    if (place) return { ...place, to: Math.min(place.valueFrom + 1, place.to) };
  }
  return undefined;
}

/**
 * The offset in the text of the nth character of a string that begins at `valueFrom`.
 * @param {string} text @param {number} valueFrom @param {number} index of the decoded string
 */
export function offsetInString(text, valueFrom, index) {
  let at = valueFrom + 1;
  for (let passed = 0; passed < index && text[at] !== '"' && at < text.length; passed += 1) {
    at += text[at] !== "\\" ? 1 : text[at + 1] === "u" ? 6 : 2;
  }
  return at;
}

/** The offset of a line and column, both from 1. @param {string} text @param {number} line @param {number} [column] */
export function offsetOf(text, line, column = 1) {
  let start = 0;
  for (let one = 1; one < line; one += 1) {
    const end = text.indexOf("\n", start);
    if (end < 0) return text.length;
    start = end + 1;
  }
  const end = text.indexOf("\n", start);
  return Math.min(start + column - 1, end < 0 ? text.length : end);
}

/** The line of an offset, from 1. @param {string} text @param {number} offset */
export const lineOf = (text, offset) => text.slice(0, offset).split("\n").length;
