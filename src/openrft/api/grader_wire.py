"""A grader definition as it is told back: defaults filled in, and no secret in it."""

from __future__ import annotations

from typing import Any

from openrft.config.graders import GraderSpec, parse_grader
from openrft.config.web import MASK

_IMAGE_TAG = "2025-05-08"  # what OpenAI fills in for a Python grader


def grader_echo(definition: GraderSpec | dict[str, Any], *, where: str = "grader") -> dict[str, Any]:
    """The JSON of a definition that was accepted. Raises :class:`~openrft.errors.InvalidRequest` for another one."""
    spec = parse_grader(definition, where) if isinstance(definition, dict) else definition
    return _filled(spec.model_dump(mode="json", exclude_none=True))


def _filled(plain: dict[str, Any]) -> dict[str, Any]:
    if plain["type"] == "multi":
        return {**plain, "graders": {key: _filled(part) for key, part in plain["graders"].items()}}
    if plain["type"] == "python":
        return {"image_tag": _IMAGE_TAG, **plain}
    if plain["type"] == "endpoint" and "headers" in plain:
        return {**plain, "headers": dict.fromkeys(plain["headers"], MASK)}
    return plain
