"""``GET /v1/fine_tuning/summaries``: ours. A line for each job, for lists that are shown and asked for again and again.

Of a job's steps only a few are read, and of one that has ended nothing is read twice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request

from openrft.api.access import Platforms, Reader
from openrft.api.alarms import read_alarms
from openrft.api.job_wire import job_object, shown_status
from openrft.api.listing import After, Limit, at_most, page
from openrft.api.next_action import next_action
from openrft.api.platform import Platform
from openrft.api.progress import NAMES, progress_of, steps_to_read
from openrft.errors import InvalidRequest
from openrft.store.events import VERDICT_KEY
from openrft.store.rows import TERMINAL, CheckpointRow, EventRow, JobRow, JobStatus

router = APIRouter(prefix="/fine_tuning/summaries", tags=["fine-tuning"])

_MOST_JOBS = 100  # of a page
_MOST_KEPT = 1_000  # jobs that have ended

Statuses = Annotated[list[str] | None, Query(description="statuses to list, repeated or with commas; without it, all")]
Model = Annotated[str | None, Query(max_length=200, description="only jobs that train this model")]
Method = Annotated[Literal["reinforcement", "supervised"] | None, Query(description="only jobs of this method")]
Search = Annotated[
    str | None,
    Query(max_length=200, description="part of an id, model, suffix, tuned model, metadata value or file name"),
]


class EndedJobs:
    """What was read of jobs that have ended, which does not change any more: one of these for each application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, job: JobRow) -> dict[str, Any] | None:
        """What was kept of ``job``."""
        with self._lock:
            return self._known.get(job.id)

    def keep(self, job: JobRow, facts: dict[str, Any]) -> None:
        """Keep ``facts`` if ``job`` has ended."""
        if job.status not in TERMINAL:
            return
        with self._lock:
            self._known[job.id] = facts
            if len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)


@router.get("")
def list_summaries(
    request: Request,
    caller: Reader,
    platform: Platforms,
    limit: Limit = 50,
    after: After = None,
    status: Statuses = None,
    search: Search = None,
    model: Model = None,
    method: Method = None,
) -> dict[str, Any]:
    """The project's jobs, newest first, each with its curve in small, its result so far and what to do next."""
    project_id = caller.project_id
    found = platform.store.jobs.list(
        project_id,
        after=after,
        limit=at_most(limit, _MOST_JOBS),
        statuses=_statuses(status),
        search=search,
        model=model,
        method=method,
    )
    checkpoints = platform.store.checkpoints.of_jobs(project_id, [job.id for job in found.items])
    facts = _facts(platform, project_id, found.items, checkpoints, request.app.state.ended_jobs)
    evals = platform.store.evals.of_jobs([job.id for job in found.items])
    keys = {key.id: key.name for key in platform.store.projects.list_keys(project_id)}
    files = _file_names(platform, project_id, found.items)
    has_worker = bool(platform.store.workers.list_alive())

    def show(job: JobRow) -> dict[str, Any]:
        creator = job.created_by
        known = {
            **facts[job.id],
            "checkpoint": next((one.model_name for one in checkpoints if one.job_id == job.id), None),
        }
        return {
            "object": "fine_tuning.job.summary",
            "id": job.id,
            "job": job_object(job, organization=platform.organization, eval_id=evals.get(job.id)),
            "step": job.step,
            "total_steps": job.total_steps,
            "estimated_finish": job.estimated_finish if shown_status(job) == "running" else None,
            "training_file_name": files.get(job.training_file),
            "validation_file_name": files.get(job.validation_file or ""),
            "created_by": None if creator is None else {"id": creator, "name": keys.get(creator)},
            "grader": _grader(job),
            **known,
            "next_action": next_action(job, known, has_worker=has_worker),
        }

    return page(found, show)


def _statuses(given: Sequence[str] | None) -> list[JobStatus]:
    wanted = [one for part in given or () for one in part.split(",") if one]
    there: tuple[JobStatus, ...] = get_args(JobStatus)
    for one in wanted:
        if one not in there:
            raise InvalidRequest(f"status: there is no {one[:80]!r}; give some of {', '.join(there)}", param="status")
    return [one for one in there if one in wanted]


def _facts(
    platform: Platform, project_id: str, jobs: Sequence[JobRow], checkpoints: Sequence[CheckpointRow], ended: EndedJobs
) -> dict[str, dict[str, Any]]:
    """What each job's steps, alarms and report say."""
    known = {job.id: facts for job in jobs if (facts := ended.get(job)) is not None}
    fresh = [job for job in jobs if job.id not in known]
    if not fresh:
        return known
    ids = [job.id for job in fresh]
    store = platform.store
    points = store.curves.at(project_id, {job.id: steps_to_read(job) for job in fresh}, NAMES)
    verdicts = {event.job_id: event for event in store.events.with_keys(project_id, ids, [VERDICT_KEY])}
    for job in fresh:
        of_job = [one for one in checkpoints if one.job_id == job.id]
        facts = {
            **progress_of(job, [point for point in points if point.job_id == job.id], of_job),
            "report": _report(verdicts.get(job.id)),
            "alarms": _open_alarms(platform, job),
        }
        ended.keep(job, facts)
        known[job.id] = facts
    return known


def _report(verdict: EventRow | None) -> dict[str, Any] | None:
    """The report in short; jobs that older versions ended have the sentence alone."""
    if verdict is None:
        return None
    said: Mapping[str, Any] = verdict.data.get("verdict", {})
    return {"sentence": verdict.message, **{name: said.get(name) for name in ("outcome", "gain", "low", "high")}}


def _open_alarms(platform: Platform, job: JobRow) -> int:
    return 0 if job.step is None else sum(alarm["ended_step"] is None for alarm in read_alarms(platform, job.id))


def _file_names(platform: Platform, project_id: str, jobs: Sequence[JobRow]) -> dict[str, str]:
    wanted = {file_id for job in jobs for file_id in (job.training_file, job.validation_file) if file_id is not None}
    return {file.id: file.filename for file in platform.store.files.find(project_id, sorted(wanted))}


def _grader(job: JobRow) -> str | None:
    """``string_check: exact``; of a multi grader the names of its parts."""
    method = job.spec.get("request", {}).get("method") or {}
    grader = method.get(method.get("type"), {}).get("grader")
    if grader is None:
        return None
    parts = grader["graders"] if grader["type"] == "multi" else {grader["type"]: grader}
    names = [part.get("name") or key for key, part in parts.items()]
    return f"{grader['type']}: {', '.join(names)}"
