"""``GET /v1/usage``: ours. What the project's jobs have spent, by job, by day and in total, as their steps say."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from openrft.api.access import Platforms, Reader
from openrft.api.turns import Turns
from openrft.errors import InvalidRequest
from openrft.store.usage import JobDay

router = APIRouter(prefix="/usage", tags=["usage"])

_DAY = 86_400
_DEFAULT_DAYS = 30
_LATEST = 2**40  # seconds; any database can hold it
# Every step of the time that is asked for is read.
_TURNS = Turns(2, "usage is being added up already; try again in a moment")

Since = Annotated[int | None, Query(ge=0, le=_LATEST, description="Unix seconds; without it, 30 days before until")]
Until = Annotated[int | None, Query(ge=0, le=_LATEST, description="Unix seconds, not itself in it; without it, now")]


@router.get("")
def get_usage(caller: Reader, platform: Platforms, since: Since = None, until: Until = None) -> dict[str, Any]:
    """Tokens, grading and minutes of the steps that were recorded from ``since`` until before ``until``."""
    end = int(time.time()) + 1 if until is None else until
    start = max(0, end - _DEFAULT_DAYS * _DAY) if since is None else since
    if start >= end:
        raise InvalidRequest(f"since is {start} and until {end}; give an earlier since", param="since")
    with _TURNS.one():
        found = platform.store.usage.list(caller.project_id, since=start, until=end)
    return {
        "object": "usage",
        "since": start,
        "until": end,
        "total": _sum(found),
        "days": [{"start_time": day, **_sum(rows)} for day, rows in sorted(_by(found, "day").items())],
        "jobs": [{"fine_tuning_job_id": job, **_sum(rows)} for job, rows in _by(found, "job_id").items()],
    }


def _by(rows: Iterable[JobDay], name: str) -> dict[Any, list[JobDay]]:
    found: dict[Any, list[JobDay]] = defaultdict(list)
    for row in rows:
        found[getattr(row, name)].append(row)
    return found


def _sum(rows: Iterable[JobDay]) -> dict[str, Any]:
    rows = list(rows)
    grading: dict[str, dict[str, int]] = {}
    for row in rows:
        for model, kinds in row.grading_tokens.items():
            tokens = grading.setdefault(model, {"prompt": 0, "completion": 0, "cached": 0})
            for kind, count in kinds.items():
                tokens[kind] = tokens.get(kind, 0) + round(count)
    return {
        "steps": sum(row.steps for row in rows),
        "trained_tokens": round(sum(row.trained_tokens for row in rows)),
        "sampled_tokens": round(sum(row.sampled_tokens for row in rows)),
        "grading_tokens": grading,
        "grader_cost": sum(row.grader_cost for row in rows),
        "training_minutes": sum(row.minutes for row in rows),
    }
