"""What is in a file, for a person who is about to train on it: all keys, and some rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from openrft.dataset.compare import json_type
from openrft.dataset.read import Reading
from openrft.dataset.rows import Row

MOST_CHARACTERS = 2 * 1024**2
"""Of all shown rows together, as JSON."""

MOST_KEYS = 500
"""Of which more is told than that they are there."""


@dataclass(slots=True)
class PreviewKey:
    """A key of the rows: how many have it, of which JSON types, and the line of the first row that lacks it."""

    rows: int = 0
    types: dict[str, int] = field(default_factory=dict)
    missing_line: int | None = None


def keys_of(reading: Reading) -> tuple[dict[str, PreviewKey], int]:
    """The first :data:`MOST_KEYS` keys of all rows, in the order of their first use, and how many there are in all."""
    keys: dict[str, PreviewKey] = {}
    names: set[str] = set()
    for row in reading.rows:
        names.update(row.content)
        for name, value in row.content.items():
            if name not in keys and len(keys) == MOST_KEYS:
                continue
            key = keys.setdefault(name, PreviewKey())
            key.rows += 1
            kind = json_type(value)
            key.types[kind] = key.types.get(kind, 0) + 1
    for name, key in keys.items():
        if key.rows < len(reading.rows):
            key.missing_line = next(row.line for row in reading.rows if name not in row.content)
    return keys, len(names)


def shown_rows(reading: Reading, *, after: int, limit: int) -> list[Row]:
    """At most ``limit`` rows after line ``after``; fewer where they are long, none where one is too long alone."""
    shown: list[Row] = []
    room = MOST_CHARACTERS
    for row in reading.rows:
        if row.line <= after:
            continue
        room -= len(json.dumps(row.content, ensure_ascii=False))
        if len(shown) == limit or room < 0:
            break
        shown.append(row)
    return shown
