"""Where each step's rollouts are, and their index: one query for all steps, one for the columns of some.

The index is recorded with its step (:mod:`openrft.store.steps`). Steps of older versions have none until somebody has
read their file and hands it in; that is a cache, written only while the step's file is still the one that was read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select

from openrft.store.database import Database
from openrft.store.job_rows import find_job, in_project, require_job
from openrft.store.rollout_index import RolloutIndex
from openrft.store.rows import SampledStep
from openrft.store.schema import job_steps, rollout_index

_OF_STEP = (rollout_index.c.job_id == job_steps.c.job_id) & (rollout_index.c.step == job_steps.c.step)
_SUMS = ("size", "num_errored", "num_left_out", "lowest_reward", "highest_reward", "longest")


class Rollouts:
    """The rollouts of every job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def steps(
        self, project_id: str, job_id: str, *, step: int | None = None, example: str | None = None
    ) -> Sequence[SampledStep]:
        """Every recorded step, in order: where its rollouts are, and what they come to.

        ``step`` gives that one only; ``example`` those that may have sampled it: what has no index yet is among them.
        Raises :class:`NotFound`.
        """

        def work(connection: Connection) -> list[SampledStep]:
            require_job(connection, project_id, job_id)
            sums = [rollout_index.c[name] for name in _SUMS]
            query = select(job_steps.c.step, job_steps.c.rollouts, *sums).outerjoin(rollout_index, _OF_STEP)
            query = query.where(job_steps.c.job_id == job_id).order_by(job_steps.c.step)
            if step is not None:
                query = query.where(job_steps.c.step == step)
            if example is not None:
                named = rollout_index.c.examples.contains(json.dumps(example), autoescape=True)
                query = query.where(or_(rollout_index.c.step.is_(None), named))
            return [SampledStep(*row) for row in connection.execute(query)]

        return self._database.read(work)

    def columns(self, project_id: str, job_id: str, steps: Sequence[int]) -> dict[int, tuple[str, bytes]]:
        """By step, the key of its file and the packed columns of its index, of those of ``steps`` that have one."""

        def work(connection: Connection) -> dict[int, tuple[str, bytes]]:
            require_job(connection, project_id, job_id)
            # Together, for a step that is recorded again meanwhile has another file, of which these columns speak.
            query = select(job_steps.c.step, job_steps.c.rollouts, rollout_index.c.columns).join(
                rollout_index, _OF_STEP
            )
            query = query.where(job_steps.c.job_id == job_id, job_steps.c.step.in_(steps))
            return {row.step: (row.rollouts, row.columns) for row in connection.execute(query)}

        return self._database.read(work)

    def add_index(self, project_id: str, job_id: str, step: int, rollouts: str, index: RolloutIndex) -> None:
        """Keep the index of a step that has none; nothing happens where its file is no longer ``rollouts``."""
        values = index.as_row()

        def work(connection: Connection) -> None:
            # The job's row is locked, as by those who record steps: nobody comes in between.
            find_job(connection, in_project(project_id, job_id), job_id, lock=True)
            of_step = (job_steps.c.job_id == job_id) & (job_steps.c.step == step)
            if connection.execute(select(job_steps.c.rollouts).where(of_step)).scalar_one_or_none() == rollouts:
                write_index(connection, job_id, step, values)

        self._database.write(work)


def write_index(connection: Connection, job_id: str, step: int, values: dict[str, Any] | None) -> None:
    """Put the index of a step in place of what was there; None leaves it without one."""
    of_step = (rollout_index.c.job_id == job_id) & (rollout_index.c.step == step)
    connection.execute(delete(rollout_index).where(of_step))
    if values is not None:
        connection.execute(insert(rollout_index).values(job_id=job_id, step=step, **values))
