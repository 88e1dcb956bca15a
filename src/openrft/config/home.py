"""Where a server keeps everything: one folder, unless a database or an object store elsewhere is named.

home/
├── api-key          the first key, for its owner's eyes only
├── address          where the server listened last
├── openrft.db       SQLite: projects, jobs, events, steps (or a PostgreSQL server elsewhere)
├── artifacts/       files, rollouts, checkpoints, models (or an object store elsewhere)
├── jobs/            a worker's run folders
├── kept/            what runs keep for one another: evaluations of untouched bases, what is fastest on this machine
├── serving.sock     where the process that answers chat requests listens
└── lock             one server per folder
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "OPENRFT_HOME"
"""The environment variable that names the folder where nothing else does."""

DEFAULT_HOME = Path("~/.openrft")
"""The folder where the variable does not name one either."""

KEPT_FOLDER = "kept"
TENSORBOARD_FOLDER = "tensorboard"
"""In the home: what runs keep for one another."""

DATABASE_VARIABLE = "OPENRFT_DATABASE"
"""The environment variable that may hold the database's URL; a command line would show the password in it."""

ARTIFACTS_VARIABLE = "OPENRFT_ARTIFACTS"
"""The environment variable that may hold the address of the artifacts."""


@dataclass(frozen=True, slots=True)
class Home:
    """A server's folder, and what it is told to keep elsewhere."""

    path: Path
    database_url: str
    artifacts: str

    @property
    def api_key(self) -> Path:
        """The file with the first key."""
        return self.path / "api-key"

    @property
    def address(self) -> Path:
        """The file with the address at which the server listened last."""
        return self.path / "address"

    @property
    def jobs(self) -> Path:
        """A worker's run folders, one per job."""
        return self.path / "jobs"

    @property
    def kept(self) -> Path:
        """What runs keep for one another."""
        return self.path / KEPT_FOLDER

    @property
    def socket(self) -> Path:
        """Where the process that answers chat requests listens."""
        return self.path / "serving.sock"

    @property
    def lock(self) -> Path:
        """Held by the one server that uses this folder."""
        return self.path / "lock"


def home_at(path: Path, *, database_url: str | None = None, artifacts: str | None = None) -> Home:
    """The home in the folder ``path``, made for its owner alone where it does not exist."""
    path = path.expanduser().absolute()
    make_private(path)
    return Home(
        path=path,
        database_url=database_url or f"sqlite:///{path / 'openrft.db'}",
        artifacts=artifacts or str(path / "artifacts"),
    )


def kept_at_home(environment: Mapping[str, str] = os.environ) -> Path | None:
    """What runs keep for one another where no server is told a home; None for a user without a home.

    The folder need not exist.
    """
    try:
        path = Path(environment.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser().absolute()
    except RuntimeError:  # the system knows no home folder of this user
        return None
    return path / KEPT_FOLDER


def make_private(path: Path) -> None:
    """Make a folder for its owner alone, and those above it that are missing."""
    for folder in (*reversed(path.parents), path):
        folder.mkdir(mode=0o700, exist_ok=True)
