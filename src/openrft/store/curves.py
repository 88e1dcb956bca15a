"""A few points of the curves of many jobs: some metrics at some steps, read without the rest of the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from openrft.store.database import Database
from openrft.store.schema import job_steps, jobs


@dataclass(frozen=True, slots=True)
class Point:
    """What a job measured at a step; None where it did not."""

    job_id: str
    step: int
    values: tuple[float | None, ...]


class Curves:
    """The curves of every job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def at(self, project_id: str, steps: Mapping[str, Sequence[int]], names: Sequence[str]) -> Sequence[Point]:
        """The metrics ``names`` of each job at those of its ``steps`` that are recorded, in order."""
        values = [job_steps.c.metrics[name].as_float() for name in names]
        query = select(job_steps.c.job_id, job_steps.c.step, *values).order_by(job_steps.c.step)

        def work(connection: Connection) -> list[Point]:
            of_project = select(jobs.c.id).where(jobs.c.project_id == project_id, jobs.c.id.in_(list(steps)))
            found = []
            for job_id in connection.execute(of_project).scalars().all():
                chosen = query.where(job_steps.c.job_id == job_id, job_steps.c.step.in_(list(steps[job_id])))
                found += [Point(row[0], row[1], tuple(row[2:])) for row in connection.execute(chosen)]
            return found

        return self._database.read(work)
