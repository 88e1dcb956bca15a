// @ts-check
/**
 * What goes wrong in a job while it trains: asked for once, and again whenever an event tells of an alarm.
 *
 *     const {alarms, open} = useAlarms(id);   // null until the server has answered
 */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { get } from "./api.js";
import { useJob } from "./live.js";
import { useLoad } from "./load.js";

const KEY = "openrft-muted-alarms";

/** Alarms that are not shown in this browser, as "job/code". @type {import("@preact/signals").Signal<string[]>} */
export const muted = signal(read());

function read() {
  try {
    const known = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(known) ? known : [];
  } catch {
    return [];
  }
}

/** @param {string} id of the job @param {string} code of the alarm */
export function turnMute(id, code) {
  const name = `${id}/${code}`;
  muted.value = muted.value.includes(name) ? muted.value.filter((one) => one !== name) : [...muted.value, name];
  localStorage.setItem(KEY, JSON.stringify(muted.value.slice(-500)));
}

/**
 * @param {string} id
 * @returns {{alarms: any[]|null, open: any[], error: any, again: () => void}} `open`: still so, and not muted
 */
export function useAlarms(id) {
  const { events, job } = useJob(id);
  const told = events.value.reduce((sum, event) => sum + (event.data?.alarm ? 1 : 0), 0);
  const found = useLoad(() => get(`/v1/fine_tuning/jobs/${encodeURIComponent(id)}/alarms`).then((list) => list.data), [id]);
  const heard = `${told} ${job.value?.status}`;
  const asked = useRef(heard);
  useEffect(() => {
    if (asked.current !== heard) found.again();
    asked.current = heard;
  }, [heard]);
  const alarms = found.data;
  const open = (alarms ?? []).filter((/** @type {any} */ one) => one.ended_step === null && !muted.value.includes(`${id}/${one.code}`));
  return { alarms, open, error: found.error, again: found.again };
}
