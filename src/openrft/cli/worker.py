"""``openrft worker``: takes jobs from the queue and trains them; ``openrft serve`` starts one by itself."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from openrft.cli.serve import AliasOption, ArtifactsOption, DatabaseOption, HomeOption, settings_with
from openrft.config.home import DEFAULT_HOME, home_at


def worker(
    folder: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    artifacts: ArtifactsOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs to train at once.")] = 1,
    alias: AliasOption = None,
) -> None:
    """Train the jobs of a server's queue; several workers, on several machines, may share one.

    SIGTERM or Ctrl-C lets the running step finish, saves it and gives the job back.
    """
    from openrft.config.reachable import restrict
    from openrft.log import log_to_stderr
    from openrft.store import open_store
    from openrft.worker.supervisor import Supervisor

    settings = settings_with(alias or [])
    restrict(settings.server.reachable)  # webhooks and endpoint graders are called for whoever holds a key
    home = home_at(folder, database_url=database, artifacts=artifacts)
    log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_store(home.database_url, artifacts=home.artifacts) as store:
        Supervisor(store, home, settings, jobs=jobs).run(stop)
