"""The strict base of every option object, and how a wrong option is told to a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from openrft.errors import InvalidRequest

SpecT = TypeVar("SpecT")


class Spec(BaseModel):
    """Options that refuse unknown keys by name and do not change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def parse_spec(kind: type[SpecT] | Any, data: Any, *, where: str = "") -> SpecT:
    """Build ``kind`` (a Spec or a union of them) from plain data.

    ``where`` is the path of ``data`` inside the whole document, put before the field in messages. Raises
    :class:`InvalidRequest` that names every wrong field, what was found and what was expected; ``param`` is the first.
    """
    try:
        parsed: SpecT = TypeAdapter(kind).validate_python(data)
        return parsed
    except ValidationError as error:
        lines, first = [], None
        for problem in error.errors(include_url=False):
            path = _path(where, problem["loc"])
            first = first or path
            lines.append(_sentence(path, problem))
        raise InvalidRequest("\n".join(lines), param=first) from None


def read_json(path: Path, *, what: str) -> Any:
    """Read a JSON file, with an :class:`InvalidRequest` that names file, line and column if it is not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidRequest(f"{what} {path} does not exist; check the path", param=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{what} {path} cannot be read: {error}", param=str(path)) from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"{what} {path} is not JSON: {error.msg} at {place}", param=str(path)) from None


def _path(where: str, location: tuple[int | str, ...]) -> str:
    """``("graders", 0, "input")`` → ``where.graders[0].input``."""
    path = where
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else str(part))
    return path or "the document"


def _sentence(path: str, problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key; remove it or correct its spelling"
    if problem["type"] == "missing":
        return f"{path}: missing; it is required"
    found = repr(problem["input"])
    found = found if len(found) <= 80 else found[:77] + "…"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {message} (found {found})"
