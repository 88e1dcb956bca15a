// @ts-check
/** The way in: by the link that `openrft serve` and `openrft dashboard` print, or by an API key. */
import { useEffect, useState } from "preact/hooks";
import { post } from "../core/api.js";
import { html } from "../core/html.js";
import { navigate, query } from "../core/router.js";
import { Busy, Field, Problem } from "../parts/elements.js";
import { useTitle } from "../parts/frame.js";

const FIRST = "/finetune";

export default function Login() {
  useTitle("Log in");
  const [state, setState] = useState(/** @type {{isBusy: boolean, error: any}} */ ({ isBusy: location.hash.length > 1, error: null }));
  const enter = async (/** @type {{code: string}|{key: string}} */ proof) => {
    setState({ isBusy: true, error: null });
    try {
      await post("/session", proof);
      navigate(placeAfter(query.value.next), { replace: true });
    } catch (error) {
      setState({ isBusy: false, error });
    }
  };
  useEffect(() => {
    const useLink = () => {
      const code = location.hash.slice(1);
      if (!code) return;
      // Whatever comes of it, the code does not stay in the address, the history or a bookmark.
      history.replaceState(null, "", location.pathname + location.search);
      enter({ code });
    };
    useLink();
    addEventListener("hashchange", useLink); // another link in the same tab loads nothing anew
    return () => removeEventListener("hashchange", useLink);
  }, []);
  return html`<div class="login panel stack">
    <h1>Log in</h1>
    ${state.error && html`<${Problem} error=${state.error} />`}
    ${state.isBusy ? html`<${Busy} what="Logging in" />` : html`<${KeyForm} enter=${enter} />`}
  </div>`;
}

/** @param {{enter: (proof: {key: string}) => void}} props */
function KeyForm({ enter }) {
  const [key, setKey] = useState("");
  const send = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (key.trim()) enter({ key: key.trim() });
  };
  return html`<form class="stack" onSubmit=${send}>
      <${Field} label="API key" for="key" hint="It goes to this server only, and scripts cannot read it afterwards.">
        <input id="key" type="password" name="key" autocomplete="current-password" spellcheck=${false} required
          aria-describedby="key-hint" value=${key} onInput=${(/** @type {any} */ e) => setKey(e.currentTarget.value)} />
      </${Field}>
      <div class="actions"><button type="submit" class="primary">Log in</button></div>
    </form>
    <section class="stack" aria-label="No key at hand?">
      <h2>No key at hand?</h2>
      <p>On the machine that serves this page, this prints a link that logs you in once:</p>
      <pre class="command">openrft dashboard</pre>
      <p class="faint">The first key lies in the file <code>api-key</code> of the server's folder:
        ${" "}<code>~/.openrft</code>, if it was not started with <code>--home</code>. Others are made by
        ${" "}<code>openrft keys create</code>.</p>
    </section>`;
}

/**
 * Where to go after logging in: a page of this server, whatever the address says.
 * @param {string|undefined} next
 */
function placeAfter(next) {
  if (!next?.startsWith("/")) return FIRST;
  const place = new URL(next, location.origin);
  const isElsewhere = place.origin !== location.origin || place.pathname.startsWith("//");
  return isElsewhere || /^\/login\/*$/.test(place.pathname) ? FIRST : place.pathname + place.search;
}
