// @ts-check
/**
 * A job as it happens.
 *
 *     const {job, events, state} = useJob(id);   // signals; ends when the component goes
 *
 * One EventSource for a job, however many components look. A line that breaks comes back by itself and tells the server
 * the last event that it knows, so nothing is missed and nothing comes twice.
 */
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { ApiError, get } from "./api.js";

/**
 * @typedef {Object} LiveJob
 * @property {import("@preact/signals").Signal<any>} job the job object with `step` and `total_steps`; null at first
 * @property {import("@preact/signals").Signal<any[]>} events oldest first; of a long past the newest {@link MOST_PAST}
 * @property {import("@preact/signals").Signal<"connecting"|"live"|"lost"|"ended">} state of the line
 * @property {import("@preact/signals").Signal<number>} returns how often the line came back after it was away
 * @property {import("@preact/signals").Signal<ApiError|null>} error why there is nothing to show
 */

/** Events of before that come at first: a run of ten thousand steps has told tens of megabytes. */
export const MOST_PAST = 1000;

/** @type {Map<string, {live: LiveJob, users: number, close: () => void}>} */
const followed = new Map();

/**
 * Follow a job while the component is shown.
 * @param {string} id
 * @returns {LiveJob}
 */
export function useJob(id) {
  const [, setShown] = useState("");
  // Joined while rendering, so that the first picture has what is known already; left by the effect.
  const live = (followed.get(id) ?? follow(id)).live;
  useEffect(() => {
    const entry = followed.get(id) ?? follow(id);
    entry.users += 1;
    setShown(id);
    return () => leave(id);
  }, [id]);
  return live;
}

/** @param {string} id */
function follow(id) {
  /** @type {LiveJob} */
  const live = { job: signal(null), events: signal([]), state: signal("connecting"), returns: signal(0), error: signal(null) };
  const line = new Line(id, live);
  const entry = { live, users: 0, close: () => line.close() };
  followed.set(id, entry);
  line.begin();
  return entry;
}

/** @param {string} id */
function leave(id) {
  const entry = followed.get(id);
  if (!entry || --entry.users > 0) return;
  // Another page of the same job takes over at once; only a job that nobody looks at any more is let go.
  setTimeout(() => {
    if (entry.users === 0 && followed.get(id) === entry) {
      entry.close();
      followed.delete(id);
    }
  }, 2000);
}

/**
 * What a job's news come by. A hidden page has none: a browser keeps six connections to a host for all its tabs, and
 * would load no other page once six jobs are open.
 */
class Line {
  /** @param {string} id @param {LiveJob} live */
  constructor(id, live) {
    this.path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
    this.live = live;
    this.isClosed = false;
    /** @type {EventSource|null} */
    this.source = null;
    this.known = 0; // sequence number of the last event
    this.opened = 0; // how often
    this.retries = 0;
    this.timer = 0;
    /** @type {any[]} */
    this.fresh = [];
    this.turn = () => (document.hidden ? this.drop() : this.open());
  }

  async begin() {
    try {
      this.live.job.value ??= await get(this.path);
    } catch (error) {
      this.live.error.value = /** @type {ApiError} */ (error);
      if (this.live.error.value.status !== 0) return;
      await new Promise((go) => setTimeout(go, 1000));
    }
    if (this.isClosed) return;
    document.addEventListener("visibilitychange", this.turn);
    this.turn();
  }

  open() {
    clearTimeout(this.timer);
    if (this.source) return;
    const { live } = this;
    const source = new EventSource(`${this.path}/stream?${this.known ? `after=${this.known}` : `newest=${MOST_PAST}`}`);
    this.source = source;
    source.onopen = () => {
      live.state.value = "live";
      live.returns.value = this.opened++;
      this.retries = 0;
    };
    source.addEventListener("event", (message) => this.take(message));
    source.addEventListener("job", (message) => (live.job.value = JSON.parse(message.data)));
    source.addEventListener("done", () => {
      live.state.value = "ended";
      this.close();
    });
    source.onerror = () => this.lose();
  }

  /**
   * A long history comes as thousands of messages: they become one change of the list for each frame.
   * @param {MessageEvent} message
   */
  take(message) {
    const number = Number(message.lastEventId);
    if (number <= this.known) return;
    this.known = number;
    this.fresh.push(JSON.parse(message.data));
    if (this.fresh.length > 1) return;
    requestFrame(() => {
      this.live.events.value = [...this.live.events.value, ...this.fresh];
      this.fresh = [];
    });
  }

  /** Ours to reconnect: the browser would repeat the first address, and gives up where the server is away. */
  lose() {
    const { live } = this;
    this.drop();
    live.state.value = "lost";
    get(this.path).then((job) => (live.job.value ??= job), (error) => {
      if (error.status === 404) live.error.value = error;
    });
    this.timer = setTimeout(this.turn, Math.min(10_000, 250 * 2 ** this.retries++));
  }

  /** Until the page is seen again. */
  drop() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  close() {
    this.isClosed = true;
    this.drop();
    document.removeEventListener("visibilitychange", this.turn);
  }
}

/** Once the browser draws next; a page in the background does not draw, so soon anyway. @param {() => void} work */
function requestFrame(work) {
  let isDone = false;
  const once = () => {
    if (!isDone) work();
    isDone = true;
  };
  setTimeout(once, 200);
  return requestAnimationFrame(once);
}
