// @ts-check
/** What is around every view: the name, the ways to other pages, who one is. */
import { useEffect } from "preact/hooks";
import { html } from "../core/html.js";
import { route } from "../core/router.js";
import { followSession, mayWrite } from "../core/session.js";
import { theme, turnTheme } from "../core/theme.js";

const PLACES = [
  ["/finetune", "Jobs"],
  ["/playground", "Playground"],
  ["/evals", "Evals"],
  ["/models", "Models"],
  ["/files", "Files"],
  ["/graders", "Graders"],
  ["/usage", "Usage"],
  ["/keys", "Keys"],
];

/** @param {{children?: any}} props */
export function Frame({ children }) {
  const path = route.value.path;
  const isLogin = path === "/login";
  useEffect(() => followSession(!isLogin), [isLogin]);
  return html`
    <a class="skip" href="#main">Skip to content</a>
    <header class="top">
      <a class="brand" href="/finetune" aria-label="openrft, all jobs"><span class="mark" aria-hidden="true"></span>openrft</a>
      ${!isLogin && html`<nav class="places" aria-label="Pages">
        ${PLACES.map(([href, title]) => html`<a href=${href} aria-current=${isAt(path, href) ? "page" : null}>${title}</a>`)}
      </nav>`}
      <button type="button" class="small" onClick=${turnTheme} aria-label=${`Theme: ${theme.value}. Change`}>
        ${{ system: "◐", light: "☀", dark: "☾" }[theme.value]}</button>
      ${!isLogin && mayWrite.value && html`<a class="button primary" href="/finetune/new">New job</a>`}
    </header>
    <main id="main" tabindex="-1">${children}</main>`;
}

/** @param {string} path @param {string} href */
const isAt = (path, href) => path === href || path.startsWith(`${href}/`) || (path === "/" && href === "/finetune");

/** Sets the window's title while a page is shown. @param {string} title */
export function useTitle(title) {
  useEffect(() => {
    document.title = title ? `${title} · openrft` : "openrft";
  }, [title]);
}
