"""``GET /v1/fine_tuning/comparisons?jobs=a,b``: ours. Models of several jobs on the held-out rows that they share.

Rows are paired by content, as between two runs of an eval, so it does not matter which file they came from.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query

from openrft.api.access import Platforms, Reader
from openrft.api.observe import pass_object, passes
from openrft.api.platform import Platform
from openrft.api.turns import Turns
from openrft.errors import InvalidRequest, NotFound
from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.evaluation.losses import LossEvaluation
from openrft.evaluation.statistics import paired_difference
from openrft.store.rows import JobRow

router = APIRouter(prefix="/fine_tuning/comparisons", tags=["fine-tuning"])

_MOST_JOBS = 8
_TURNS = Turns(2, "other jobs are being compared; try again in a moment")

_Unit = tuple[str, int]  # a row: its content's digest, and the how manieth row with this content it is


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """What the model that a job ships scored on each held-out row of its report."""

    job: JobRow
    step: int
    dataset: str
    mode: str
    num_samples: float
    means: Mapping[_Unit, float | None]


@router.get("")
def compare_jobs(
    caller: Reader,
    platform: Platforms,
    jobs: Annotated[str, Query(max_length=2_000, description="ids of jobs with commas; all others against the first")],
) -> dict[str, Any]:
    """The others' models less the first one's: paired differences over the rows that both reports are about."""
    ids = _several(jobs)
    with _TURNS.one():
        found = [_measured(platform, caller.project_id, job_id) for job_id in ids]
        first, *others = found
        return {
            "object": "fine_tuning.comparison",
            "jobs": [_told(one) for one in found],
            "pairs": [_pair(first, other) for other in others],
        }


def _several(jobs: str) -> list[str]:
    ids = [one.strip() for one in jobs.split(",") if one.strip()]
    if not 2 <= len(ids) <= _MOST_JOBS or len(set(ids)) < len(ids):
        raise InvalidRequest(
            f"jobs: give the ids of two to {_MOST_JOBS} jobs with commas between them, each once, as in "
            "?jobs=ftjob-a,ftjob-b",
            param="jobs",
        )
    return ids


def _measured(platform: Platform, project_id: str, job_id: str) -> _Measured | JobRow:
    """The job alone where it has no report, or one without held-out rows."""
    job = platform.store.jobs.get(project_id, job_id)
    try:
        report = _read(platform, f"jobs/{job_id}/documents/report.json")
    except NotFound:
        return job
    told = [pass_object(name) for name in passes(platform, project_id, job_id)]
    # The report's own pass, else the validation that it was made of; sampled answers say more than losses.
    datasets = {"validation": ("validation", "valid")}.get(report["rows_kind"], (report["rows_kind"],))
    for mode, dataset in itertools.product(("sampled", "loss"), datasets):
        for one in reversed(told):
            if (one["step"], one["dataset"], one["mode"]) == (report["shipped_step"], dataset, mode):
                return _of_pass(job, one, _read(platform, f"jobs/{job_id}/evaluations/{one['id']}.json"))
    return job


def _of_pass(job: JobRow, told: Mapping[str, Any], document: Mapping[str, Any]) -> _Measured:
    means: dict[_Unit, float | None] = {}
    seen: dict[str, int] = defaultdict(int)
    evaluation = (LossEvaluation if told["mode"] == "loss" else Evaluation).from_json(document)
    for row in evaluation.rows:
        means[row.example_id, seen[row.example_id]] = row.mean if isinstance(row, EvaluationRow) else row.loss
        seen[row.example_id] += 1
    samples = evaluation.num_samples if isinstance(evaluation, Evaluation) else math.inf  # of a loss, nothing is drawn
    return _Measured(
        job=job, step=told["step"], dataset=told["dataset"], mode=told["mode"], num_samples=samples, means=means
    )


def _pair(first: _Measured | JobRow, second: _Measured | JobRow) -> dict[str, Any]:
    """Second less first; ``problem`` says why there is no difference to tell."""
    ids = {"first": _id(first), "second": _id(second)}
    for one in (first, second):
        if isinstance(one, JobRow):
            return {**ids, "problem": f"{one.id} has no report with held-out rows yet"}
    assert isinstance(first, _Measured) and isinstance(second, _Measured)
    if first.mode != second.mode:
        return {**ids, "problem": "one is measured by graded answers and the other by loss"}
    shared = [unit for unit in first.means if unit in second.means]
    rows = {
        "paired": len(shared),
        "only_in_first": len(first.means) - len(shared),
        "only_in_second": len(second.means) - len(shared),
    }
    told = {**ids, "metric": "loss" if first.mode == "loss" else "mean score", "rows": rows}
    told["same_grader"] = _grader(first.job) == _grader(second.job)
    graded = [unit for unit in shared if first.means[unit] is not None and second.means[unit] is not None]
    if len({digest for digest, _ in graded}) < 2:
        return {**told, "problem": "their reports share fewer than two held-out rows with a grade in both"}
    return {**told, "problem": None, **_difference(first, second, graded)}


def _difference(first: _Measured, second: _Measured, units: Sequence[_Unit]) -> dict[str, Any]:
    before, after = ([one.means[unit] for unit in units] for one in (first, second))
    num_samples = min(first.num_samples, second.num_samples)
    found = paired_difference(before, after, num_samples, [digest for digest, _ in units])
    is_loss = first.mode == "loss"  # where a row that fell is better
    return {
        "first_mean": math.fsum(one for one in before if one is not None) / len(before),
        "second_mean": math.fsum(one for one in after if one is not None) / len(after),
        "difference": found.mean,
        "interval": [found.interval.low, found.interval.high],
        "p_value": found.p_value,
        "better": found.losses if is_loss else found.wins,
        "worse": found.wins if is_loss else found.losses,
        "same": found.ties,
    }


def _told(one: _Measured | JobRow) -> dict[str, Any]:
    if isinstance(one, JobRow):
        return {"fine_tuning_job_id": one.id, "step": None, "dataset": None, "mode": None, "rows": 0}
    return {
        "fine_tuning_job_id": one.job.id,
        "step": one.step,
        "dataset": one.dataset,
        "mode": one.mode,
        "rows": len(one.means),
    }


def _id(one: _Measured | JobRow) -> str:
    return one.id if isinstance(one, JobRow) else one.job.id


def _grader(job: JobRow) -> Any:
    method = job.spec.get("request", {}).get("method") or {}
    return method.get(method.get("type"), {}).get("grader")


def _read(platform: Platform, key: str) -> dict[str, Any]:
    with platform.store.artifacts.open(key) as file:
        found: dict[str, Any] = json.load(file)
    return found
