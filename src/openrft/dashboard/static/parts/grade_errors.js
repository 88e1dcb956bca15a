// @ts-check
/** What went wrong with a grade, in an answer of graders/run. */

const UNPARSED = "sample_parse_error"; // the answer's fault, not the grader's: it is graded 0

/** The kinds of errors that it tells. @param {any} result @returns {string[]} */
export const errorsOf = ({ metadata }) =>
  Object.entries(metadata.errors).filter(([, value]) => value === true).map(([name]) => name);

/**
 * Whether its 0 only stands for a grade that could not be given. In training that is no zero: the answer is left out.
 * @param {any} result
 */
export const hasFailed = (result) => !result.reward && errorsOf(result).some((name) => name !== UNPARSED);
