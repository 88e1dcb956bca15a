"""A run and its experiment trackers: they begin with it, are looked after at each step, and end with it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Set
from contextlib import contextmanager

from openrft.config.job import Job
from openrft.config.settings import read_settings
from openrft.tracking.followers import Followers
from openrft.tracking.tracker import RunFacts
from openrft.training.journal import Journal
from openrft.training.progress import Progress
from openrft.training.run_folder import RunFolder

_FACTS_FILE = "tracking.json"


@contextmanager
def tracked(
    job: Job, folder: RunFolder, progress: Progress, journal: Journal, facts: RunFacts | None = None
) -> Iterator[Journal]:
    """The ``journal`` for an attempt whose job's integrations follow the folder, until the block ends.

    ``facts``: what the run is called there; by default, after its folder. Whatever a tracker does, the run goes on.
    """
    if not job.integrations:
        yield journal
        return

    def warn(words: str) -> None:
        folder.event(words, level="warn")
        progress.note(words, "warn")

    followers = Followers(job.integrations, read_settings().tracking, warn)
    followers.start(facts or _facts(job, folder), folder.path)
    try:
        yield _LookingAfter(journal, followers)
    finally:
        progress.phase("sending what is left to trackers")
        followers.close()


def _facts(job: Job, folder: RunFolder) -> RunFacts:
    """What a run in the foreground is called: its folder's name, and a number that is its own."""
    if not (folder.path / _FACTS_FILE).exists():
        folder.write(_FACTS_FILE, {"id": f"rft-{secrets.token_hex(6)}"})
    name = folder.path.absolute().name
    run_id = str(folder.read(_FACTS_FILE)["id"])
    return RunFacts(id=run_id, name=name, base_model=job.model, tensorboard_folder=str(folder.path / "tensorboard"))


class _LookingAfter:
    """A journal that tells, at each step, of a tracker that has failed."""

    def __init__(self, journal: Journal, followers: Followers) -> None:
        self._journal, self._followers = journal, followers

    def began(self) -> None:
        self._journal.began()

    def resumed(self, step: int) -> None:
        self._journal.resumed(step)

    def recorded(self, step: int) -> None:
        self._journal.recorded(step)
        self._followers.look()

    def evaluated(self, step: int, file: str) -> None:
        self._journal.evaluated(step, file)

    def saved(self, step: int, kept: Set[int]) -> None:
        self._journal.saved(step, kept)
