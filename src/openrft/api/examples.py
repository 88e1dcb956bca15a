"""``GET /v1/fine_tuning/jobs/{id}/examples``: ours. The training rows over a run: which were learned, which never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request

from openrft.api.access import Platforms, Reader
from openrft.api.listing import After, Limit, at_most
from openrft.api.rollout_groups import short_prompt
from openrft.api.rollout_reading import RolloutReading
from openrft.api.visits import ExampleVisits, State
from openrft.errors import InvalidRequest
from openrft.store.rows import JobRow, SampledStep

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}/examples", tags=["observability"])

Sort = Literal["first_seen", "last_seen", "worst", "best", "most_visited", "most_ungraded"]

_MOST_ROWS = 200  # of a page
_MOST_VISITS = 500  # of a row, the newest
_NO_MEAN = float("inf")  # last in either order

_KEYS: dict[Sort, Callable[[ExampleVisits], float]] = {
    "first_seen": lambda one: one.steps[0],
    "last_seen": lambda one: -one.steps[-1],
    "worst": lambda one: _NO_MEAN if one.mean is None else one.mean,
    "best": lambda one: _NO_MEAN if one.mean is None else -one.mean,
    "most_visited": lambda one: -len(one.steps),
    "most_ungraded": lambda one: -one.ungraded,
}

States = Annotated[list[str] | None, Query(description="states to list, repeated or with commas; without it, all")]


@router.get("")
def list_examples(
    request: Request,
    caller: Reader,
    platform: Platforms,
    fine_tuning_job_id: str,
    state: States = None,
    sort: Sort = "first_seen",
    example: Annotated[str | None, Query(max_length=200, description="this one only")] = None,
    limit: Limit = 50,
    after: After = None,
) -> dict[str, Any]:
    """A page of the rows that training has sampled so far, and how many are in each state."""
    job = platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    wanted = _states(state)
    threshold = _pass_threshold(job)
    steps = [one for one in platform.store.rollouts.steps(caller.project_id, job.id) if one.rollouts is not None]
    with RolloutReading(platform, caller.project_id, job.id) as reading:
        found = request.app.state.visits.read(reading, job.id, steps, threshold - 1e-9)
        states = {one.example: one.state for one in found}
        listed = [one for one in found if states[one.example] in wanted and example in (None, one.example)]
        rows = sorted(listed, key=lambda one: (_KEYS[sort](one), one.example))
        start = 0 if after is None else _place_after(rows, after)
        page = rows[start : start + at_most(limit, _MOST_ROWS)]
        texts = _texts(reading, steps, page)
    counts = Counter(states.values())
    return {
        "object": "list",
        "data": [_example_object(one, states[one.example], texts.get(one.example, {})) for one in page],
        "has_more": start + len(page) < len(rows),
        "first_id": page[0].example if page else None,
        "last_id": page[-1].example if page else None,
        "pass_threshold": threshold,
        "counts": {one: counts[one] for one in get_args(State)},
    }


def _texts(
    reading: RolloutReading, steps: Sequence[SampledStep], page: Sequence[ExampleVisits]
) -> dict[str, dict[str, Any]]:
    """By example, a rollout of its newest visit; without those whose texts somebody has removed."""
    newest = {one.example: one.steps[-1] for one in page}
    wanted = set(newest.values())
    found = {}
    read = [one for one in steps if one.step in wanted]
    for step, index in zip(read, reading.indexes(read), strict=True):
        for number, example in enumerate(index.examples):
            if newest.get(example) != step.step:
                continue
            row = reading.row((step.step, index.example.tolist().index(number)))
            if row is not None:
                found[example] = row
    return found


def _example_object(visits: ExampleVisits, state: State, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "object": "fine_tuning.job.example",
        "id": visits.example,
        "example": visits.example,
        "line": row.get("line"),
        "prompt": short_prompt(row["prompt"]) if row else None,
        "state": state,
        "mean": visits.mean,
        "num_visits": len(visits.steps),
        "visits": visits.steps[-_MOST_VISITS:],
        "means": visits.means[-_MOST_VISITS:],
        "rollouts": visits.rollouts,
        "ungraded": visits.ungraded,
    }


def _states(given: Sequence[str] | None) -> set[str]:
    wanted = {one for part in given or () for one in part.split(",") if one}
    there: tuple[str, ...] = get_args(State)
    for one in sorted(wanted.difference(there)):
        raise InvalidRequest(f"state: there is no {one[:80]!r}; give some of {', '.join(there)}", param="state")
    return wanted or set(there)


def _pass_threshold(job: JobRow) -> float:
    """The score from which an answer passes, as the run resolved it."""
    return float((job.resolved or {}).get("hyperparameters", {}).get("pass_threshold", 1.0))


def _place_after(rows: Sequence[ExampleVisits], after: str) -> int:
    for number, one in enumerate(rows, start=1):
        if one.example == after:
            return number
    raise InvalidRequest(f"after: {after!r} is no example of this list; give the last_id of a page", param="after")
