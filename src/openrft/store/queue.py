"""The queue: workers claim jobs, beat while they work, and give them back.

A claim raises the job's *epoch* and sets a lease. A worker that does not beat until the lease ends is taken for lost
and the job is queued again; should it still be alive, its next write finds another epoch or status and is *fenced*: it
changes nothing and raises. So a job may for a moment be worked on twice, and is yet never written twice.

Crashes of the job's own making and lost workers are counted apart, each since the last new checkpoint: three crashes
fail the job, ten lost workers do too, and whoever runs the machine is told which it was.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, or_, select, update

from openrft.errors import InvalidRequest
from openrft.store.database import Database
from openrft.store.events import append_events
from openrft.store.fencing import hold
from openrft.store.job_rows import find_job
from openrft.store.jobs import error_values
from openrft.store.plain import check_text
from openrft.store.rows import Claim, JobError, JobRow, Lease, NewEvent, Wishes
from openrft.store.schema import jobs

LEASE_SECONDS = 30.0
"""How long a worker may be silent. It beats every sixth of it, and stops by itself after two thirds without answer."""

MOST_CRASHES = 3
MOST_LOST = 10

_LONGEST_DELAY = 300  # seconds between a crash and the next attempt
_FULL_DELAY = 30  # seconds before a job is begun again that found a disk full
_NO_LEASE: Mapping[str, Any] = {"owner": None, "boot_id": None, "lease_until": None, "lease_seconds": None}

Ending = Literal["succeeded", "failed", "cancelled", "paused"]
Reason = Literal["crash", "lost", "shutdown", "full"]
"""``crash``: of the job's own making; ``lost``: a fault of the machine; ``shutdown``: the worker was asked to stop;
``full``: the worker's disk is full. Only the first two are counted.
"""


class Queue:
    """Hands out jobs to workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, owner: str, *, lease_seconds: float = LEASE_SECONDS) -> Claim | None:
        """Take the job that has waited longest, or None when there is none to take.

        Jobs of lost workers are queued again first, so a single worker is enough to keep a queue alive.
        """
        check_text(owner, "owner", longest=200)

        def work(connection: Connection) -> Claim | None:
            self._requeue(connection)
            # A time further ahead than any delay was set by a clock that has been put back since.
            now = self._database.now()
            is_due = or_(
                jobs.c.not_before.is_(None), jobs.c.not_before <= now, jobs.c.not_before > now + 2 * _LONGEST_DELAY
            )
            query = select(jobs.c.id).where(jobs.c.status == "queued", is_due).order_by(jobs.c.position).limit(1)
            job_id = connection.execute(query.with_for_update(skip_locked=True)).scalar_one_or_none()
            if job_id is None:
                return None
            boot_id, seconds = self._database.lease_time(connection)
            taken = {
                "status": "running",
                "epoch": jobs.c.epoch + 1,
                "attempts": jobs.c.attempts + 1,
                "owner": owner,
                "boot_id": boot_id,
                "lease_until": seconds + lease_seconds,
                "lease_seconds": lease_seconds,
                "heartbeat_at": now,
                "not_before": None,
            }
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(taken))
            first = (jobs.c.id == job_id) & jobs.c.started_at.is_(None)
            is_first = connection.execute(update(jobs).where(first).values(started_at=now)).rowcount == 1
            job = find_job(connection, jobs.c.id == job_id, job_id)
            told = "Fine-tuning job started" if is_first else f"Fine-tuning job continues: attempt {job.attempts}"
            self._tell(connection, job_id, NewEvent(message=told))
            return Claim(lease=Lease(job_id=job_id, epoch=job.epoch), job=job)

        return self._database.write(work)

    def beat(self, lease: Lease, *, estimated_finish: int | None = None) -> Wishes:
        """Prolong the lease and learn what people want. Raises :class:`~openrft.errors.Fenced`."""

        def work(connection: Connection) -> Wishes:
            boot_id, seconds = self._database.lease_time(connection)
            values: dict[str, Any] = {"lease_until": seconds + jobs.c.lease_seconds, "boot_id": boot_id}
            if estimated_finish is not None:
                values["estimated_finish"] = estimated_finish
            hold(connection, lease, heartbeat_at=self._database.now(), **values)
            wished = select(jobs.c.cancel_requested, jobs.c.pause_requested).where(jobs.c.id == lease.job_id)
            cancel, pause = connection.execute(wished).one()
            return Wishes(cancel=cancel, pause=pause)

        return self._database.write(work)

    def set_resolved(self, lease: Lease, resolved: Mapping[str, Any]) -> None:
        """Write down what the job's "auto" options became. Raises :class:`~openrft.errors.Fenced`."""
        self._database.write(lambda connection: hold(connection, lease, resolved=dict(resolved)))

    def finish(
        self,
        lease: Lease,
        status: Ending,
        *,
        message: str,
        error: JobError | None = None,
        fine_tuned_model: str | None = None,
        trained_tokens: int | None = None,
        result_files: Sequence[str] = (),
        data: Mapping[str, Any] | None = None,
    ) -> JobRow:
        """End the job, or its attempt when it is paused. Raises :class:`~openrft.errors.Fenced`.

        ``data`` goes with the event. One that was asked to be cancelled is cancelled, also where its worker got to
        another end first: people have been told so already.
        """
        if (status == "failed") != (error is not None):
            raise InvalidRequest("a failed job has an error, and only that one", param="error")

        def work(connection: Connection) -> JobRow:
            ended = {
                "status": status,
                "finished_at": None if status == "paused" else self._database.now(),
                "estimated_finish": None,
                "error": None if error is None else error_values(error),
                "cancel_requested": False,
                "pause_requested": False,
                "result_files": list(result_files),
                **_NO_LEASE,
            }
            known = {"fine_tuned_model": fine_tuned_model, "trained_tokens": trained_tokens}
            hold(connection, lease)
            event = NewEvent(message=message, level="error" if error else "info", data=data or {})
            job = find_job(connection, jobs.c.id == lease.job_id, lease.job_id)
            if job.cancel_requested and status != "cancelled":
                ended |= {"status": "cancelled", "error": None, "finished_at": self._database.now()}
                event = NewEvent(message="The job was cancelled")
            hold(connection, lease, **ended, **{name: value for name, value in known.items() if value is not None})
            self._tell(connection, lease.job_id, event)
            return find_job(connection, jobs.c.id == lease.job_id, lease.job_id)

        return self._database.write(work)

    def release(
        self,
        lease: Lease,
        reason: Reason,
        error: JobError | None = None,
        *,
        events: Sequence[NewEvent] = (),
        delay: float | None = None,
    ) -> JobRow:
        """Give the job back unfinished; the ``error`` says why, ``events`` tell more.

        After a crash or on a full disk the next attempt waits for ``delay`` seconds; not given, longer with each crash.
        Raises :class:`~openrft.errors.Fenced`.
        """

        def work(connection: Connection) -> JobRow:
            hold(connection, lease)
            job = find_job(connection, jobs.c.id == lease.job_id, lease.job_id)
            append_events(connection, lease.job_id, events, self._database.now())
            self._give_back(connection, job, reason, error, delay)
            return find_job(connection, jobs.c.id == lease.job_id, lease.job_id)

        return self._database.write(work)

    def requeue_expired(self) -> Sequence[str]:
        """Queue the jobs of lost workers again; their ids."""
        return self._database.write(self._requeue)

    def _requeue(self, connection: Connection) -> Sequence[str]:
        query = select(jobs.c.id).where(jobs.c.status == "running", self._has_expired(connection))
        expired = list(connection.execute(query.with_for_update(skip_locked=True)).scalars())
        for job_id in expired:
            job = find_job(connection, jobs.c.id == job_id, job_id)
            self._give_back(connection, job, "lost", None)
        return expired

    def _has_expired(self, connection: Connection) -> ColumnElement[bool]:
        boot_id, seconds = self._database.lease_time(connection)
        has_ended = or_(jobs.c.lease_until < seconds, jobs.c.boot_id != boot_id)
        if not self._database.is_sqlite:
            return has_ended
        # Further ahead than it can have been set on this clock: of a boot that has no name of its own.
        return or_(has_ended, jobs.c.lease_until > seconds + jobs.c.lease_seconds + 1)

    def _give_back(
        self,
        connection: Connection,
        job: JobRow,
        reason: Reason,
        error: JobError | None,
        delay: float | None = None,
    ) -> None:
        now = self._database.now()
        crashes = job.crash_count + (reason == "crash")
        lost = job.lost_count + (reason == "lost")
        values: dict[str, Any] = {"crash_count": crashes, "lost_count": lost, **_NO_LEASE}
        why = "" if error is None else f": {error.message}"
        event = NewEvent(message=_told(reason) + why, level="info" if reason == "shutdown" else "warn")
        if job.cancel_requested:
            values |= {"status": "cancelled", "finished_at": now, "cancel_requested": False, "pause_requested": False}
            event = NewEvent(message="The job was cancelled")
        elif crashes >= MOST_CRASHES or lost >= MOST_LOST:
            failed = _given_up(crashes, error)
            values |= {"status": "failed", "finished_at": now, "error": error_values(failed)}
            event = NewEvent(message=failed.message, level="error")
        elif job.pause_requested:
            values |= {"status": "paused", "pause_requested": False}
        else:
            pauses = {"crash": _delay(crashes), "full": _FULL_DELAY}
            later = now + int(pauses.get(reason, 0) if delay is None else delay)
            values |= {"status": "queued", "not_before": later if reason in pauses else None}
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))
        self._tell(connection, job.id, event)

    def _tell(self, connection: Connection, job_id: str, event: NewEvent) -> None:
        append_events(connection, job_id, [event], self._database.now())


def _told(reason: Reason) -> str:
    if reason == "crash":
        return "The attempt ended with an error; the job goes on from its last checkpoint"
    if reason == "full":
        return "The worker's disk is full; the job goes on from its last checkpoint once there is space"
    if reason == "lost":
        return "The worker was lost; the job goes on from its last checkpoint"
    return "The worker is shutting down; the job goes on from its last checkpoint"


def _given_up(crashes: int, error: JobError | None) -> JobError:
    if crashes >= MOST_CRASHES:
        times = f"{crashes} attempts in a row ended with an error and without a new checkpoint"
    else:
        times = f"{MOST_LOST} workers in a row were lost without a new checkpoint; memory may be short"
    last = "" if error is None else f"; the last one: {error.message}"
    return JobError(code="too_many_crashes" if error is None else error.code, message=times + last)


def _delay(crashes: int) -> int:
    return min(_LONGEST_DELAY, int(10 * 3 ** max(0, crashes - 1) * random.uniform(0.75, 1.25)))
