"""Beneath a job, ours: its metrics as series, its evaluations, its report, and the files that it made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from openrft.api.access import Platforms, Reader
from openrft.api.listing import Limit, at_most
from openrft.api.platform import Platform
from openrft.api.report_page import report_page
from openrft.api.series import csv_of, series_of
from openrft.api.stored_json import read_json
from openrft.config.web import masked
from openrft.errors import NotFound
from openrft.evaluation.losses import LossEvaluation
from openrft.store.artifacts import read_pieces
from openrft.store.rows import StepRow

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}", tags=["observability"])

_PASS = re.compile(r"step-(\d+)-([a-z]+)-(greedy|sampled|loss)(-e\d+)?\.json")
_MOST_ROWS = 1_000  # of one page of an evaluation
_LISTS = ("scores", "completion_tokens", "truncated")
# What a worker goes on from; it names folders of that worker's machine.
_OF_A_WORKER = re.compile(r"checkpoints/[^/]+/run\.json")
# Only these may be JSON of ours with a grader's headers in it; what is in model/ leaves byte for byte.
_MASKED = re.compile(r"(documents|checkpoints)/.*\.json")

Names = Annotated[list[str] | None, Query(description="series to give, repeated or with commas; without it, all")]
AfterStep = Annotated[int, Query(ge=-1, le=2**31 - 1, description="only later steps")]
MaxPoints = Annotated[int | None, Query(description="most points of a series; peaks are kept")]
Bands = Annotated[bool, Query(description="points are stretches of steps: their mean, with their min and max")]


@router.get("/metrics")
def get_metrics(
    request: Request,
    caller: Reader,
    platform: Platforms,
    fine_tuning_job_id: str,
    names: Names = None,
    after_step: AfterStep = -1,
    max_points: MaxPoints = None,
    bands: Bands = False,
    format: Annotated[Literal["json", "csv"] | None, Query()] = None,
) -> Any:
    """Every series of the job, by our own names; as CSV, with ``format=csv`` or that in ``Accept``, a line a step."""
    wanted = [one for name in names or () for one in name.split(",") if one]
    if format == "csv" or (format is None and "text/csv" in request.headers.get("accept", "")):
        headers = {"Content-Disposition": f'attachment; filename="{fine_tuning_job_id}-metrics.csv"'}
        steps = _steps(platform, caller.project_id, fine_tuning_job_id, after_step)
        return StreamingResponse(csv_of(steps, wanted), media_type="text/csv; charset=utf-8", headers=headers)
    last_step, measured = platform.store.steps.series(caller.project_id, fine_tuning_job_id, wanted, after=after_step)
    return {
        "object": "fine_tuning.job.metrics",
        "fine_tuning_job_id": fine_tuning_job_id,
        "last_step": last_step,
        "series": series_of(measured, wanted, most_points=max_points, bands=bands),
    }


@router.get("/evaluations")
def list_evaluations(caller: Reader, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """Every pass over held-out rows, in the order of the steps."""
    data = [pass_object(name) for name in passes(platform, caller.project_id, fine_tuning_job_id)]
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


@router.get("/evaluations/{evaluation_id}")
def retrieve_evaluation(
    caller: Reader,
    platform: Platforms,
    fine_tuning_job_id: str,
    evaluation_id: str,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=-1, description="the index of the last row of the page before")] = -1,
) -> dict[str, Any]:
    """One pass: what it came to, and a page of its rows, each with every sample and its grades whole, or its loss."""
    name = evaluation_id + ".json"
    if name not in passes(platform, caller.project_id, fine_tuning_job_id):
        raise NotFound(f"No such evaluation: {evaluation_id[:80]}", param="evaluation_id")
    evaluation = read_json(_read(platform, f"jobs/{fine_tuning_job_id}/evaluations/{name}"))
    came_to = _losses_of(evaluation) if evaluation["mode"] == "loss" else _scores_of(evaluation["rows"])
    rows = evaluation.pop("rows")
    limit = at_most(limit, _MOST_ROWS)
    page = rows[after + 1 : after + 1 + limit]
    return {
        **pass_object(name),
        **evaluation,
        "num_rows": len(rows),
        **came_to,
        "rows": page,
        "has_more": after + 1 + limit < len(rows),
        "last_index": after + len(page) if page else None,
    }


@router.get("/report")
def get_report(
    request: Request,
    caller: Reader,
    platform: Platforms,
    fine_tuning_job_id: str,
    format: Annotated[Literal["json", "md", "html"] | None, Query()] = None,
) -> Response:
    """Base against tuned on held-out rows; for people with ``format=md``, or ``text/markdown`` in ``Accept``.

    ``format=html`` is the whole report in one file to pass on: charts, rows, samples, options, and no script.
    """
    job = platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    is_text = format == "md" or (format is None and "text/markdown" in request.headers.get("accept", ""))
    name = "report.md" if is_text else "report.json"
    try:
        content = _read(platform, f"jobs/{fine_tuning_job_id}/documents/{name}")
    except NotFound:
        message = f"job {fine_tuning_job_id} has no report yet; it is written once training is over"
        raise NotFound(message, param="fine_tuning_job_id") from None
    if format == "html":
        return report_page(platform, job, json.loads(content))
    return Response(content, media_type="text/markdown; charset=utf-8" if is_text else "application/json")


@router.get("/run_files")
def list_run_files(caller: Reader, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """The names of all files that the job made: documents, checkpoints, the model, rollouts and evaluations."""
    data = [
        {"id": name, "object": "fine_tuning.job.run_file"}
        for name in _run_files(platform, caller.project_id, fine_tuning_job_id)
    ]
    return {"object": "list", "data": data, "has_more": False}


@router.get("/run_files/{name:path}")
def download_run_file(caller: Reader, platform: Platforms, fine_tuning_job_id: str, name: str) -> Response:
    """One of the listed files."""
    if name not in _run_files(platform, caller.project_id, fine_tuning_job_id):
        raise NotFound(f"job {fine_tuning_job_id} has no file {name[:200]!r}; see run_files for all", param="name")
    headers = {"Content-Disposition": f'attachment; filename="{name.rpartition("/")[2]}"'}
    key = f"jobs/{fine_tuning_job_id}/{name}"
    if _MASKED.fullmatch(name):
        document = masked(json.loads(_read(platform, key)))
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        return Response(text.encode(), media_type="application/octet-stream", headers=headers)
    return StreamingResponse(_pieces(platform, key), media_type="application/octet-stream", headers=headers)


def _steps(platform: Platform, project_id: str, job_id: str, after: int) -> list[StepRow]:
    found: list[StepRow] = []
    while more := platform.store.steps.list(project_id, job_id, after=found[-1].step if found else after):
        found += more
    return found


def _run_files(platform: Platform, project_id: str, job_id: str) -> Sequence[str]:
    platform.store.jobs.get(project_id, job_id)
    folder = f"jobs/{job_id}"
    names = [key.removeprefix(folder + "/") for key in platform.store.artifacts.list(folder)]
    return [name for name in names if not _OF_A_WORKER.fullmatch(name)]


def passes(platform: Platform, project_id: str, job_id: str) -> list[str]:
    """The names of the files of all passes over held-out rows, in the order of the steps."""
    platform.store.jobs.get(project_id, job_id)
    keys = platform.store.artifacts.list(f"jobs/{job_id}/evaluations")
    return [name for key in keys if _PASS.fullmatch(name := key.rpartition("/")[2])]


def pass_object(name: str) -> dict[str, Any]:
    """One of these passes on the wire."""
    found = _PASS.fullmatch(name)
    assert found is not None  # passes picked it
    return {
        "id": name.removesuffix(".json"),
        "object": "fine_tuning.job.evaluation",
        "step": int(found[1]),
        "dataset": found[2],
        "mode": found[3],
    }


def _scores_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a pass whose answers were sampled came to."""
    samples = {key: [value for row in rows for value in row[key]] for key in _LISTS}
    return {
        "num_ungraded": samples["scores"].count(None),
        "mean": _mean(_mean(score for score in row["scores"] if score is not None) for row in rows),
        "completion_tokens_mean": _mean(samples["completion_tokens"]),
        "truncated_share": _mean(samples["truncated"]),
    }


def _losses_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What a pass over given answers came to, in a supervised job."""
    known = LossEvaluation.from_json(evaluation)
    return {"tokens": known.tokens, "loss": known.loss, "token_accuracy": known.token_accuracy}


def _read(platform: Platform, key: str) -> bytes:
    with platform.store.artifacts.open(key) as file:
        return file.read()


def _pieces(platform: Platform, key: str) -> Iterator[bytes]:
    with platform.store.artifacts.open(key) as file:
        yield from read_pieces(file)


def _mean(values: Any) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
