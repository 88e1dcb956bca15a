"""Text that a model or a user wrote, made harmless for terminal, Markdown and HTML; nothing is dropped in silence."""

from __future__ import annotations

import html
import re
import unicodedata

# Categories whose characters steer a terminal or reorder what is seen: controls, formats (bidi overrides, zero-width
# and tag characters), lone surrogates, private use, line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# What acts in a line of Markdown wherever it stands; an underscore only beside a word, brackets only as a link, a colon
# only in an address or emoji. Escaping no more than that keeps the file readable as it is.
_INLINE = re.compile(
    r"[\\`*<>|~&@$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:]|$)|:(?=\S)|(?<=www)\.", re.IGNORECASE
)
# Where a line would begin as a list, a task, a heading or a rule, a backslash goes after the match.
_LEADING = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[#\[=])|(?=[+-](?:[\s-]|$)))")


# No letter, digit or blank needs a look.
_ESCAPED_IN_HTML = re.compile(r"[^\w \n]+")


def show_controls(text: str) -> str:
    r"""Every character that would act instead of being seen becomes its escape, such as ``\x1b``; newlines stay.

    Emoji that are joined by zero-width joiners come apart, which is the price of showing hidden text.
    """
    return "".join(character if _is_plain(character) else _escape(character) for character in text)


def html_text(text: str) -> str:
    """HTML that shows the text and nothing else: markup is escaped, and what would act unseen becomes ``⟨U+202E⟩``.

    The escape stands in a ``span`` of the class ``hidden``, by which it differs from a text that only says so.
    """
    return _ESCAPED_IN_HTML.sub(_html_escape, text)


def shorten(text: str, limit: int) -> str:
    """The first ``limit`` characters, and how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def fenced(text: str) -> str:
    """A Markdown code block that no text can leave: its fence is longer than any run of backticks inside."""
    text = show_controls(text)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def markdown_text(text: str) -> str:
    """One line of Markdown that reads as the text does: no markup, HTML, link or table border in it acts."""
    line = re.sub(r"\s+", " ", show_controls(text)).strip()
    return _LEADING.sub(r"\1\\", _INLINE.sub(r"\\\g<0>", line))


def _html_escape(run: re.Match[str]) -> str:
    """Of a run of characters that are not letters: most of them stay."""
    shown, hidden = [], False
    for character in run[0]:
        is_hidden = not _is_plain(character) or unicodedata.category(character) == "Cn"
        if is_hidden != hidden:
            shown.append("</span>" if hidden else '<span class="hidden">')
            hidden = is_hidden
        shown.append(f"⟨U+{ord(character):04X}⟩" if is_hidden else html.escape(character))
    return "".join(shown) + ("</span>" if hidden else "")


def _is_plain(character: str) -> bool:
    return character == "\n" or character == "\t" or unicodedata.category(character) not in _HIDDEN


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)
