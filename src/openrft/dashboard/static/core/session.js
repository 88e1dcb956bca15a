// @ts-check
/** Whose key this browser holds, and so what pages offer. The server checks every request, whatever is offered here. */
import { computed, signal } from "@preact/signals";
import { get } from "./api.js";

/** The answer of `GET /session`; null before it is there, and while nobody is logged in. */
export const session = signal(/** @type {any} */ (null));

/** Whether the key may create, change and delete, and let models answer. Until it is known, pages offer it. */
export const mayWrite = computed(() => session.value?.key.scope !== "read");

/** Whether the key may also delete models, and make projects and keys. */
export const isAdmin = computed(() => session.value?.key.scope === "admin");

/** Follows who is logged in. @param {boolean} isLoggedIn @returns {() => void} */
export function followSession(isLoggedIn) {
  const abort = new AbortController();
  session.value = null;
  // Where it cannot be told, everything is offered, and the server says what this key may not do.
  if (isLoggedIn) get("/session", {}, { signal: abort.signal }).then((found) => (session.value = found), () => {});
  return () => abort.abort();
}
