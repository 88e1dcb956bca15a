// @ts-check
/**
 * Where we are: every state of a page has an address, so that it can be sent, reloaded and gone back from.
 *
 *     route.value                      {path: "/finetune/ftjob-1/rollouts", query: {step: "3"}}
 *     navigate("/finetune/ftjob-1")    as a link does; plain <a href> works as well
 *     setQuery({step: 4, sort: null})  change parts of the query; null takes one out
 */
import { computed, signal } from "@preact/signals";

/** @typedef {{path: string, query: Record<string, string>}} Route */

/** @returns {Route} */
const here = () => ({ path: location.pathname, query: Object.fromEntries(new URLSearchParams(location.search)) });

/** The present address. */
export const route = signal(here());

/** The present query alone. */
export const query = computed(() => route.value.query);

/** @param {string} address @param {{replace?: boolean}} [options] */
export function navigate(address, { replace = false } = {}) {
  const isNewPage = new URL(address, location.href).pathname !== location.pathname;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  route.value = here();
  if (isNewPage) {
    scrollTo(0, 0);
    document.querySelector("main")?.focus({ preventScroll: true });
  }
}

/**
 * @param {Record<string, any>} changes
 * @param {{push?: boolean}} [options] push: so that "back" undoes it
 */
export function setQuery(changes, { push = false } = {}) {
  navigate(withQuery(changes), { replace: !push });
}

/**
 * The present address with another query, for links.
 * @param {Record<string, any>} changes
 */
export function withQuery(changes) {
  const search = new URLSearchParams(route.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "" || value === false) search.delete(name);
    else search.set(name, String(value));
  }
  const written = search.toString();
  return route.value.path + (written ? `?${written}` : "");
}

/**
 * The parts of the path if it has this form, else null.
 * @param {string} pattern as in "/finetune/:id/rollouts"
 * @param {string} path
 * @returns {Record<string, string>|null}
 */
export function matches(pattern, path) {
  const wanted = pattern.split("/");
  const found = path.replace(/\/+$/, "").split("/");
  if (wanted.length !== found.length) return null;
  /** @type {Record<string, string>} */
  const parts = {};
  for (const [place, one] of wanted.entries()) {
    if (one.startsWith(":")) {
      try {
        parts[one.slice(1)] = decodeURIComponent(found[place]);
      } catch {
        return null;
      }
    } else if (one !== found[place]) return null;
  }
  return parts;
}

addEventListener("popstate", () => (route.value = here()));

// Links of ours change the page without loading it anew; with a modifier key they open as the browser does it.
addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.getAttribute("href")?.startsWith("#") || /^\/(v1|assets|openapi\.json)/.test(link.pathname)) return;
  event.preventDefault();
  navigate(link.pathname + link.search + link.hash);
});
