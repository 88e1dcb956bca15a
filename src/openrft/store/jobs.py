"""Jobs as people see them: create, read, list, and the wishes to cancel, pause and resume.

    create → validating_files → queued → running → succeeded
                  │                │        │  ├→ failed
                  └→ failed        │        │  ├→ paused → (resume) queued → running
                                   └────────┴──┴→ cancelled

What nobody is working on changes at once. Of a running job the wish is noted; its worker learns of it at the next beat,
saves what it has and ends the attempt (:mod:`openrft.store.queue`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, exists, insert, select, update

from openrft.errors import InvalidRequest
from openrft.store.database import Database
from openrft.store.events import append_events
from openrft.store.ids import new_id
from openrft.store.job_filters import mentions, shows, trains_by
from openrft.store.job_rows import find_job, in_project, job_of
from openrft.store.paging import page_within, position_of
from openrft.store.plain import check_text, clean_text
from openrft.store.projects import require_project
from openrft.store.rows import TERMINAL, JobError, JobRow, JobStatus, NewEvent, NewJob, Page, without
from openrft.store.schema import job_metadata, jobs


class Jobs:
    """The jobs of every project."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, project_id: str, job: NewJob, *, created_by: str | None = None) -> JobRow:
        """A new job, whose files are still to be validated, with its first event; ``created_by`` is a key's id."""
        for name in ("model", "training_file", "validation_file", "suffix"):
            if (given := getattr(job, name)) is not None:
                check_text(given, name, longest=2_000)
        wanted = {check_text(k, "metadata"): check_text(v, "metadata") for k, v in (job.metadata or {}).items()}
        job_id = new_id("job")
        values: dict[str, Any] = {
            "id": job_id,
            "project_id": project_id,
            "created_at": self._database.now(),
            "created_by": created_by,
            "model": job.model,
            "training_file": job.training_file,
            "validation_file": job.validation_file,
            "suffix": job.suffix,
            "seed": job.seed,
            "spec": dict(job.spec),
            "metadata": None if job.metadata is None else wanted,
            "status": "validating_files",
            "result_files": [],
            "cancel_requested": False,
            "pause_requested": False,
            **dict.fromkeys(("epoch", "attempts", "crash_count", "lost_count", "last_sequence"), 0),
        }

        def work(connection: Connection) -> JobRow:
            require_project(connection, project_id)
            connection.execute(insert(jobs).values(values))
            if wanted:
                rows = [{"job_id": job_id, "key": key, "value": value} for key, value in wanted.items()]
                connection.execute(insert(job_metadata), rows)
            self._tell(connection, job_id, f"Created fine-tuning job: {job_id}")
            return self._find(connection, project_id, job_id)

        return self._database.write(work)

    def get(self, project_id: str, job_id: str) -> JobRow:
        """Raises :class:`~openrft.errors.NotFound`."""
        return self._database.read(lambda connection: self._find(connection, project_id, job_id))

    def list(
        self,
        project_id: str,
        *,
        after: str | None = None,
        limit: int = 20,
        metadata: Mapping[str, str] | None = None,
        without_metadata: bool = False,
        statuses: Collection[JobStatus] = (),
        search: str | None = None,
        model: str | None = None,
        method: str | None = None,
    ) -> Page[JobRow]:
        """A page of jobs, newest first: those that carry all of ``metadata``, or those that carry none at all.

        ``statuses`` are those that people see, wishes included; ``search`` is what :func:`mentions` looks for.
        """

        def work(connection: Connection) -> Page[JobRow]:
            start = position_of(connection, jobs, after, jobs.c.project_id == project_id)
            query = select(jobs).where(jobs.c.project_id == project_id)
            for key, value in (metadata or {}).items():
                of_job = job_metadata.c.job_id == jobs.c.id
                has_it = (job_metadata.c.key == clean_text(key)) & (job_metadata.c.value == clean_text(value))
                query = query.where(exists().where(of_job, has_it))
            if without_metadata:
                query = query.where(~exists().where(job_metadata.c.job_id == jobs.c.id))
            if statuses:
                query = query.where(shows(statuses))
            if search:
                query = query.where(mentions(search))
            if model:
                query = query.where(jobs.c.model == clean_text(model))
            if method:
                query = query.where(trains_by(method))
            rows, fits = page_within(connection, query, jobs.c.position, jobs.c.spec, after=start, limit=limit)
            return without([job_of(row) for row in rows], fits)

        return self._database.read(work)

    def list_unvalidated(self) -> Sequence[JobRow]:
        """Jobs of all projects whose files are still to be validated, oldest first."""

        def work(connection: Connection) -> list[JobRow]:
            query = select(jobs).where(jobs.c.status == "validating_files").order_by(jobs.c.position)
            return [job_of(row) for row in connection.execute(query)]

        return self._database.read(work)

    def tell(self, project_id: str, job_id: str, *events: NewEvent) -> None:
        """Tell people something while the files are being validated; each event carries a ``key``."""

        def work(connection: Connection) -> None:
            job = self._find(connection, project_id, job_id, lock=True)
            if job.status == "validating_files":
                append_events(connection, job_id, events, self._database.now())

        self._database.write(work)

    def tell_waiting(self, event: NewEvent) -> Sequence[str]:
        """Tell it of every job that waits in the queue, of all projects; their ids. The event carries a ``key``."""

        def work(connection: Connection) -> list[str]:
            query = select(jobs.c.id).where(jobs.c.status == "queued").order_by(jobs.c.position).with_for_update()
            waiting = list(connection.execute(query).scalars())
            for job_id in waiting:
                append_events(connection, job_id, [event], self._database.now())
            return waiting

        return self._database.write(work)

    def accept(self, project_id: str, job_id: str) -> JobRow:
        """The files are valid: the job joins the queue. One that was cancelled meanwhile stays cancelled."""
        told = "Files validated, moving job to queued state"
        return self._change(project_id, job_id, ("validating_files",), {"status": "queued"}, told)

    def reject(self, project_id: str, job_id: str, error: JobError) -> JobRow:
        """The files are not valid: the job has failed, and says why."""
        values = {"status": "failed", "error": error_values(error), "finished_at": self._database.now()}
        return self._change(project_id, job_id, ("validating_files",), values, error.message, level="error")

    def cancel(self, project_id: str, job_id: str) -> JobRow:
        """Stop for good. A job that is done already is an :class:`InvalidRequest`; one that is cancelled is not."""

        def work(connection: Connection) -> JobRow:
            job = self._find(connection, project_id, job_id, lock=True)
            if job.status == "cancelled" or job.cancel_requested:
                return job
            self._refuse_if_done(job, "cancelled")
            if job.status == "running":
                self._set(connection, job_id, {"cancel_requested": True})
                self._tell(connection, job_id, "Cancelling: the worker stops at its next beat")
            else:
                self._set(connection, job_id, {"status": "cancelled", "finished_at": self._database.now()})
                self._tell(connection, job_id, "The job was cancelled")
            return self._find(connection, project_id, job_id)

        return self._database.write(work)

    def pause(self, project_id: str, job_id: str) -> JobRow:
        """Stop until somebody resumes it, with a checkpoint where there is something to keep."""

        def work(connection: Connection) -> JobRow:
            job = self._find(connection, project_id, job_id, lock=True)
            if job.status == "paused" or (job.pause_requested and not job.cancel_requested):
                return job
            self._refuse_if_done(job, "paused")
            if job.status == "validating_files" or job.cancel_requested:
                doing = "being cancelled" if job.cancel_requested else "still being validated"
                raise InvalidRequest(f"job {job_id} is {doing} and cannot be paused", param="fine_tuning_job_id")
            if job.status == "running":
                self._set(connection, job_id, {"pause_requested": True})
                self._tell(connection, job_id, "Pausing: the worker saves a checkpoint and stops")
            else:
                self._set(connection, job_id, {"status": "paused"})
                self._tell(connection, job_id, "The job was paused")
            return self._find(connection, project_id, job_id)

        return self._database.write(work)

    def resume(self, project_id: str, job_id: str) -> JobRow:
        """Put a paused job back into the queue, with a clean slate of crashes; or take back the wish to pause."""

        def work(connection: Connection) -> JobRow:
            job = self._find(connection, project_id, job_id, lock=True)
            if job.status == "running" and job.pause_requested and not job.cancel_requested:
                self._set(connection, job_id, {"pause_requested": False})
            elif job.status == "paused":
                fresh = {"crash_count": 0, "lost_count": 0, "not_before": None}
                self._set(connection, job_id, {"status": "queued", **fresh})
                self._tell(connection, job_id, "The job was resumed and is queued")
            else:
                doing = "being cancelled" if job.cancel_requested else job.status
                raise InvalidRequest(
                    f"job {job_id} is {doing}; only a paused job can be resumed", param="fine_tuning_job_id"
                )
            return self._find(connection, project_id, job_id)

        return self._database.write(work)

    def _change(
        self,
        project_id: str,
        job_id: str,
        before: tuple[JobStatus, ...],
        values: Mapping[str, Any],
        told: str,
        level: Any = "info",
    ) -> JobRow:
        def work(connection: Connection) -> JobRow:
            job = self._find(connection, project_id, job_id, lock=True)
            if job.status not in before:
                return job
            self._set(connection, job_id, values)
            self._tell(connection, job_id, told, level)
            return self._find(connection, project_id, job_id)

        return self._database.write(work)

    def _refuse_if_done(self, job: JobRow, wish: str) -> None:
        # A 400, not a 409: OpenAI's client sends the request again on a 409.
        if job.status in TERMINAL:
            raise InvalidRequest(
                f"job {job.id} has already {job.status} and cannot be {wish}", param="fine_tuning_job_id"
            )

    def _find(self, connection: Connection, project_id: str, job_id: str, *, lock: bool = False) -> JobRow:
        return find_job(connection, in_project(project_id, job_id), job_id, lock=lock)

    def _set(self, connection: Connection, job_id: str, values: Mapping[str, Any]) -> None:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(dict(values)))

    def _tell(self, connection: Connection, job_id: str, message: str, level: Any = "info") -> None:
        append_events(connection, job_id, [NewEvent(message=message, level=level)], self._database.now())


def error_values(error: JobError) -> dict[str, str | None]:
    """The error as it is stored."""
    return {"code": error.code, "message": clean_text(error.message), "param": error.param}
