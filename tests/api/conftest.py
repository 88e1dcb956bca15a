"""A server in a thread of this process, on a free port of loopback, asked by OpenAI's own client over real sockets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import pytest
from fastapi import FastAPI

from app_server import Server
from openrft.api.app import create_app
from openrft.api.platform import Platform
from openrft.config.settings import Settings
from openrft.store import Store, open_store
from openrft.store.rows import NewJob, Project


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty SQLite database; ``@on_both`` (see databases.py) runs a test on PostgreSQL as well."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/openrft.db"
        return
    started = request.getfixturevalue("postgres")
    name = started.create_database()
    yield started.url(name)
    started.drop_database(name)


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    with open_store(url, artifacts=tmp_path / "artifacts") as opened:
        yield opened


@pytest.fixture
def settings() -> Settings:
    """What openrft.toml would say; a test module may have a fixture of the same name."""
    return Settings()


@pytest.fixture
def platform(store: Store, settings: Settings, tmp_path: Path) -> Platform:
    return Platform(store=store, settings=settings, home=tmp_path)


@pytest.fixture
def app(platform: Platform) -> FastAPI:
    return create_app(platform)


@pytest.fixture
def server(app: FastAPI) -> Iterator[Server]:
    with Server(app) as running:
        yield running


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], Server]]:
    """Starts further servers; all are gone after the test."""
    running: list[Server] = []

    def start(app: FastAPI) -> Server:
        running.append(Server(app).__enter__())
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


@pytest.fixture
def project(store: Store) -> Project:
    return store.projects.create("first")


@pytest.fixture
def other_project(store: Store) -> Project:
    return store.projects.create("second")


@pytest.fixture
def key(store: Store, project: Project) -> str:
    """An admin's key of the first project: what ``openrft serve`` puts into its home."""
    return store.projects.create_key(project.id, "test", scope="admin")[1]


@pytest.fixture
def other_key(store: Store, other_project: Project) -> str:
    """A key of the second project that may write."""
    return store.projects.create_key(other_project.id, "other", scope="write")[1]


@pytest.fixture
def make_key(store: Store, project: Project) -> Callable[..., str]:
    """Makes a key of the first project."""
    return lambda scope: store.projects.create_key(project.id, scope, scope=scope)[1]


@pytest.fixture
def make_model(store: Store) -> Callable[..., str]:
    """Makes a job of a project with a checkpoint whose files are there; the name of its model."""

    def make(project: Project, name: str = "ft:openrft-tiny:openrft::abcd1234", *, ends: bool = True) -> str:
        asked = NewJob(
            model="openrft-tiny",
            training_file="file-a",
            validation_file=None,
            seed=7,
            spec={"request": {}, "base_model": "openrft-tiny", "document": {}},
        )
        job = store.jobs.create(project.id, asked)
        store.jobs.accept(project.id, job.id)
        claim = store.queue.claim("worker")
        assert claim is not None and claim.job.id == job.id
        artifact = f"jobs/{job.id}/model"
        store.artifacts.write(f"{artifact}/config.json", [b"{}"])
        store.checkpoints.record(claim.lease, 4, model_name=name, artifact=artifact, metrics={"step": 4.0})
        if ends:
            store.queue.finish(claim.lease, "succeeded", message="done", fine_tuned_model=name)
        return name

    return make


@contextmanager
def _openai(server: Server, key: str, **options: object) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0, timeout=60, **options) as made:
        yield made


@pytest.fixture
def client(server: Server, key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's client with the first project's key; it does not try again, so that a test sees every answer."""
    with _openai(server, key) as made:
        yield made


@pytest.fixture
def other_client(server: Server, other_key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's client with the second project's key."""
    with _openai(server, other_key) as made:
        yield made


@pytest.fixture
def http(server: Server, key: str) -> Iterator[httpx2.Client]:
    """A plain client with the first project's key, for what OpenAI's does not do."""
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as made:
        yield made


@pytest.fixture
def anonymous(server: Server) -> Iterator[httpx2.Client]:
    """A plain client without a key."""
    with httpx2.Client(base_url=server.url, timeout=60) as made:
        yield made
