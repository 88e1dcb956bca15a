"""The strict base of every option object, and how a wrong option is told to a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from openrft.errors import InvalidRequest

SpecT = TypeVar("SpecT")


class Spec(BaseModel):
    """Options that refuse unknown keys by name, and numbers that are not finite, and do not change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def parse_spec(kind: type[SpecT] | Any, data: Any, *, where: str = "") -> SpecT:
    """Build ``kind`` (a Spec or a union of them) from plain data.

    ``where`` is the path of ``data`` inside the whole document, put before the field in messages. Raises
    :class:`InvalidRequest` that names every wrong field, what was found and what was expected; ``param`` is the first.
    """
    try:
        parsed: SpecT = TypeAdapter(kind).validate_python(data)
        return parsed
    except ValidationError as error:
        problems: dict[str, list[Any]] = {}  # by field: each member of a union has a problem of its own
        for problem in error.errors(include_url=False):
            problems.setdefault(_path(where, _location(data, problem)), []).append(problem)
        lines = [_sentence(path, of_field) for path, of_field in problems.items()]
        raise InvalidRequest("\n".join(lines), param=next(iter(problems))) from None


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


def _location(data: Any, problem: Any) -> list[int | str]:
    """Where in ``data`` the problem is: pydantic's location without the parts that name a member of a union."""
    *parents, last = problem["loc"] or (None,)
    place: list[int | str] = []
    for part in parents:
        if _holds(data, part):
            place.append(part)
            data = data[part]
    if last is not None and (problem["type"] == "missing" or _holds(data, last)):
        place.append(last)
    return place


def _holds(data: Any, part: int | str) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)


def _path(where: str, location: list[int | str]) -> str:
    """``("graders", 0, "input")`` → ``where.graders[0].input``."""
    path = where
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else str(part))
    return path or "the document"


def _sentence(path: str, problems: list[Any]) -> str:
    problem = problems[0]
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key; remove it or correct its spelling"
    if problem["type"] == "missing":
        return f"{path}: missing; it is required"
    found = repr(problem["input"])
    found = found if len(found) <= 80 else found[:77] + "…"
    messages = [one["msg"].removeprefix("Value error, ") for one in problems]
    others = [message.removeprefix("Input should be ") for message in messages[1:]]
    message = ", or ".join([messages[0], *others])
    return f"{path}: {message} (found {found})"
