"""A job's report as one HTML file, made when asked for from what the job left in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response

from openrft.api.platform import Platform
from openrft.api.turns import Turns
from openrft.errors import NotFound
from openrft.evaluation.html_report import POLICY, Record, to_html
from openrft.store.rows import JobRow, StepRow

_POLICY = f"{POLICY}; frame-ancestors 'none'; sandbox"
"""The file's own, and what only a header can say."""

_TURNS = Turns(2, "other reports are being written; try again in a moment")
_TOKENS = frozenset({"prompt_token_ids", "token_ids", "sampling_logprobs"})


def report_page(platform: Platform, job: JobRow, report: Mapping[str, Any]) -> Response:
    """The page as an attachment: a browser saves it, and whatever opened it from here could neither run nor load."""
    with _TURNS.one():
        return _page(platform, job, report)


def _page(platform: Platform, job: JobRow, report: Mapping[str, Any]) -> Response:
    steps = _steps(platform, job)
    sampled = [row.rollouts for row in steps if row.rollouts is not None]
    record = Record(
        report=report,
        job=_document(platform, job, "job.json"),
        config=_document(platform, job, "config.json"),
        steps=[{"step": row.step, **row.metrics} for row in steps],
        rollouts=[row for key in dict.fromkeys(sampled[:1] + sampled[-1:]) for row in _rollouts(platform, key)],
        finished_at=job.finished_at,
        job_id=job.id,
    )
    headers = {
        "Content-Disposition": f'attachment; filename="{job.id}-report.html"',
        "Content-Security-Policy": _POLICY,
    }
    return Response(to_html(record), media_type="text/html; charset=utf-8", headers=headers)


def _steps(platform: Platform, job: JobRow) -> list[StepRow]:
    found: list[StepRow] = []
    while more := platform.store.steps.list(job.project_id, job.id, after=found[-1].step if found else -1):
        found += more
    return found


def _document(platform: Platform, job: JobRow, name: str) -> dict[str, Any]:
    """One of the documents that the job wrote."""
    try:
        with platform.store.artifacts.open(f"jobs/{job.id}/documents/{name}") as file:
            document: dict[str, Any] = json.loads(file.read())
    except NotFound:  # somebody made room
        return {}
    return document


def _rollouts(platform: Platform, key: str) -> list[dict[str, Any]]:
    try:
        with platform.store.artifacts.open(key) as file:
            return [_without_tokens(json.loads(line)) for line in file]
    except NotFound:
        return []


def _without_tokens(row: dict[str, Any]) -> dict[str, Any]:
    """A rollout as the page needs it: its tokens take most of its memory."""
    return {name: value for name, value in row.items() if name not in _TOKENS}
