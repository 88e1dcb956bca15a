"""``GET /v1/fine_tuning/jobs/{id}/exports/{kind}``: ours. What a job made, as one download.

Everything is streamed as it is read: no archive lies on a disk, and memory holds a piece of one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from openrft.api.access import Platforms, Reader
from openrft.api.platform import Platform
from openrft.api.run_layout import Entry, artifact, below, checkpoints_of, rollout_keys, run_entries
from openrft.api.zip_stream import zipped
from openrft.errors import InvalidRequest, NotFound
from openrft.store.rows import JobRow

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}/exports", tags=["observability"])

Kind = Literal["adapter", "merged", "rollouts", "run"]
Step = Annotated[
    int | None, Query(ge=0, le=2**31 - 1, description="of rollouts: this step's only; of models: this step's")
]

_ADAPTER = "adapter/"


@router.get("/{kind}")
def download_export(
    caller: Reader, platform: Platforms, fine_tuning_job_id: str, kind: Kind, step: Step = None
) -> StreamingResponse:
    """``adapter``: for PEFT; ``merged``: for transformers; ``rollouts``: as JSON lines; ``run``: the run's folder."""
    job = platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    name = f"{job.id}-{kind}" if step is None else f"{job.id}-{kind}-step-{step}"
    if kind == "rollouts":
        return _download(_rollouts(platform, job, step), f"{name}.jsonl", "application/x-ndjson")
    if kind == "run" and step is not None:
        raise InvalidRequest("step: a run is exported whole; leave step out", param="step")
    entries = run_entries(platform, job) if kind == "run" else _model_entries(platform, job, kind, step)
    return _download(zipped(entries, name, seconds=job.created_at), f"{name}.zip", "application/zip")


def _download(pieces: Iterable[bytes], name: str, kind: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=kind, headers=headers)


def _rollouts(platform: Platform, job: JobRow, step: int | None) -> Iterator[bytes]:
    """Every row of every step in order, as it was recorded."""
    there = [(number, key) for number, key in rollout_keys(platform, job) if step in (None, number)]
    if step is not None and not there:
        raise NotFound(f"job {job.id} has no rollouts of step {step}", param="step")
    return (piece for _, key in there for piece in artifact(platform, key)())


def _model_entries(
    platform: Platform, job: JobRow, kind: Literal["adapter", "merged"], step: int | None
) -> list[Entry]:
    """The folder that ships without the adapter's files, or those alone. Other steps have no such folder."""
    if job.fine_tuned_model is None:
        raise InvalidRequest(
            f"job {job.id} is {job.status} and has no model yet. {_other_way(platform, job)}", param="kind"
        )
    shipped = platform.store.checkpoints.get_by_name(job.project_id, job.fine_tuned_model)
    if step not in (None, shipped.step):
        message = (
            f"job {job.id} ships step {shipped.step}, and step {step} is no model yet. {_other_way(platform, job)}"
        )
        raise InvalidRequest(message, param="step")
    files = below(platform, shipped.artifact, "")
    files = [Entry(file.name.removeprefix("/"), file.pieces) for file in files]
    if kind == "merged":
        return [file for file in files if not file.name.startswith(_ADAPTER)]
    adapter = [Entry(file.name.removeprefix(_ADAPTER), file.pieces) for file in files if file.name.startswith(_ADAPTER)]
    if not adapter:
        raise InvalidRequest(f"job {job.id} trained all weights and has no adapter; export 'merged'", param="kind")
    return adapter


def _other_way(platform: Platform, job: JobRow) -> str:
    """How a checkpoint becomes a model: that needs the base's weights, which this server does not load."""
    steps = sorted({one.step for one in checkpoints_of(platform, job)})
    if not steps:
        return "It has no checkpoint either; ask again once it has one"
    return (
        f"Of its checkpoints ({', '.join(map(str, steps))}) one is made on any machine with the base model: download "
        f"exports/run, unzip it, and run: openrft export {job.id}-run --to model --step {steps[-1]}"
    )
