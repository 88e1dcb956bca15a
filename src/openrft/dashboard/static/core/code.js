// @ts-check
/** Values as source text, for "copy as": Python literals and words of a shell. */

/**
 * A value of JSON as a Python literal, laid out like formatted code.
 * @param {any} value
 * @param {number} [indent] columns at which it stands
 * @returns {string}
 */
export function python(value, indent = 0) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  // JSON's escapes mean the same in Python, halves of a surrogate pair apart, which JSON spells out itself.
  if (typeof value !== "object") return JSON.stringify(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Array.isArray(value)
    ? value.map((one) => python(one, indent + 4))
    : Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${python(one, indent + 4)}`);
  if (!parts.length) return open + close;
  const short = open + parts.join(", ") + close;
  if (short.length + indent <= 80 && !short.includes("\n")) return short;
  const margin = " ".repeat(indent + 4);
  return `${open}\n${parts.map((part) => `${margin}${part},\n`).join("")}${" ".repeat(indent)}${close}`;
}

/** One word for a POSIX shell. @param {string} text */
export const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * Arguments of a call, one a line; what is null is left out.
 * @param {Record<string, any>} values
 * @param {number} [indent]
 */
export const keywords = (values, indent = 4) =>
  Object.entries(values)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${" ".repeat(indent)}${name}=${python(value, indent)},\n`)
    .join("");

/** What curl sends. @param {string} path @param {any} body */
export const curl = (path, body) =>
  [
    `curl ${location.origin}${path}`,
    `-H "Authorization: Bearer $OPENAI_API_KEY"`,
    `-H "Content-Type: application/json"`,
    `-d ${shell(JSON.stringify(body, null, 2))}`,
  ].join(" \\\n  ");

/** The client of Python scripts. */
export const pythonClient = () =>
  `from openai import OpenAI

# The key is read from OPENAI_API_KEY; the server's first one is in its home, in the file api-key.
client = OpenAI(base_url="${location.origin}/v1")
`;
