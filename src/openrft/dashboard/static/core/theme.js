// @ts-check
/** Light, dark, or what the system says; kept in this browser. */
import { effect, signal } from "@preact/signals";

const KEY = "openrft-theme";

/** "system", "light" or "dark". */
export const theme = signal(localStorage.getItem(KEY) ?? "system");

const system = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(system.matches);
system.addEventListener("change", () => (systemIsDark.value = system.matches));

/** Whether the page is dark now: charts are drawn anew when it changes. */
export const isDark = signal(false);

effect(() => {
  localStorage.setItem(KEY, theme.value);
  isDark.value = theme.value === "system" ? systemIsDark.value : theme.value === "dark";
  document.documentElement.style.colorScheme = theme.value === "system" ? "light dark" : theme.value;
});

/** The next of the three. */
export function turnTheme() {
  theme.value = { system: "light", light: "dark", dark: "system" }[theme.value] ?? "system";
}
