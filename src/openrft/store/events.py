"""A job's events. Each has a sequence number, given while the job's row is locked.

So numbers become visible in their own order and without gaps: who has seen number 7 can ask for all after 7 and will
miss nothing, whichever process wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from openrft.store.database import Database
from openrft.store.fencing import hold
from openrft.store.ids import new_id
from openrft.store.job_rows import require_job
from openrft.store.paging import bounded, page_of, position_of
from openrft.store.plain import clean_text
from openrft.store.rows import EventRow, Lease, NewEvent, Page, without
from openrft.store.schema import job_events, jobs

VERDICT_KEY = "verdict"
"""The event that says what the report of a job says."""


def step_event_key(step: int, number: int = 0) -> str:
    """The key of an event that was recorded with a step; the first is the step's metrics."""
    return f"step-{step}-{number}"


class Events:
    """The events of every job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, lease: Lease, *events: NewEvent) -> None:
        """Tell people something about a running job. Raises :class:`~openrft.errors.Fenced`."""

        def work(connection: Connection) -> None:
            hold(connection, lease)
            append_events(connection, lease.job_id, events, self._database.now())

        self._database.write(work)

    def list(self, project_id: str, job_id: str, *, after: str | None = None, limit: int = 20) -> Page[EventRow]:
        """A page of events, newest first. Raises :class:`~openrft.errors.NotFound`."""

        def work(connection: Connection) -> Page[EventRow]:
            require_job(connection, project_id, job_id)
            of_job = job_events.c.job_id == job_id
            start = position_of(connection, job_events, after, of_job, column="sequence")
            query = select(job_events).where(of_job)
            rows = page_of(connection, query, job_events.c.sequence, after=start, limit=limit)
            return without([_event(row) for row in rows], bounded(limit))

        return self._database.read(work)

    def with_keys(self, project_id: str, job_ids: Sequence[str], keys: Sequence[str]) -> Sequence[EventRow]:
        """Events of several jobs that carry one of ``keys``."""

        def work(connection: Connection) -> list[EventRow]:
            query = select(job_events).join(jobs, jobs.c.id == job_events.c.job_id)
            query = query.where(jobs.c.project_id == project_id, job_events.c.job_id.in_(job_ids))
            return [_event(row) for row in connection.execute(query.where(job_events.c.key.in_(keys)))]

        return self._database.read(work)

    def tail(self, project_id: str, job_id: str, *, after: int = 0, limit: int = 1_000) -> Sequence[EventRow]:
        """Events after the sequence number ``after``, oldest first: for whoever follows along."""

        def work(connection: Connection) -> list[EventRow]:
            require_job(connection, project_id, job_id)
            is_new = (job_events.c.job_id == job_id) & (job_events.c.sequence > after)
            query = select(job_events).where(is_new).order_by(job_events.c.sequence).limit(bounded(limit))
            return [_event(row) for row in connection.execute(query)]

        return self._database.read(work)


def append_events(connection: Connection, job_id: str, events: Sequence[NewEvent], now: int) -> None:
    """Inside a transaction: add ``events``. One whose key is there already takes its place and keeps its number."""
    keys = [event.key for event in events if event.key is not None]
    known: set[str] = set()
    if keys:
        there = select(job_events.c.key).where(job_events.c.job_id == job_id, job_events.c.key.in_(keys))
        known = {key for key in connection.execute(there).scalars() if key is not None}
    fresh = []
    for event in events:
        said = {
            "level": event.level,
            "type": event.type,
            "message": clean_text(event.message),
            "data": dict(event.data),
        }
        if event.key in known:
            place = (job_events.c.job_id == job_id) & (job_events.c.key == event.key)
            connection.execute(update(job_events).where(place).values(said))
        else:
            fresh.append({"job_id": job_id, "id": new_id("event"), "created_at": now, "key": event.key, **said})
    if not fresh:
        return
    # Taking the numbers locks the job's row until the end of the transaction.
    taking = update(jobs).where(jobs.c.id == job_id).values(last_sequence=jobs.c.last_sequence + len(fresh))
    last = connection.execute(taking.returning(jobs.c.last_sequence)).scalar_one()
    for sequence, values in enumerate(fresh, start=last - len(fresh) + 1):
        values["sequence"] = sequence
    connection.execute(insert(job_events), fresh)


def _event(row: Any) -> EventRow:
    values = dict(row._mapping)
    del values["key"]
    return EventRow(**values)
