"""What jobs have spent, by UTC day: sums over their steps, each counted when it was recorded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Double, Subquery, cast, func, literal_column, select

from openrft.store.database import Database
from openrft.store.schema import job_steps, jobs

_DAY = 86_400  # seconds
_GRADING_TOKENS = "grade/tokens/"
_MOST_KEPT = 10_000  # jobs that have ended


@dataclass(frozen=True, kw_only=True, slots=True)
class JobDay:
    """What the steps of a job that were recorded on one day have spent."""

    job_id: str
    day: int  # Unix seconds of its beginning
    steps: int
    trained_tokens: float
    sampled_tokens: float
    grader_cost: float
    minutes: float
    grading_tokens: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of graders in training, by model: ``prompt``, ``completion``, ``cached``."""


class UsageByDay:
    """The usage of every project."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, list[JobDay]] = OrderedDict()  # of jobs whose steps change no more

    def list(self, project_id: str, *, since: int, until: int) -> Sequence[JobDay]:
        """Of each job each day on which it recorded steps from ``since`` until before ``until``, oldest first."""

        def work(connection: Connection) -> list[JobDay]:
            in_reach = (jobs.c.created_at < until) & (func.coalesce(jobs.c.finished_at, since) >= since)
            of_project = select(jobs.c.id, jobs.c.created_at, jobs.c.finished_at).where(jobs.c.project_id == project_id)
            found: list[JobDay] = []
            for job in connection.execute(of_project.where(in_reach).order_by(jobs.c.position)).all():
                is_whole = job.finished_at is not None and since <= job.created_at and job.finished_at < until
                found += self._of_job(connection, job.id, since, until, keep=is_whole)
            return sorted(found, key=lambda one: one.day)

        return self._database.read(work)

    def _of_job(self, connection: Connection, job_id: str, since: int, until: int, *, keep: bool) -> Sequence[JobDay]:
        """The days of one job. Those of a whole one that has ended are kept: adding up takes seconds for many steps."""
        with self._lock:
            if keep and job_id in self._ended:
                return self._ended[job_id]
        grading = self._grading_tokens(connection, job_id, since, until)
        rows = connection.execute(_days(_increments(job_id), since, until)).all()
        days = [JobDay(job_id=job_id, grading_tokens=grading.get(row.day, {}), **row._mapping) for row in rows]
        if keep:
            with self._lock:
                self._ended[job_id] = days
                if len(self._ended) > _MOST_KEPT:
                    self._ended.popitem(last=False)
        return days

    def _grading_tokens(
        self, connection: Connection, job_id: str, since: int, until: int
    ) -> dict[int, dict[str, dict[str, float]]]:
        """``{day: {model: {kind: tokens}}}``; which models there are, only the names of the metrics say."""
        found: dict[int, dict[str, dict[str, float]]] = {}
        if not self._has_model_grader(connection, job_id):
            return found
        each = func.json_each if self._database.is_sqlite else func.json_each_text
        pairs = each(job_steps.c.metrics).table_valued("key", "value", name="pair")
        day = _day_of(job_steps.c.recorded_at)
        query = (
            select(day.label("day"), pairs.c.key, func.sum(cast(pairs.c.value, Double)))
            .select_from(job_steps.join(pairs, literal_column("true")))
            .where(job_steps.c.job_id == job_id, job_steps.c.recorded_at >= since, job_steps.c.recorded_at < until)
            .where(pairs.c.key.startswith(_GRADING_TOKENS))
            .group_by(day, pairs.c.key)
        )
        for start, name, tokens in connection.execute(query):
            model, _, kind = name.removeprefix(_GRADING_TOKENS).rpartition("/")
            found.setdefault(start, {}).setdefault(model, {})[kind] = tokens or 0.0
        return found

    def _has_model_grader(self, connection: Connection, job_id: str) -> bool:
        """Whether its first or its last step counts tokens of a grading model; most jobs have none to sum up."""
        of_job = job_steps.c.job_id == job_id
        ends = select(func.min(job_steps.c.step), func.max(job_steps.c.step)).where(of_job, job_steps.c.step > 0)
        there = [step for step in connection.execute(ends).one() if step is not None]
        rows = connection.execute(select(job_steps.c.metrics).where(of_job, job_steps.c.step.in_(there))).scalars()
        return any(name.startswith(_GRADING_TOKENS) for row in rows for name in row)


def _increments(job_id: str) -> Subquery:
    """A row per step with what it added: the running totals less those of the step before."""

    def metric(name: str) -> Any:
        return job_steps.c.metrics[name].as_float()

    def added(name: str) -> Any:
        before = func.lag(metric(name)).over(order_by=job_steps.c.step)
        return func.coalesce(metric(name) - func.coalesce(before, 0.0), 0.0)

    sampled_in_training = metric("rollout/count") * metric("rollout/completion_tokens_mean")
    return (
        select(
            job_steps.c.recorded_at,
            (func.coalesce(metric("train/tokens"), 0.0) + func.coalesce(sampled_in_training, 0.0)).label("trained"),
            func.coalesce(metric("train/tokens"), 0.0).label("learned"),
            added("spent/tokens").label("tokens"),
            added("spent/grader_cost").label("cost"),
            added("time/spent_minutes").label("minutes"),
        )
        .where(job_steps.c.job_id == job_id)
        .subquery()
    )


def _days(step: Subquery, since: int, until: int) -> Any:
    day = _day_of(step.c.recorded_at)
    return (
        select(
            day.label("day"),
            func.count().label("steps"),
            func.sum(step.c.trained).label("trained_tokens"),
            # A budget's tokens are what was sampled and, in supervised training, what was learned.
            func.sum(step.c.tokens - step.c.learned).label("sampled_tokens"),
            func.sum(step.c.cost).label("grader_cost"),
            func.sum(step.c.minutes).label("minutes"),
        )
        .where(step.c.recorded_at >= since, step.c.recorded_at < until)
        .group_by(day)
    )


def _day_of(seconds: Any) -> Any:
    return seconds - seconds % _DAY
