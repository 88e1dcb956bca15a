"""Every test of this folder that asks for ``store`` or ``url`` runs on SQLite and on PostgreSQL."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openrft.store import Store, open_store
from openrft.store.rows import Claim, JobRow, NewJob, Project

PROGRAMS = Path(__file__).with_name("programs.py")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/openrft.db"
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    """An open store with all tables and nothing in them."""
    with open_store(url, artifacts=tmp_path / "artifacts") as opened:
        yield opened


@pytest.fixture
def project(store: Store) -> Project:
    return store.projects.create("first")


@pytest.fixture
def new_job() -> Callable[..., NewJob]:
    def make(**options: object) -> NewJob:
        asked = {"model": "openrft-tiny", "training_file": "file-a", "validation_file": None, "seed": 7, "spec": {}}
        return NewJob(**{**asked, **options})

    return make


@pytest.fixture
def queued(store: Store, project: Project, new_job: Callable[..., NewJob]) -> Callable[..., JobRow]:
    """Makes a job that waits for a worker."""

    def make(**options: object) -> JobRow:
        job = store.jobs.create(project.id, new_job(**options))
        return store.jobs.accept(project.id, job.id)

    return make


@pytest.fixture
def claim(store: Store, queued: Callable[..., JobRow]) -> Claim:
    """A job that is running, and the right to write about it."""
    queued()
    claimed = store.queue.claim("worker")
    assert claimed is not None
    return claimed


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``programs.py NAME ARGUMENT…`` in a process of its own; all are gone after the test."""
    started: list[subprocess.Popen[str]] = []

    def launch(name: str, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        command = [*before, sys.executable, str(PROGRAMS), name, *map(str, arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, env=dict(os.environ), **pipes)
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        process.communicate()
