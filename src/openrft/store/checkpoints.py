"""Checkpoints: which are whole, and under which model name each answers. The row is the truth, not the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, insert, select, update

from openrft.errors import InvalidRequest, NotFound
from openrft.store.artifacts import checked
from openrft.store.database import Database
from openrft.store.events import append_events
from openrft.store.fencing import hold
from openrft.store.ids import new_id
from openrft.store.job_rows import find_job, require_job
from openrft.store.paging import bounded, page_of, position_of
from openrft.store.plain import check_text
from openrft.store.rows import TERMINAL, CheckpointRow, JobRow, Lease, NewEvent, Page, finite, without
from openrft.store.schema import checkpoint_permissions, checkpoints, jobs


class Checkpoints:
    """The checkpoints of every job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        lease: Lease,
        step: int,
        *,
        model_name: str,
        artifact: str,
        metrics: Mapping[str, float | None],
        events: Sequence[NewEvent] = (),
    ) -> CheckpointRow:
        """A checkpoint is whole on disk: from now on it can be used, and a new attempt goes on from here.

        A checkpoint later than every earlier one is progress: crashes are counted anew. The same ``model_name`` again
        takes the place of the row before. Raises :class:`~openrft.errors.Fenced`.
        """
        check_text(model_name, "model_name", longest=500)
        now = self._database.now()
        values = {
            "step": step,
            "epoch": lease.epoch,
            "artifact": checked(artifact),
            "metrics": finite(metrics),
            "deleted_at": None,
        }
        place = (checkpoints.c.job_id == lease.job_id) & (checkpoints.c.model_name == model_name)

        def work(connection: Connection) -> CheckpointRow:
            hold(connection, lease)
            newest = find_job(connection, jobs.c.id == lease.job_id, lease.job_id).checkpoint_step
            if newest is None or step > newest:
                hold(connection, lease, checkpoint_step=step, crash_count=0, lost_count=0)
            if connection.execute(update(checkpoints).where(place).values(values)).rowcount == 0:
                fresh = {"id": new_id("checkpoint"), "job_id": lease.job_id, "created_at": now}
                connection.execute(insert(checkpoints).values(**fresh, model_name=model_name, **values))
            append_events(connection, lease.job_id, events, now)
            return _checkpoint(connection.execute(select(checkpoints).where(place)).one())

        return self._database.write(work)

    def forget(self, lease: Lease, checkpoint_id: str) -> None:
        """It was damaged, or others are better: nobody is to find it. Call this first, then delete its files."""

        def work(connection: Connection) -> None:
            hold(connection, lease)
            which = (checkpoints.c.id == checkpoint_id) & (checkpoints.c.job_id == lease.job_id)
            connection.execute(update(checkpoints).where(which).values(deleted_at=self._database.now()))
            left = select(func.max(checkpoints.c.step)).where(checkpoints.c.job_id == lease.job_id, _is_there())
            hold(connection, lease, checkpoint_step=connection.execute(left).scalar_one())

        self._database.write(work)

    def list(self, project_id: str, job_id: str, *, after: str | None = None, limit: int = 10) -> Page[CheckpointRow]:
        """A page of checkpoints, newest first. Raises :class:`NotFound`."""

        def work(connection: Connection) -> Page[CheckpointRow]:
            require_job(connection, project_id, job_id)
            of_job = checkpoints.c.job_id == job_id
            start = position_of(connection, checkpoints, after, of_job)
            query = select(checkpoints).where(of_job, _is_there())
            rows = page_of(connection, query, checkpoints.c.position, after=start, limit=limit)
            return without([_checkpoint(row) for row in rows], bounded(limit))

        return self._database.read(work)

    def of_jobs(self, project_id: str, job_ids: Sequence[str]) -> Sequence[CheckpointRow]:
        """All checkpoints of several jobs, newest first."""

        def work(connection: Connection) -> list[CheckpointRow]:
            query = select(checkpoints).join(jobs, jobs.c.id == checkpoints.c.job_id)
            query = query.where(jobs.c.project_id == project_id, checkpoints.c.job_id.in_(job_ids), _is_there())
            return [_checkpoint(row) for row in connection.execute(query.order_by(checkpoints.c.position.desc()))]

        return self._database.read(work)

    def list_of(self, lease: Lease) -> Sequence[CheckpointRow]:
        """All checkpoints of the job that a worker holds, latest step first: to resume from the first intact one."""

        def work(connection: Connection) -> list[CheckpointRow]:
            query = select(checkpoints).where(checkpoints.c.job_id == lease.job_id, _is_there())
            rows = connection.execute(query.order_by(checkpoints.c.step.desc(), checkpoints.c.position.desc()))
            return [_checkpoint(row) for row in rows]

        return self._database.read(work)

    def get_by_name(self, project_id: str, model_name: str) -> CheckpointRow:
        """The checkpoint that answers as ``model_name`` in this project: its own, or one that it was permitted to use.

        Raises :class:`NotFound`.
        """
        return self._database.read(lambda connection: _named(connection, may_use(project_id), model_name))

    def get_with_job(self, project_id: str, model_name: str) -> tuple[CheckpointRow, JobRow]:
        """As :meth:`get_by_name`, with the job that made it, which may be another project's."""

        def work(connection: Connection) -> tuple[CheckpointRow, JobRow]:
            row = _named(connection, may_use(project_id), model_name)
            return row, find_job(connection, jobs.c.id == row.job_id, row.job_id)

        return self._database.read(work)

    def list_usable(self, project_id: str, *, limit: int = 10_000) -> Sequence[CheckpointRow]:
        """Every checkpoint that answers in this project, newest first."""

        def work(connection: Connection) -> list[CheckpointRow]:
            query = select(checkpoints).join(jobs, jobs.c.id == checkpoints.c.job_id)
            query = query.where(may_use(project_id), _is_there()).order_by(checkpoints.c.position.desc())
            return [_checkpoint(row) for row in connection.execute(query.limit(limit))]

        return self._database.read(work)

    def delete(self, project_id: str, model_name: str) -> tuple[CheckpointRow, bool]:
        """Nobody is to find it any more: the row as it was, and whether its files may go too.

        Raises :class:`NotFound`, and :class:`InvalidRequest` while its job, or what is made from it, may still need it.
        """

        def work(connection: Connection) -> tuple[CheckpointRow, bool]:
            row = _named(connection, jobs.c.project_id == project_id, model_name)
            job = find_job(connection, jobs.c.id == row.job_id, row.job_id, lock=True)
            if job.status not in TERMINAL:
                message = f"the job {job.id} is {job.status} and may still need this model; cancel it first"
                raise InvalidRequest(message, param="model")
            if connection.execute(_made_from(model_name, project_id).limit(1)).one_or_none() is not None:
                message = f"{model_name} is what a job that is not over, or another model of this project, is made from"
                raise InvalidRequest(f"{message}; cancel the one or delete the other first", param="model")
            gone = update(checkpoints).where(checkpoints.c.id == row.id).values(deleted_at=self._database.now())
            connection.execute(gone)
            others = select(checkpoints.c.id).where(checkpoints.c.artifact == row.artifact, _is_there()).limit(1)
            return row, connection.execute(others).one_or_none() is None

        return self._database.write(work)


def may_use(project_id: str) -> ColumnElement[bool]:
    """The condition, on checkpoints joined with their jobs, that a project may use the model."""
    permitted = select(checkpoint_permissions.c.id).where(
        checkpoint_permissions.c.checkpoint_id == checkpoints.c.id, checkpoint_permissions.c.project_id == project_id
    )
    return (jobs.c.project_id == project_id) | permitted.exists()


def own_checkpoint(connection: Connection, project_id: str, model_name: str) -> CheckpointRow:
    """The project's own checkpoint of that name. Raises :class:`NotFound`."""
    return _named(connection, jobs.c.project_id == project_id, model_name)


def _named(connection: Connection, which: ColumnElement[bool], model_name: str) -> CheckpointRow:
    query = (
        select(checkpoints)
        .join(jobs, jobs.c.id == checkpoints.c.job_id)
        .where(which, checkpoints.c.model_name == model_name, _is_there())
        .order_by(checkpoints.c.position.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"The model {model_name[:200]!r} does not exist", param="model", code="model_not_found")
    return _checkpoint(row)


def _made_from(model_name: str, project_id: str) -> Select[Any]:
    """Jobs that go on from the model: those of any project that are not over, the project's own that made models."""
    models = select(checkpoints.c.id).where(checkpoints.c.job_id == jobs.c.id, _is_there())
    is_in_use = jobs.c.status.not_in(TERMINAL) | ((jobs.c.project_id == project_id) & models.exists())
    return select(jobs.c.id).where(jobs.c.spec["base_model"].as_string() == model_name, is_in_use)


def _is_there() -> ColumnElement[bool]:
    return checkpoints.c.deleted_at.is_(None)


def _checkpoint(row: Any) -> CheckpointRow:
    values = {name: value for name, value in row._mapping.items() if name not in ("position", "deleted_at")}
    return CheckpointRow(**values)
