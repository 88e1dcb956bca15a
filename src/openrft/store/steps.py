"""Steps: the numbers of each, its events and where its rollouts are, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, cast, delete, insert, literal, select

from openrft.errors import NotFound
from openrft.store.artifacts import checked
from openrft.store.database import Database
from openrft.store.events import append_events, step_event_key
from openrft.store.fencing import hold
from openrft.store.job_rows import require_job
from openrft.store.paging import bounded
from openrft.store.rollout_index import RolloutIndex
from openrft.store.rollouts import write_index
from openrft.store.rows import Lease, NewEvent, Points, StepRow, finite
from openrft.store.schema import job_steps

_MOST_COLUMNS = 100  # of one query
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./:@ -]{1,200}")  # what needs no escape, neither in JSON nor in a path of it


class Steps:
    """The steps of every job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        lease: Lease,
        step: int,
        metrics: Mapping[str, float | None],
        *,
        total_steps: int,
        events: Sequence[NewEvent] = (),
        rollouts: str | None = None,
        index: RolloutIndex | None = None,
    ) -> None:
        """Record a finished step. Once or twice is the same: job and step are its key, and its events carry it too.

        ``rollouts`` is the key of an artifact that has been written, and ``index`` says what is in it. Raises
        :class:`~openrft.errors.Fenced`.
        """
        indexed = None if index is None else index.as_row()
        row = {
            "job_id": lease.job_id,
            "step": step,
            "epoch": lease.epoch,
            "recorded_at": self._database.now(),
            "metrics": finite(metrics),
            "rollouts": None if rollouts is None else checked(rollouts),
        }
        told = [replace(one, key=one.key or step_event_key(step, number)) for number, one in enumerate(events)]

        def work(connection: Connection) -> None:
            hold(connection, lease, step=step, total_steps=total_steps)
            # The job's row is locked, so nobody comes between these.
            write_index(connection, lease.job_id, step, None)
            connection.execute(delete(job_steps).where(_is_step(lease.job_id, step)))
            connection.execute(insert(job_steps).values(row))
            if indexed is not None:
                write_index(connection, lease.job_id, step, indexed)
            append_events(connection, lease.job_id, told, self._database.now())

        self._database.write(work)

    def list(self, project_id: str, job_id: str, *, after: int = -1, limit: int = 10_000) -> Sequence[StepRow]:
        """Steps after step ``after``, in order. Raises :class:`NotFound`."""

        def work(connection: Connection) -> list[StepRow]:
            require_job(connection, project_id, job_id)
            later = (job_steps.c.job_id == job_id) & (job_steps.c.step > after)
            query = select(job_steps).where(later).order_by(job_steps.c.step).limit(bounded(limit))
            return [StepRow(**row._mapping) for row in connection.execute(query)]

        return self._database.read(work)

    def series(
        self, project_id: str, job_id: str, names: Sequence[str] = (), *, after: int = -1
    ) -> tuple[int | None, dict[str, Points]]:
        """The last recorded step, if any is later than ``after``, and the series of ``names`` or all from there on.

        Raises :class:`NotFound`.
        """
        # The database takes a few numbers out of a document faster than a whole document can be read here.
        is_by_name = 0 < len(names) <= _MOST_COLUMNS and all(map(_PLAIN_NAME.fullmatch, names))

        def work(connection: Connection) -> tuple[int | None, dict[str, Points]]:
            require_job(connection, project_id, job_id)
            columns = [self._number(name) for name in names] if is_by_name else [job_steps.c.metrics]
            later = (job_steps.c.job_id == job_id) & (job_steps.c.step > after)
            rows = connection.execute(select(job_steps.c.step, *columns).where(later).order_by(job_steps.c.step)).all()
            found = _named(rows, names) if is_by_name else _pivoted(rows, names)
            return (rows[-1][0] if rows else None), found

        return self._database.read(work)

    def _number(self, name: str) -> ColumnElement[str]:
        """A metric as JSON text: ``null`` where it was not finite, SQL's NULL where it was not measured."""
        place = f'$."{name}"' if self._database.is_sqlite else name
        return cast(job_steps.c.metrics.op("->")(literal(place, Text)), Text)

    def get(self, project_id: str, job_id: str, step: int) -> StepRow:
        """Raises :class:`NotFound`."""

        def work(connection: Connection) -> StepRow:
            require_job(connection, project_id, job_id)
            row = connection.execute(select(job_steps).where(_is_step(job_id, step))).one_or_none()
            if row is None:
                raise NotFound(f"job {job_id} has not recorded a step {step}", param="step")
            return StepRow(**row._mapping)

        return self._database.read(work)


def _named(rows: Sequence[Any], names: Sequence[str]) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for column, name in enumerate(names, start=1):
        measured = [(row[0], row[column]) for row in rows if row[column] is not None]
        found[name] = [(step, None if text == "null" else float(text)) for step, text in measured]
    return {name: points for name, points in found.items() if points}


def _pivoted(rows: Sequence[Any], names: Sequence[str]) -> dict[str, Points]:
    found: dict[str, list[tuple[int, float | None]]] = {}
    for step, metrics in rows:
        for name, value in metrics.items():
            found.setdefault(name, []).append((step, value))
    return {name: points for name, points in found.items() if not names or name in names}


def _is_step(job_id: str, step: int) -> Any:
    return (job_steps.c.job_id == job_id) & (job_steps.c.step == step)
