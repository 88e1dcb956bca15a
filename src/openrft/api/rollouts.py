"""``/v1/fine_tuning/jobs/{id}/rollouts``: ours. Everything that was sampled in training, with its grades whole.

``after`` is the ``next_cursor`` of the page before; what a job adds meanwhile neither moves nor repeats what was
listed. Read rollout_picking.py for what can be asked, rollout_pages.py for how a page comes about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from openrft.api.access import Platforms, Reader
from openrft.api.platform import Platform
from openrft.api.rollout_groups import groups_of, histograms_of
from openrft.api.rollout_pages import LONG_READS, id_of, page_object, page_of, place_of
from openrft.api.rollout_picking import Picking
from openrft.api.rollout_reading import Place, RolloutReading
from openrft.api.token_texts import token_texts
from openrft.errors import NotFound
from openrft.store.rows import SampledStep

__all__ = ["LONG_READS", "router"]

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}/rollouts", tags=["observability"])

_TOKENS = ("prompt_token_ids", "token_ids", "sampling_logprobs")
_GRADE = {
    "grader": "grader",
    "score": "score",
    "error": "error",
    "replaced": "replaced",
    "explanation": "explanation",
    "printed": "printed",
    "grading_seconds": "seconds",
    "grading_usage": "usage",
    "unparsed": "unparsed",
    "sub_grades": "sub_grades",
}
_NEWEST_STEPS = 10  # that a histogram is of, where nobody says which

Picked = Annotated[Picking, Query()]
Step = Annotated[int, Path(ge=0, le=2**31 - 1)]


@router.get("")
def list_rollouts(caller: Reader, platform: Platforms, fine_tuning_job_id: str, picking: Picked) -> dict[str, Any]:
    """A page of the job's rollouts."""
    return _page(platform, caller.project_id, fine_tuning_job_id, picking)


@router.get("/steps/{step}")
def list_rollouts_of_step(
    caller: Reader, platform: Platforms, fine_tuning_job_id: str, step: Step, picking: Picked
) -> dict[str, Any]:
    """A page of one step's rollouts."""
    _recorded(platform, caller.project_id, fine_tuning_job_id, step)
    return _page(platform, caller.project_id, fine_tuning_job_id, picking.model_copy(update={"step": step}))


@router.get("/steps/{step}/groups")
def list_groups_of_step(caller: Reader, platform: Platforms, fine_tuning_job_id: str, step: Step) -> dict[str, Any]:
    """The groups of one step, each with what its rollouts came to."""
    recorded = _recorded(platform, caller.project_id, fine_tuning_job_id, step)
    with RolloutReading(platform, caller.project_id, fine_tuning_job_id) as reading:
        data = groups_of(reading, recorded)
    return {"object": "list", "data": data, "has_more": False}


@router.get("/examples/{example}")
def list_rollouts_of_example(
    caller: Reader, platform: Platforms, fine_tuning_job_id: str, example: str, picking: Picked
) -> dict[str, Any]:
    """A page of one example's rollouts across steps: what the model made of it while it learned."""
    return _page(platform, caller.project_id, fine_tuning_job_id, picking.model_copy(update={"example": example}))


@router.get("/histogram")
def get_histogram(
    caller: Reader,
    platform: Platforms,
    fine_tuning_job_id: str,
    step: Annotated[
        list[int] | None, Query(description="of these steps, repeated; without it, of the newest ten")
    ] = None,
    buckets: Annotated[int, Query(ge=1, le=200)] = 20,
) -> dict[str, Any]:
    """How often each reward was given, and each score of the parts of a multi grader."""
    steps = platform.store.rollouts.steps(caller.project_id, fine_tuning_job_id)
    steps = [one for one in steps if one.rollouts is not None and (step is None or one.step in step)]
    steps = steps[-_NEWEST_STEPS:] if step is None else steps
    with RolloutReading(platform, caller.project_id, fine_tuning_job_id) as reading:
        return {
            "object": "fine_tuning.job.rollout_histogram",
            "steps": [one.step for one in steps],
            **histograms_of(list(reading.indexes(steps)), buckets),
        }


@router.get("/{rollout_id}")
def retrieve_rollout(caller: Reader, platform: Platforms, fine_tuning_job_id: str, rollout_id: str) -> dict[str, Any]:
    """One rollout, with its tokens."""
    job = platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    place = place_of(rollout_id)
    with RolloutReading(platform, caller.project_id, fine_tuning_job_id) as reading:
        row = None if place is None else reading.row(place)
    if place is None or row is None:
        raise NotFound(f"No such rollout: {rollout_id[:80]}", param="rollout_id")
    trained = row["left_out"] is None
    method = job.spec["document"].get("method", {})
    # Which tokens a schema left no choice for, so that they did not train, is not recorded.
    is_known = not trained or not method.get("reinforcement", {}).get("response_format")
    return {
        **rollout_object(place, row, tokens=True),
        "token_texts": token_texts(
            platform.store, caller.project_id, job.spec["base_model"], row["token_ids"], row["output"]
        ),
        "trained": trained,
        "loss_mask": [int(trained)] * len(row["token_ids"]) if is_known else None,
    }


def rollout_object(place: Place, row: Mapping[str, Any], *, tokens: bool = False) -> dict[str, Any]:
    """A rollout on the wire: what was sampled, its grade whole, and what training made of it."""
    hidden = set(_GRADE) if tokens else {*_GRADE, *_TOKENS}
    return {
        "id": id_of(place),
        "object": "fine_tuning.job.rollout",
        **{name: value for name, value in row.items() if name not in hidden},
        "step": place[0],
        "prompt_tokens": len(row["prompt_token_ids"]),
        "completion_tokens": len(row["token_ids"]),
        "grade": {shown: row[name] for name, shown in _GRADE.items() if name in row},
    }


def _recorded(platform: Platform, project_id: str, job_id: str, step: int) -> SampledStep:
    found: Sequence[SampledStep] = platform.store.rollouts.steps(project_id, job_id, step=step)
    if not found:
        raise NotFound(f"job {job_id} has not recorded a step {step}", param="step")
    return found[0]


def _page(platform: Platform, project_id: str, job_id: str, picking: Picking) -> dict[str, Any]:
    steps = platform.store.rollouts.steps(project_id, job_id, step=picking.step, example=picking.example)
    with RolloutReading(platform, project_id, job_id) as reading:
        page = page_of(reading, steps, picking)
    return page_object(page, [rollout_object(place, row, tokens=picking.tokens) for place, row in page.found])
