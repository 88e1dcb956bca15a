// @ts-check
/**
 * A job's metrics as series that grow while it trains.
 *
 *     const {series, lastStep, error} = useMetrics(id, ["reward/mean", "valid/reward_mean"]);
 *     series["reward/mean"]      {steps, values}, of a long run with `low` and `high` of the steps that a point stands for
 *
 * The past comes once, thinned; each new step is asked for by `after_step`, so that nothing is missed or comes twice,
 * however often the line breaks. Where a job went back to a checkpoint, its past becomes another, step by step: until it
 * is as far as it was, all is asked anew.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "./api.js";
import { useJob } from "./live.js";

/** @typedef {{steps: number[], values: (number|null)[], low?: (number|null)[], high?: (number|null)[]}} Points */
/** @typedef {{series: Record<string, Points>, lastStep: number|null, error: any, isLoaded: boolean}} Metrics */

const MOST_POINTS = 2000;
const MOST_NAMES = 100; // of one request

/**
 * @param {string} id of the job
 * @param {string[]} names
 * @returns {Metrics}
 */
export function useMetrics(id, names) {
  const live = useJob(id);
  const [found, setFound] = useState(/** @type {Metrics} */ ({ series: {}, lastStep: null, error: null, isLoaded: false }));
  const follower = useRef(/** @type {Follower|null} */ (null));
  const key = names.join(",");
  useEffect(() => {
    const one = new Follower(id, names, setFound);
    follower.current = one;
    one.ask();
    return () => one.stop();
  }, [id, key]);
  const step = live.job.value?.step ?? null;
  // The event of a step comes with it, the job's own number may be a moment later; of a line that was away, either.
  const told = live.events.value.findLast((event) => event.type === "metrics")?.data?.step ?? null;
  const returns = live.returns.value;
  useEffect(() => follower.current?.hear(step, told, returns), [id, key, step, told, returns]);
  return found;
}

/** Asks for what is new, one request at a time. */
class Follower {
  /** @param {string} id @param {string[]} names @param {(found: Metrics) => void} tell */
  constructor(id, names, tell) {
    this.path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}/metrics`;
    this.names = names;
    this.tell = tell;
    this.abort = new AbortController();
    /** @type {Metrics} */
    this.known = { series: {}, lastStep: null, error: null, isLoaded: false };
    /** @type {number|null} */
    this.step = null;
    /** @type {number|null} */
    this.returns = null;
    this.until = -1; // the furthest step that the job has gone back from
    this.isAnew = true; // the next request is for all that there is
    this.isAsking = false;
    this.isStale = false; // something was heard while a request was under way
    this.retry = 0;
  }

  stop() {
    this.abort.abort();
    clearTimeout(this.retry);
  }

  /**
   * There may be something new.
   * @param {number|null} step that the job has reached
   * @param {number|null} told the step of the newest event
   * @param {number} returns how often the line came back: meanwhile the job may have gone back and on again
   */
  hear(step, told, returns) {
    const { isLoaded, lastStep } = this.known;
    const isBack = step !== null && this.step !== null && step < this.step;
    if (isBack) this.until = Math.max(this.until, this.step ?? -1, lastStep ?? -1);
    // The server keeps the numbers of a step until the job has made it again.
    const isRemade = step !== this.step && this.step !== null && this.step < this.until;
    const wasAway = this.returns !== null && returns !== this.returns;
    [this.step, this.returns] = [step, returns];
    if (isBack || isRemade || wasAway) this.isAnew = true;
    else if (isLoaded && (lastStep === null ? (step ?? told) === null : Math.max(step ?? -1, told ?? -1) <= lastStep)) return;
    if (this.isAsking) this.isStale = true;
    else this.ask();
  }

  async ask() {
    this.isAsking = true;
    do {
      this.isStale = false;
      clearTimeout(this.retry);
      try {
        await this.askOnce();
      } catch (error) {
        if (this.abort.signal.aborted) return;
        this.isAnew = true;
        this.known = { ...this.known, error };
        this.tell(this.known);
        this.retry = setTimeout(() => this.ask(), 2000);
        break;
      }
    } while (this.isStale && !this.abort.signal.aborted);
    this.isAsking = false;
  }

  async askOnce() {
    const after = this.isAnew ? null : this.known.lastStep;
    this.isAnew = false;
    const past = after === null ? { max_points: MOST_POINTS, bands: true } : { after_step: after };
    const answers = await Promise.all(inParts(this.names).map((part) => get(this.path, { names: part.join(","), ...past }, { signal: this.abort.signal })));
    const answer = {
      series: Object.assign({}, ...answers.map((one) => one.series)),
      // A step may come between two answers: then it is asked for again, and what is known of it already is passed over.
      last_step: answers.some((one) => one.last_step === null) ? null : Math.min(...answers.map((one) => one.last_step)),
    };
    if (this.abort.signal.aborted) return;
    const isNew = after === null || answer.last_step !== null;
    if (!isNew && this.known.isLoaded && !this.known.error) return;
    const series = after === null ? bandedSeries(answer.series) : appended(this.known.series, answer.series);
    this.known = { series, lastStep: answer.last_step ?? after, error: null, isLoaded: true };
    this.tell(this.known);
  }
}

/** As many of the names as one request may have, and so on. @param {string[]} names */
function inParts(names) {
  const parts = [];
  for (let from = 0; from < names.length; from += MOST_NAMES) parts.push(names.slice(from, from + MOST_NAMES));
  return parts;
}

/** @param {Record<string, any>} series as the server has them, points that stand for many steps with `min` and `max` @returns {Record<string, Points>} */
function bandedSeries(series) {
  /** @type {Record<string, Points>} */
  const found = {};
  for (const [name, { steps, values, min, max }] of Object.entries(series)) {
    const isBand = min?.some((/** @type {any} */ low, /** @type {number} */ place) => low !== max[place]);
    found[name] = isBand ? { steps, values, low: min, high: max } : { steps, values };
  }
  return found;
}

/** @param {Record<string, Points>} known @param {Record<string, Points>} fresh @returns {Record<string, Points>} */
function appended(known, fresh) {
  const found = { ...known };
  for (const [name, { steps, values }] of Object.entries(fresh)) {
    const old = known[name] ?? { steps: [], values: [] };
    const last = old.steps.at(-1) ?? -1;
    const from = steps.findIndex((step) => step > last);
    if (from < 0) continue;
    const more = values.slice(from);
    found[name] = {
      steps: old.steps.concat(steps.slice(from)),
      values: old.values.concat(more),
      ...(old.low && old.high ? { low: old.low.concat(more), high: old.high.concat(more) } : {}),
    };
  }
  return found;
}
