// @ts-check
/** Preact with htm: `html\`<p>${text}</p>\``. What is put in is always text or a component, never markup. */
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
