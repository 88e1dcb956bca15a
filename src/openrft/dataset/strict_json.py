"""A row's JSON, without what programs disagree about: NaN, keys twice, half characters, endless nesting."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100
"""Lists and objects inside one another in a row. Python's own limit depends on what else is running."""


class BadJson(ValueError):
    """JSON that Python would take and other programs would not; carries the problem's words."""

    def __init__(self, code: str, expected: str, found: str, fix: str) -> None:
        super().__init__(found)
        self.code, self.expected, self.found, self.fix = code, expected, found, fix


def parse_json(text: str) -> Any:
    """What ``text`` says. Raises :class:`BadJson`, or what ``json.loads`` raises."""
    value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite_float)
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise RecursionError
    if "\\u" not in text:
        return value
    try:
        # JSON may spell half of a character ("\ud83d"); no tokenizer and no file can take it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"\\u{ord(error.object[error.start]):04x} alone, which is half of a character"
        raise BadJson("invalid_unicode", "whole characters", found, "Write both halves, or neither.") from None
    return value


def _is_deep(value: Any) -> bool:
    layer = [value]
    for _ in range(MAX_DEPTH):
        nested = [inner for inner in layer if isinstance(inner, dict | list)]
        layer = [inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)]
    return any(isinstance(inner, dict | list) for inner in layer)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadJson("duplicate_key", "each key once in an object", f'"{twice[:80]}" twice', "Keep one of them.")
    return made


def _refuse_constant(text: str) -> Any:
    raise BadJson("not_finite", "numbers that JSON knows", text, "Use null or a string.")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise BadJson("not_finite", "a number within range", text[:40], "Write it as a string.")
    return number
