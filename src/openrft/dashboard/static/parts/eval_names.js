// @ts-check
/** What evals, runs and their criteria are called. */

/** The job whose validations an eval has, by the name that the server gives it. @param {any} one an eval @returns {string|null} */
export const jobOf = (one) => /validation runs for (ftjob-\w+)$/.exec(one.name ?? "")?.[1] ?? null;

/** A criterion's name, for the id by which results tell it. @param {any} one an eval @param {string} id */
export const criterionName = (one, id) => one.testing_criteria.find((/** @type {any} */ criterion) => criterion.id === id)?.name ?? id;

/** @param {any} run */
export const runName = (run) => run.name || run.id;

/** The share that passed of those that were graded; null before there is one. @param {{passed: number, failed: number}} counts */
export const passShare = ({ passed, failed }) => (passed + failed > 0 ? passed / (passed + failed) : null);

/** What a run's model said to an item, as text. @param {any} item */
export function outputOf(item) {
  const said = (item.sample?.output ?? []).map((/** @type {any} */ message) =>
    [message.content ?? "", ...(message.tool_calls ?? []).map((/** @type {any} */ call) => JSON.stringify(call))].join("\n"));
  return said.join("\n").trim();
}

/** The messages of an item if it has some. @param {any} item @returns {any[]|null} */
export function messagesOf(item) {
  const row = item.datasource_item?.item ?? item.datasource_item;
  const messages = item.sample?.input?.length ? item.sample.input : row?.messages;
  return Array.isArray(messages) ? messages : null;
}

/** The rest of an item's row, which graders compare with. @param {any} item */
export function keysOf(item) {
  const row = item.datasource_item?.item ?? item.datasource_item ?? {};
  const { messages, tools, parallel_tool_calls, ...rest } = row;
  return rest;
}
