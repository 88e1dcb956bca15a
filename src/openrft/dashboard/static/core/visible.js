// @ts-check
/**
 * Text that a model, a user or a grader wrote, as text: nothing in it acts on the page or deceives who reads it.
 *
 * Preact writes text nodes, so markup is letters already. What is left are characters that are not seen: terminal escapes
 * and other controls, and those that turn the direction of what follows ("bidi"). They are shown by their names.
 */

// Controls but tab and line feed; bidi controls; zero width; line separators; interlinear; tags; lone surrogates.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;

/** The text with every character that is not seen as its name: ⟨U+202E⟩, ⟨ESC⟩. @param {string} text */
export const visible = (text) => text.replace(/\r\n/g, "\n").replace(UNSEEN, nameOf);

/** @param {string} character */
function nameOf(character) {
  if (character === "\u001b") return "⟨ESC⟩";
  if (character === "\u0000") return "⟨NUL⟩";
  const code = character.codePointAt(0) ?? 0;
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}
