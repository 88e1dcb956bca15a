"""Web addresses and headers that a person wrote; what is wrong with them is told without showing a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

MASK = "**********"
"""What is shown in place of a header's value."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


def wrong_web_address(url: Any) -> str | None:
    """What is wrong with ``url``, or None. The sentence never quotes it whole: it may hold a password."""
    expected = "expected a web address as in https://example.com/grade"
    if not isinstance(url, str) or not url:
        return f"{expected}, but got {'an empty string' if url == '' else type(url).__name__}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError as error:
        return f"{expected}: {error}"
    if parts.scheme not in ("http", "https"):
        return f"{expected}; it has to begin with http:// or https://"
    if not host or any(letter <= " " or letter == "\x7f" for letter in url):
        return f"{expected}; this one {'holds blanks or control characters' if host else 'names no host'}"
    if "@" in parts.netloc:
        return "a name and password in the address would show up in messages; take them out and send them in a header"
    return None


def wrong_headers(headers: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with a map of headers: (place under the map, sentence). No value is ever shown."""
    if not isinstance(headers, dict):
        yield "", f"expected a map of name to text, but got {type(headers).__name__}"
        return
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            yield f".{name}", "not a header's name; use letters, digits and -, as in X-Grader-Key"
        elif not isinstance(value, str):
            yield f".{name}", f"expected a text, but got {type(value).__name__}"
        elif not _HEADER_VALUE.fullmatch(value):
            yield f".{name}", "the value has line ends or letters outside ASCII, which a header cannot carry"
        elif value == MASK:
            yield f".{name}", "this is the mask that answers show in its place; write the value itself"


def shown_address(url: str) -> str:
    """``url`` for messages: without its query, which may hold a key."""
    return url.partition("?")[0].partition("#")[0]


def masked(value: Any) -> Any:
    """``value`` with the headers of every endpoint in it masked: they hold passwords."""
    if isinstance(value, dict):
        return {key: _mask(inner) if key == "headers" else masked(inner) for key, inner in value.items()}
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def _mask(headers: Any) -> Any:
    return dict.fromkeys(headers, MASK) if isinstance(headers, dict) else None if headers is None else MASK
