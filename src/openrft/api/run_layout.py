"""A job's run folder as a worker had it, put together from the store: what the command line can go on with.

run/
├── job.json, config.json, status.json, alarms.json, report.md, report.json, curve.svg
├── metrics.jsonl, events.jsonl
├── rollouts/, evaluations/, checkpoints/
└── model/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from openrft.api.platform import Platform
from openrft.config.web import masked
from openrft.errors import InvalidRequest
from openrft.store.artifacts import read_pieces
from openrft.store.rows import CheckpointRow, EventRow, JobRow, StepRow

_BUNDLE = "run.json"  # beside a checkpoint's own files, for workers: the folder holds all of it in its own places
_MOST_CHECKPOINTS = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a folder that is put together: its name there, and its bytes when they are wanted."""

    name: str
    pieces: Callable[[], Iterable[bytes]]


def run_entries(platform: Platform, job: JobRow) -> list[Entry]:
    """Every file of the run, headers of graders masked. Raises :class:`InvalidRequest` before the run has begun."""
    folder = f"jobs/{job.id}"
    documents = platform.store.artifacts.list(f"{folder}/documents")
    if not documents:
        message = f"job {job.id} is {job.status} and has no run yet; ask again once it is running"
        raise InvalidRequest(message, param="fine_tuning_job_id")
    return [
        *(_document(platform, key) for key in documents),
        Entry("metrics.jsonl", lambda: _lines(_metrics(row) for row in recorded_steps(platform, job))),
        Entry("events.jsonl", lambda: _lines(_event(event) for event in _events(platform, job))),
        *_rollouts(platform, job),
        *(below(platform, f"{folder}/evaluations", "evaluations")),
        *(entry for one in checkpoints_of(platform, job) for entry in _checkpoint(platform, one)),
        *(below(platform, f"{folder}/model", "model")),
    ]


def below(platform: Platform, prefix: str, folder: str) -> list[Entry]:
    """The artifacts below ``prefix`` as files in ``folder``."""
    keys = platform.store.artifacts.list(prefix)
    return [Entry(f"{folder}{key.removeprefix(prefix)}", artifact(platform, key)) for key in keys]


def artifact(platform: Platform, key: str) -> Callable[[], Iterator[bytes]]:
    """Reads the artifact ``key`` in pieces."""

    def pieces() -> Iterator[bytes]:
        with platform.store.artifacts.open(key) as file:
            yield from read_pieces(file)

    return pieces


def rollout_keys(platform: Platform, job: JobRow) -> list[tuple[int, str]]:
    """Each step whose rollouts are there, in order, and their artifact; somebody may have removed some for room."""
    there = set(platform.store.artifacts.list(f"jobs/{job.id}/rollouts"))
    return [(row.step, row.rollouts) for row in recorded_steps(platform, job) if row.rollouts in there and row.rollouts]


def recorded_steps(platform: Platform, job: JobRow) -> Iterator[StepRow]:
    """The job's steps, in order."""
    after = -1
    while rows := platform.store.steps.list(job.project_id, job.id, after=after, limit=1_000):
        yield from rows
        after = rows[-1].step


def checkpoints_of(platform: Platform, job: JobRow) -> list[CheckpointRow]:
    """The training checkpoints, newest first: the final model is none."""
    found = platform.store.checkpoints.of_jobs(job.project_id, [job.id])
    return [one for one in found if one.model_name != job.fine_tuned_model]


def _document(platform: Platform, key: str) -> Entry:
    read = artifact(platform, key)

    def pieces() -> Iterable[bytes]:
        if not key.endswith(".json"):
            return read()
        document = masked(json.loads(b"".join(read())))
        return [json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace"), b"\n"]

    return Entry(key.rpartition("/")[2], pieces)


def _rollouts(platform: Platform, job: JobRow) -> Iterator[Entry]:
    for step, key in rollout_keys(platform, job):
        yield Entry(f"rollouts/step-{step:06d}.jsonl", artifact(platform, key))


def _checkpoint(platform: Platform, checkpoint: CheckpointRow) -> list[Entry]:
    entries = below(platform, checkpoint.artifact, f"checkpoints/step-{checkpoint.step:06d}")
    return [entry for entry in entries if not entry.name.endswith(f"/{_BUNDLE}")]


def _metrics(row: StepRow) -> dict[str, Any]:
    return {"step": row.step, **row.metrics}


def _events(platform: Platform, job: JobRow) -> Iterator[EventRow]:
    after = 0
    while events := platform.store.events.tail(job.project_id, job.id, after=after):
        yield from events
        after = events[-1].sequence


def _event(event: EventRow) -> dict[str, Any]:
    return {"time": event.created_at, "level": event.level, "message": event.message, "data": event.data}


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
