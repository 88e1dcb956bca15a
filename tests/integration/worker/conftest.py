"""A store, a home and what the usual job gives when nothing disturbs it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import worker_jobs as kit
from openrft.config.home import Home, home_at
from openrft.store import Store, open_store
from openrft.store.rows import Project


@pytest.fixture(autouse=True, scope="session")
def one_thread_each() -> Iterator[None]:
    """Several processes compute at once, and would only fight for the cores."""
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def calm(one_thread_each: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of the usual job when nothing disturbs it; the same on every database."""
    home = home_at(tmp_path_factory.mktemp("calm"))
    with open_store(home.database_url, artifacts=home.artifacts) as store:
        job = kit.create_job(store, store.projects.create("calm").id)
        with kit.working(store, home):
            assert kit.ended(store, job).status == "succeeded"
        assert kit.unreferenced(store, job) == []
        return kit.outcome(store, job)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database: SQLite, or what a test asks for. (The store's own tests run on both.)"""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/home/openrft.db"
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def home(url: str, tmp_path: Path) -> Home:
    return home_at(tmp_path / "home", database_url=url)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with open_store(home.database_url, artifacts=home.artifacts) as opened:
        yield opened


@pytest.fixture
def project(store: Store) -> Project:
    return store.projects.create("first")
