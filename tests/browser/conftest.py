"""The dashboard in a real Chromium, at real servers.

``page``        an empty browser window. What the page's console says as an error fails the test.
``login``       logs a page in at a server, as the printed link does.
``server``      an application of this process with an empty store (``store``, ``project``, ``client``): for tests that
                play the worker's part by hand, with ``wire_jobs.run_by_hand`` and ``record_step``.
``lab``         the home of a server that has really trained: see ``laboratory.py``. One for the session, read only.
``lab_server``  ``openrft serve`` over a copy of it, without a worker, with models that answer; one for a module.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import openai
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app_server import Server
from browser.laboratory import Lab, build_lab
from openrft.api.app import create_app
from openrft.api.first_key import ensure_first_key
from openrft.api.platform import Platform
from openrft.api.session import login_link
from openrft.config.settings import Settings
from openrft.store import Store, open_store
from openrft.store.rows import Project
from platform_server import PlatformServer, platform_server

expect.set_options(timeout=30_000)  # milliseconds: machines are slow beside other tests; what holds is seen at once

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


def wait_until_models_answer(url: str) -> None:
    """They are loaded while the server is up already."""
    deadline = time.monotonic() + 120
    while not httpx2.get(f"{url}/ready").json()["checks"]["serving"]:
        assert time.monotonic() < deadline, "no model answers"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Not for the whole session: while it is there an event loop runs in this thread, and tests of
    other folders that run one themselves come after it.
    """
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window without memory. Errors in its console fail the test, but those that have a part in ``page.expected``."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(20_000)
    window = context.new_page()
    said: list[str] = []
    window.expected = []  # type: ignore[attr-defined]  # parts of messages that the test means to provoke
    window.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    window.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    yield window
    context.close()
    expected = window.expected  # type: ignore[attr-defined]
    assert [text for text in said if not any(part in text for part in expected)] == []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/openrft.db", artifacts=tmp_path / "artifacts") as opened:
        yield opened


@pytest.fixture
def server(store: Store, tmp_path: Path) -> Iterator[Server]:
    """An application with an empty store; nothing trains."""
    ensure_first_key(store, tmp_path)
    with Server(create_app(Platform(store=store, settings=Settings(), home=tmp_path))) as running:
        yield running


@pytest.fixture
def project(server: Server, store: Store) -> Project:
    """The project of the first key."""
    return store.projects.list()[0]


@pytest.fixture
def first_key(server: Server, tmp_path: Path) -> str:
    return (tmp_path / "api-key").read_text().strip()


@pytest.fixture
def client(server: Server, first_key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key=first_key, max_retries=0) as one:
        yield one


@pytest.fixture
def login(page: Page) -> Callable[[str, str], Page]:
    """``login(url, first_key)``: the page, logged in and at the list of jobs."""

    def enter(url: str, first_key: str) -> Page:
        page.goto(login_link(url, first_key))
        page.wait_for_url(f"{url}/finetune")
        return page

    return enter


@pytest.fixture
def window(login: Callable[[str, str], Page], server: Server, first_key: str) -> Iterator[Page]:
    """A page that is logged in at ``server``."""
    page = login(server.url, first_key)
    yield page
    page.goto("about:blank")  # lets go of the server, which ends before the page does


@pytest.fixture
def hurried(window: Page) -> Page:
    """The same page; from its next address on no timer waits longer than a fifth of a second, so it polls soon."""
    window.add_init_script(
        "const plain = setTimeout; setTimeout = (work, wait = 0, ...more) => plain(work, Math.min(wait, 200), ...more)"
    )
    return window


@pytest.fixture
def login_with(server: Server, page: Page) -> Iterator[Callable[[str], Page]]:
    """``login_with(key)``: a page that is logged in at ``server`` with this key."""

    def enter(key: str) -> Page:
        page.goto(f"{server.url}/login")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{server.url}/finetune")
        return page

    yield enter
    page.goto("about:blank")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Lab:
    """What was really trained, made once for all test processes."""
    root = tmp_path_factory.getbasetemp()
    return build_lab((root if worker_id == "master" else root.parent) / "laboratory")


@pytest.fixture(scope="module")
def lab_server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformServer]:
    """A server over a copy of the laboratory's home."""
    home = tmp_path_factory.mktemp("lab") / "home"
    shutil.copytree(lab.home, home, ignore=shutil.ignore_patterns("*.sock", "lock", "server.log"))
    with platform_server(home, "--no-worker") as running:
        wait_until_models_answer(running.base_url.removesuffix("/v1"))
        yield running


@pytest.fixture
def lab_window(login: Callable[[str, str], Page], lab_server: PlatformServer) -> Page:
    """A page that is logged in at ``lab_server``."""
    return login(lab_server.base_url.removesuffix("/v1"), lab_server.api_key)
