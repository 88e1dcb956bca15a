// @ts-check
/** What keeps a job from being created: what is missing here, and what the server said, field by field. */
import { html } from "../core/html.js";
import { visible } from "../core/visible.js";

/**
 * The sentences of an error by the paths of their fields; the first belongs to the error's `param`.
 * @param {{message: string, param?: string|null}} error
 * @returns {Record<string, string>}
 */
export function fieldsOf(error) {
  /** @type {Record<string, string>} */
  const fields = {};
  let path = error.param ?? "";
  for (const [index, line] of error.message.split("\n").entries()) {
    const named = /^(?:[A-Z][\w ]*(?:for|parameter:|type) )?'([\w.[\]]+)'/.exec(line) ?? /^((?:method|metadata|integrations)[\w.[\]]*)[:,]/.exec(line);
    if (index > 0 && named) path = named[1];
    fields[path] = fields[path] ? `${fields[path]}\n${line}` : line;
  }
  for (const [one, text] of Object.entries(fields)) {
    // A grader and a map of metadata are one field here, however deep in it something is wrong.
    const whole = /^(method\.\w+\.(?:monitor_grader|grader|response_format)|metadata|integrations)/.exec(one);
    if (whole && whole[1] !== one) fields[whole[1]] = fields[whole[1]] ? `${fields[whole[1]]}\n${text}` : text;
  }
  return fields;
}

/** @param {{missing: Record<string, string>, failure: any, check: any, previews: any[]}} props */
export function Wrong({ missing, failure, check, previews }) {
  const lines = Object.entries(missing);
  const bad = previews.filter((one) => one?.num_problems);
  if (!lines.length && !failure && !bad.length && check.state !== "wrong") return html`<p
    class="hint">All that is needed is there.</p>`;
  return html`<ul class="todo" aria-label="What is still to do">
    ${lines.map(([path, text]) => html`<li data-field=${path}>${text}</li>`)}
    ${check.state === "wrong" && html`<li>The grader has ${check.problems.length === 1 ? "a problem" : `${check.problems.length} problems`}: see its lines.</li>`}
    ${bad.map((one) => html`<li>${visible(one.filename)} has ${one.num_problems} problem${one.num_problems === 1 ? "" : "s"}: the job would fail.</li>`)}
    ${failure && html`<li class="wrong-note" role="alert"><span
      class="said">${failure.message}</span>${failure.param && html`<br />
      <span class="faint">Field: <code>${failure.param}</code></span>`}</li>`}
  </ul>`;
}
