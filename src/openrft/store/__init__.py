"""The only place with SQL: what the server, the workers and the command line know of one another.

    store = open_store("sqlite:///data/openrft.db", artifacts="data/artifacts")

    store.projects      projects and API keys
    store.files         uploads and results
    store.uploads       large files that come in parts
    store.jobs          create, read, list; the wishes to cancel, pause, resume
    store.queue         claim, beat, finish, release, requeue: for workers
    store.steps         a step's metrics, events and rollouts, recorded once
    store.rollouts      where each step's rollouts are, and their index
    store.curves        a few points of the metrics of many jobs
    store.usage         what jobs have spent, by day
    store.events        what people are told; list and follow
    store.checkpoints   what is whole on disk, and its model names
    store.permissions   which other projects may use a model
    store.evals         evals; eval_runs and eval_items are their runs and what came out
    store.workers       which workers are alive
    store.webhooks      whom to tell of ends, and what has been told
    store.artifacts     bytes under checked keys

Each operation is one transaction. What a person asks names the project first, and sees nothing of others; what a worker
writes carries its lease and raises :class:`~openrft.errors.Fenced` once another attempt holds the job. Rows come as the
frozen dataclasses of :mod:`openrft.store.rows`. Read database.py, then queue.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from openrft.store.artifacts import Artifacts, open_artifacts
from openrft.store.checkpoints import Checkpoints
from openrft.store.clock import Clock
from openrft.store.curves import Curves
from openrft.store.database import Database
from openrft.store.eval_items import EvalItems
from openrft.store.eval_runs import EvalRuns
from openrft.store.evals import Evals
from openrft.store.events import Events
from openrft.store.files import Files
from openrft.store.jobs import Jobs
from openrft.store.migrate import migrate
from openrft.store.permissions import Permissions
from openrft.store.projects import Projects
from openrft.store.queue import Queue
from openrft.store.rollouts import Rollouts
from openrft.store.steps import Steps
from openrft.store.uploads import Uploads
from openrft.store.usage import UsageByDay
from openrft.store.webhooks import Webhooks
from openrft.store.workers import Workers

__all__ = ["Store", "open_store"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """An open store; safe to use from several threads, not across a fork."""

    database: Database
    artifacts: Artifacts
    projects: Projects
    files: Files
    uploads: Uploads
    jobs: Jobs
    queue: Queue
    steps: Steps
    rollouts: Rollouts
    curves: Curves
    usage: UsageByDay
    events: Events
    checkpoints: Checkpoints
    workers: Workers
    permissions: Permissions
    evals: Evals
    eval_runs: EvalRuns
    eval_items: EvalItems
    webhooks: Webhooks

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str, *, artifacts: str | Path, clock: Clock | None = None, busy_seconds: float = 10.0) -> Store:
    """Open the store at ``url`` (``sqlite:///path`` or ``postgresql://…``), creating or migrating its tables.

    ``artifacts`` is a folder or an fsspec URL. Raises :class:`~openrft.errors.StoreError` when it cannot be opened and
    :class:`~openrft.errors.InvalidRequest` for an address that cannot be one.
    """
    database = Database(url, clock=clock, busy_seconds=busy_seconds)
    try:
        migrate(database)
        kept = open_artifacts(artifacts)
    except BaseException:
        database.close()
        raise
    files = Files(database, kept)
    return Store(
        database=database,
        artifacts=kept,
        projects=Projects(database),
        files=files,
        uploads=Uploads(database, kept, files),
        jobs=Jobs(database),
        queue=Queue(database),
        steps=Steps(database),
        rollouts=Rollouts(database),
        curves=Curves(database),
        usage=UsageByDay(database),
        events=Events(database),
        checkpoints=Checkpoints(database),
        workers=Workers(database),
        permissions=Permissions(database),
        evals=Evals(database),
        eval_runs=EvalRuns(database),
        eval_items=EvalItems(database),
        webhooks=Webhooks(database),
    )
