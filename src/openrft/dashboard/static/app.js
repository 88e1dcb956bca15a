// @ts-check
/** The page: what is around every view, and which view belongs to which address. */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { html } from "./core/html.js";
import { matches, route } from "./core/router.js";
import { Busy, Empty, Problem } from "./parts/elements.js";
import { Frame } from "./parts/frame.js";

/**
 * Addresses and the modules that show them, read when they are first needed: the first page waits for no other.
 * A module's default export is a component; it gets the address' parts as props.
 * @type {[string, () => Promise<any>][]}
 */
const VIEWS = [
  ["", () => import("./pages/jobs.js")],
  ["/finetune", () => import("./pages/jobs.js")],
  ["/login", () => import("./pages/login.js")],
  ["/finetune/new", () => import("./pages/create.js")],
  ["/finetune/:id", () => import("./pages/overview.js")],
  ["/finetune/:id/rollouts", () => import("./pages/rollouts.js")],
  ["/finetune/:id/rollouts/:rollout", () => import("./pages/rollout.js")],
  ["/finetune/:id/dataset", () => import("./pages/dataset.js")],
  ["/finetune/:id/metrics", () => import("./pages/metrics.js")],
  ["/finetune/:id/checkpoints", () => import("./pages/checkpoints.js")],
  ["/finetune/:id/report", () => import("./pages/report.js")],
  ["/finetune/:id/events", () => import("./pages/events.js")],
  ["/finetune/:id/settings", () => import("./pages/settings.js")],
  ["/compare", () => import("./pages/compare.js")],
  ["/playground", () => import("./pages/playground.js")],
  ["/files", () => import("./pages/files.js")],
  ["/files/:id", () => import("./pages/file.js")],
  ["/models", () => import("./pages/models.js")],
  ["/evals", () => import("./pages/evals.js")],
  ["/evals/:id", () => import("./pages/eval.js")],
  ["/evals/:id/runs/:run", () => import("./pages/eval_run.js")],
  ["/graders", () => import("./pages/graders.js")],
  ["/keys", () => import("./pages/keys.js")],
  ["/usage", () => import("./pages/usage.js")],
];

/** @param {string} path */
function viewOf(path) {
  for (const [pattern, load] of VIEWS) {
    const parts = matches(pattern, path);
    if (parts) return { pattern, load, parts };
  }
  return null;
}

function App() {
  const found = viewOf(route.value.path);
  const [shown, setShown] = useState(/** @type {any} */ (null));
  useEffect(() => {
    let isCurrent = true;
    found?.load().then(
      (module) => isCurrent && setShown({ pattern: found.pattern, View: module.default }),
      (error) => isCurrent && setShown({ pattern: found.pattern, error }),
    );
    return () => void (isCurrent = false);
  }, [found?.pattern]);
  if (!found) {
    return html`<${Frame}><${Empty} title="There is no such page"><p><a href="/finetune">All jobs</a></p></${Empty}></${Frame}>`;
  }
  if (shown?.pattern !== found.pattern) return html`<${Frame}><${Busy} /></${Frame}>`;
  if (shown.error) return html`<${Frame}><${Problem} error=${shown.error} retry=${() => location.reload()} /></${Frame}>`;
  return html`<${Frame}><${shown.View} key=${JSON.stringify(found.parts)} ...${found.parts} /></${Frame}>`;
}

render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
