"""``GET /v1/fine_tuning/jobs/{id}/compare?evaluations=a,b``: two passes over the same held-out rows, ours.

What the report says once a job has ended can be asked of any two passes, while it still trains.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query

from openrft.api.access import Platforms, Reader
from openrft.api.observe import pass_object, passes
from openrft.api.platform import Platform
from openrft.api.turns import Turns
from openrft.errors import InvalidRequest, NotFound
from openrft.evaluation.evaluation import PASS_THRESHOLD, Evaluation
from openrft.evaluation.loss_report import build_loss_report
from openrft.evaluation.losses import LossEvaluation
from openrft.evaluation.report import build_report
from openrft.store.rows import JobRow

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}", tags=["observability"])

# The report's part about two models; what it says of the whole run (selection, curve, time) is not of these two passes.
_TOLD = (
    "kind", "outcome", "is_significant_gain", "sentence", "power", "rows_kind", "pass_threshold", "comparisons",
    "paired", "arms", "rows", "num_rows_left_out", "tries", "slices", "monitor",
)  # fmt: skip
_TURNS = Turns(2, "other evaluations are being compared; try again in a moment")
_SLACK = 1e-9  # below the threshold: scores are sums of floats


@router.get("/compare")
def compare_evaluations(
    caller: Reader,
    platform: Platforms,
    fine_tuning_job_id: str,
    evaluations: Annotated[str, Query(description="the ids of two evaluations: the base first, then the tuned one")],
) -> dict[str, Any]:
    """The second minus the first: means, paired difference, slices, several tries; rows that got worse come first."""
    ids = _two(evaluations)
    known = passes(platform, caller.project_id, fine_tuning_job_id)
    for one in ids:
        if one + ".json" not in known:
            raise NotFound(f"No such evaluation: {one[:80]}", param="evaluations")
    told = [pass_object(one + ".json") for one in ids]
    if len({one["mode"] for one in told}) > 1:
        modes = " and ".join(one["mode"] for one in told)
        raise InvalidRequest(f"evaluations: {modes} ones cannot be compared; give two of one mode", param="evaluations")
    job = platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    try:
        with _TURNS.one():
            report = _report(job, *(_read(platform, job.id, one) for one in ids), dataset=told[1]["dataset"])
    except ValueError as error:
        raise InvalidRequest(f"evaluations: {error}", param="evaluations") from None
    return {
        "object": "fine_tuning.job.comparison",
        "fine_tuning_job_id": job.id,
        "evaluations": told,
        **{name: report[name] for name in _TOLD if name in report},
    }


def _two(evaluations: str) -> list[str]:
    ids = [one.strip() for one in evaluations.split(",") if one.strip()]
    if len(ids) != 2 or ids[0] == ids[1]:
        raise InvalidRequest(
            "evaluations: give the ids of two evaluations with a comma between them, the base first, as in "
            "?evaluations=step-000000-valid-sampled,step-000020-valid-sampled",
            param="evaluations",
        )
    return ids


def _report(job: JobRow, base: dict[str, Any], tuned: dict[str, Any], *, dataset: str) -> dict[str, Any]:
    """Raises :class:`ValueError` where the two are not of the same rows."""
    kind: Any = "test" if dataset == "test" else "validation"
    if tuned["mode"] == "loss":
        first, second = LossEvaluation.from_json(base), LossEvaluation.from_json(tuned)
        return build_loss_report(job={}, shipped_step=second.step, base=first, tuned=second, rows_kind=kind).to_json()
    method = job.spec.get("request", {}).get("method") or {}
    threshold = (job.resolved or {}).get("hyperparameters", {}).get("pass_threshold")
    return build_report(
        job={},
        base_sampled=Evaluation.from_json(base),
        tuned_sampled=Evaluation.from_json(tuned),
        rows_kind=kind,
        pass_threshold=PASS_THRESHOLD if threshold is None else threshold - _SLACK,
        grader=method.get(method.get("type"), {}).get("grader"),
    ).to_json()


def _read(platform: Platform, job_id: str, evaluation_id: str) -> dict[str, Any]:
    with platform.store.artifacts.open(f"jobs/{job_id}/evaluations/{evaluation_id}.json") as file:
        found: dict[str, Any] = json.load(file)
    return found
