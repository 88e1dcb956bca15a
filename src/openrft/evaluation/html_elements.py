"""The elements that a report in HTML is built of.

Whatever is not :class:`Html` already is text: it is escaped, and cut where it is very long.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from openrft.evaluation.untrusted import html_text, show_controls

_EMPTY = frozenset({"meta", "line", "circle", "polyline", "polygon", "rect", "path"})


_MOST_TEXT = 2_000  # characters of a name, a sentence, a cell; a block has a limit of its own


class Html(str):
    """Markup of ours. Made by the functions below only, so that no text becomes markup by mistake."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | float | None) -> Html:
    """``<tag attributes>children</tag>``: children that are no :class:`Html` are shown as the text they are.

    ``class_`` is spelled so for Python, a ``_`` inside a name becomes ``-``, and an attribute of None is left out.
    """
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = "".join(f' {name}="{_attribute(value)}"' for name, value in named.items())
    if tag in _EMPTY and not children:
        return Html(f"<{tag}{opening}>" if tag == "meta" else f"<{tag}{opening}/>")
    return Html(f"<{tag}{opening}>{joined(children)}</{tag}>")


def joined(children: Iterable[str]) -> Html:
    """One after the other; text is escaped."""
    return Html("".join(child if isinstance(child, Html) else _shown(child, _MOST_TEXT) for child in children))


def title(text: str) -> Html:
    """The page's title, which can hold no element: escapes of what cannot be seen are plain text in it."""
    return Html(f"<title>{html.escape(show_controls(text))}</title>")


def cut(text: str, limit: int) -> str:
    """The beginning of a long text, and how long it is."""
    return text if len(text) <= limit else f"{text[:limit]}… [cut here: {len(text):,} characters in all]"


def block(text: str, *, limit: int) -> Html:
    """A model's or a user's text as it is, line by line; a long one is cut."""
    return element("pre", _shown(text, limit)) if text else element("p", "(empty)", class_="nothing")


def section(heading: str, *children: str, anchor: str | None = None) -> Html:
    """A part of the report under its heading."""
    return element("section", element("h2", heading, id=anchor), *children)


def paragraphs(texts: Iterable[str]) -> Html:
    """Remarks as a list; nothing of none."""
    items = [element("li", text) for text in texts]
    return element("ul", *items, class_="notes") if items else Html()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str | None = None, texts: int = 1) -> Html:
    """A table whose first ``texts`` columns are words and whose others are numbers; the first cell heads its row."""
    kinds = [None if number < texts else "number" for number in range(len(columns))]
    head = [element("th", name, scope="col", class_=kind) for name, kind in zip(columns, kinds, strict=True)]
    lines = []
    for cells in rows:
        first, *others = cells
        data = [element("td", cell, class_=kind) for cell, kind in zip(others, kinds[1:], strict=True)]
        lines.append(element("tr", element("th", first, scope="row"), *data))
    parts = [] if caption is None else [element("caption", caption)]
    parts += [element("thead", element("tr", *head)), element("tbody", *lines)]
    return element("div", element("table", *parts), class_="wide", tabindex="0")


def facts_list(facts: Iterable[tuple[str, str]]) -> Html:
    """Names with their values."""
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    return element("dl", *pairs, class_="facts")


def fold(summary: str, *children: str) -> Html:
    """What opens when asked for."""
    return element("details", element("summary", summary), *children)


def _shown(text: str, limit: int) -> Html:
    return Html(html_text(cut(text, limit)))


def _attribute(value: str | float) -> str:
    return html.escape(show_controls(str(value)))
