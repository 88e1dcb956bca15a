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

/** Forget what was followed and is ended, and ask anew: after resuming a job. @param {string} id */
export function followAgain(id) {
  const entry = followed.get(id);
  if (!entry || entry.live.state.value !== "ended") return;
  entry.close();
  entry.close = listen(id, entry.live);
}

/** @param {string} id */
function follow(id) {
  /** @type {LiveJob} */
  const live = { job: signal(null), events: signal([]), state: signal("connecting"), error: signal(null) };
  const entry = { live, users: 0, close: () => {} };
  followed.set(id, entry);
  entry.close = listen(id, live);
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

/** @param {string} id @param {LiveJob} live */
function listen(id, live) {
  const path = `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`;
  let isClosed = false;
  /** @type {EventSource|null} */
  let source = null;
  let known = 0; // sequence number of the last event
  let retry = 0;
  /** @type {any[]} */
  let fresh = [];
  let frame = 0;

  // A long history comes as thousands of messages: they become one change of the list for each frame.
  const flush = () => {
    frame = 0;
    live.events.value = [...live.events.value, ...fresh];
    fresh = [];
  };

  const open = () => {
    if (isClosed) return;
    source = new EventSource(`${path}/stream?${known ? `after=${known}` : `newest=${MOST_PAST}`}`);
    source.onopen = () => {
      live.state.value = "live";
      retry = 0;
    };
    source.addEventListener("event", (message) => {
      const number = Number(message.lastEventId);
      if (number <= known) return;
      known = number;
      fresh.push(JSON.parse(message.data));
      if (!frame) frame = requestFrame(flush);
    });
    source.addEventListener("job", (message) => (live.job.value = JSON.parse(message.data)));
    source.addEventListener("done", () => {
      live.state.value = "ended";
      close();
    });
    source.onerror = () => {
      if (isClosed) return;
      // Ours to reconnect: the browser would repeat the first address, and gives up where the server is away.
      source?.close();
      live.state.value = "lost";
      get(path).then((job) => (live.job.value ??= job), (error) => {
        if (error.status === 404) live.error.value = error;
      });
      setTimeout(open, Math.min(10_000, 250 * 2 ** retry++));
    };
  };
  const close = () => {
    isClosed = true;
    source?.close();
  };
  get(path).then(
    (job) => {
      live.job.value ??= job;
      open();
    },
    (error) => {
      live.error.value = error;
      if (error.status === 0) setTimeout(open, 1000);
    },
  );
  return close;
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
