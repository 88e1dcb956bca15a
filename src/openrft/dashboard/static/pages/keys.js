// @ts-check
/** Who one is here; for admins, projects and their keys; and whom the server tells of what has ended. */
import { useState } from "preact/hooks";
import { all, get, post, remove } from "../core/api.js";
import { ago, when } from "../core/format.js";
import { html } from "../core/html.js";
import { useLoad } from "../core/load.js";
import { query, setQuery } from "../core/router.js";
import { Action, Busy, Chip, Problem, Section } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";
import { NameForm } from "../parts/name_form.js";
import { Once } from "../parts/once.js";
import { Table } from "../parts/table.js";
import { Line } from "../parts/text.js";
import { Webhooks } from "../parts/webhooks.js";

/** Scopes, and what each may do beyond the one before. */
const SCOPES = [
  ["read", "see everything of its project: jobs, metrics, rollouts, files, models"],
  ["write", "also upload and delete files, create and stop jobs, run evals, and let models answer"],
  ["admin", "also make projects and keys, delete models, and grant a model to another project"],
];

export default function Keys() {
  useTitle("Keys");
  const session = useLoad((signal) => get("/session", {}, { signal }), []);
  if (session.error) return html`<h1>Keys</h1><${Problem} error=${session.error} retry=${session.again} />`;
  if (!session.data) return html`<${Busy} />`;
  const { key, project_id: projectId } = session.data;
  const logOut = async () => {
    await remove("/session");
    sessionStorage.clear(); // a draft may hold a grader's passwords
    location.assign("/login"); // anew, so that nothing of this key stays in memory
  };
  return html`<header class="section-head"><h1>Keys</h1><div class="actions"><${Action} run=${logOut}>Log out</${Action}></div></header>
    <section class="panel stack" id="me" aria-label="This browser">
      <h2>This browser</h2>
      <dl class="facts"><dt>Key</dt><dd><${Line} text=${key.name} /> <code>sk-…${key.hint}</code></dd>
        <dt>Project</dt><dd><code>${projectId}</code></dd><dt>Scope</dt><dd>${key.scope}</dd></dl>
      <p>A key of this scope may ${SCOPES.slice(0, SCOPES.findIndex(([name]) => name === key.scope) + 1).map(([, what]) => what).join("; ")}.</p>
      ${key.scope !== "admin" && html`<p class="faint">Projects and keys are made with a key of the scope admin,
        ${" "}or on the server's machine: <code>openrft keys create</code>.</p>`}
    </section>
    ${key.scope === "admin" && html`<${Projects} projectId=${projectId} keyId=${key.id} />`}
    <${Webhooks} mayWrite=${key.scope !== "read"} />`;
}

/** @param {{projectId: string, keyId: string}} props the project and the key that one is logged in with */
function Projects({ projectId, keyId }) {
  const list = useLoad(() => all("/v1/organization/projects"), []);
  if (list.error) return html`<${Problem} error=${list.error} retry=${list.again} />`;
  if (!list.data) return html`<${Busy} what="Loading projects" />`;
  const chosen = list.data.find((one) => one.id === (query.value.project ?? projectId)) ?? list.data[0];
  const create = async (/** @type {string} */ name) => {
    const made = await post("/v1/organization/projects", { name });
    list.again();
    setQuery({ project: made.id });
  };
  return html`<${Section} id="projects" title="Projects" note="What belongs to one project no other one sees: files, jobs, models, evals.">
      <div class="row"><label class="picking"><span>Project</span>
        <select value=${chosen.id} onChange=${(/** @type {any} */ e) => setQuery({ project: e.currentTarget.value })}>
          ${list.data.map((one) => html`<option value=${one.id} selected=${one.id === chosen.id}>${one.name}</option>`)}</select></label>
        <code>${chosen.id}</code></div>
      <${NameForm} id="new-project" label="New project" button="Make the project" send=${create} />
    </${Section}>
    <${ProjectKeys} key=${chosen.id} project=${chosen} keyId=${keyId} />`;
}

/** @param {{project: any, keyId: string}} props */
function ProjectKeys({ project, keyId }) {
  const path = `/v1/organization/projects/${project.id}/api_keys`;
  const list = useLoad(() => all(path), []);
  const [made, setMade] = useState(/** @type {any} */ (null));
  const create = async (/** @type {string} */ name, /** @type {string} */ scope) => {
    setMade(await post(path, { name, scope }));
    list.again();
  };
  const revoke = async (/** @type {any} */ key) => {
    await remove(`${path}/${key.id}`);
    list.again();
  };
  return html`<${Section} id="keys" title="Keys" note=${html`of <${Line} text=${project.name} />`}>
    <${NameForm} id="new-key" label="New key" button="Make the key" choices=${["write", "read", "admin"]} choiceLabel="Scope" send=${create} />
    ${made && html`<${Once} title=${`The key ${made.name}.`} value=${made.value} close=${() => setMade(null)} />`}
    ${list.error && html`<${Problem} error=${list.error} retry=${list.again} />`}
    ${!list.data ? !list.error && html`<${Busy} what="Loading keys" />`
      : list.data.length === 0 ? html`<p class="faint">This project has no key yet, so nothing can use it.</p>`
        : html`<div class="managed"><${Table} label="Keys" rows=${list.data} rowKey=${(/** @type {any} */ key) => key.id} columns=${[
          { title: "Name", isHead: true, cell: (/** @type {any} */ key) => html`<${Line} text=${key.name} />${key.id === keyId && html` <${Chip}>this browser's</${Chip}>`}` },
          { title: "Scope", cell: (/** @type {any} */ key) => html`<span title=${SCOPES.find(([name]) => name === key.scope)?.[1]}>${key.scope}</span>` },
          { title: "Key", cell: (/** @type {any} */ key) => html`<code>${key.redacted_value}</code>` },
          { title: "Made", cell: (/** @type {any} */ key) => html`<span title=${when(key.created_at)}>${ago(key.created_at)}</span>` },
          { title: "Last used", cell: (/** @type {any} */ key) => (key.last_used_at ? html`<span title=${when(key.last_used_at)}>${ago(key.last_used_at)}</span>` : "never") },
          { title: html`<span class="unseen">Actions</span>`, cell: (/** @type {any} */ key) => html`<${Action} kind="small danger"
            confirm=${`Revoke ${key.name}? Whoever uses it is refused from now on${key.id === keyId ? ", this browser as well" : ""}.`}
            run=${() => revoke(key)}>Revoke<span class="unseen"> ${key.name}</span></${Action}>` },
        ]} /></div>`}
  </${Section}>`;
}
