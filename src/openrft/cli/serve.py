"""``openrft serve``: the API, a worker and the process that answers chat requests, over one folder."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openrft.config.home import ARTIFACTS_VARIABLE, DATABASE_VARIABLE, DEFAULT_HOME, HOME_VARIABLE, Home, home_at
from openrft.config.settings import SETTINGS_FILE, Settings, read_settings
from openrft.errors import InvalidRequest

if TYPE_CHECKING:
    from openrft.store import Store

HomeOption = Annotated[
    Path, typer.Option("--home", envvar=HOME_VARIABLE, help="The folder in which everything is kept.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database", envvar=DATABASE_VARIABLE, help="sqlite:///… or postgresql://…; default SQLite in --home."
    ),
]
ArtifactsOption = Annotated[
    str | None,
    typer.Option(
        "--artifacts", envvar=ARTIFACTS_VARIABLE, help="Folder or URL for files and weights; default in --home."
    ),
]
AliasOption = Annotated[
    list[str] | None,
    typer.Option(
        "--alias",
        metavar="NAME=MODEL",
        help="A model name of existing scripts, and the model that answers to it here; may be repeated.",
    ),
]

_WAITING = 2048  # connections before the first is answered


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at. Loopback unless you say otherwise.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8000,
    folder: HomeOption = DEFAULT_HOME,
    alias: AliasOption = None,
    database: DatabaseOption = None,
    artifacts: ArtifactsOption = None,
    worker: Annotated[bool, typer.Option(help="Whether to train here as well.")] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs that the worker trains at once.")] = 1,
    serving: Annotated[bool, typer.Option(help="Whether models answer requests here.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it listens as one line of JSON.")] = False,
) -> None:
    """Serve OpenAI's fine-tuning API: point the openai client's base_url here.

    The first start makes a key and keeps it in HOME/api-key. Ctrl-C or SIGTERM lets a running step finish and saves it.
    """
    from openrft.api.app import create_app
    from openrft.api.first_key import ensure_first_key
    from openrft.api.platform import Platform
    from openrft.cli.processes import Processes
    from openrft.log import log_to_stderr
    from openrft.serving.client import ServingClient
    from openrft.store import open_store
    from openrft.store.lock import hold_home

    settings = settings_with(alias or [])
    home = home_at(folder, database_url=database, artifacts=artifacts)
    log_to_stderr()
    with (
        hold_home(home.lock),
        open_store(home.database_url, artifacts=home.artifacts) as store,
        _listen(host, port) as listener,
    ):
        is_first = not home.api_key.exists()
        ensure_first_key(store, home.path)
        address = f"http://{_spelled(host)}:{listener.getsockname()[1]}"
        home.address.write_text(address + "\n", encoding="utf-8")
        client = ServingClient(home.socket) if serving else None
        platform = Platform(store=store, settings=settings, home=home.path, serving=client, address=address)
        app = create_app(platform)
        processes = Processes(_environment(home), lambda message: logging.getLogger("openrft.serve").warning(message))
        processes.start(_commands(home, alias or [], worker=worker, jobs=jobs, serving=serving))
        try:
            _greet(address, home, store, is_first=is_first, as_json=as_json)
            _run(app, listener)
        finally:
            processes.stop()


def settings_with(aliases: list[str]) -> Settings:
    """The machine's settings, with the aliases of the command line beside its own."""
    settings = read_settings()
    given = {}
    for alias in aliases:
        name, separator, model = alias.partition("=")
        if not (name and separator and model):
            raise InvalidRequest(
                f"--alias {alias}: expected NAME=MODEL, for instance --alias o4-mini=openrft-tiny", param="alias"
            )
        given[name] = model
    return settings.model_copy(update={"aliases": {**settings.aliases, **given}})


def _commands(home: Home, aliases: list[str], *, worker: bool, jobs: int, serving: bool) -> dict[str, list[str]]:
    named = [part for alias in aliases for part in ("--alias", alias)]
    commands = {}
    if serving:
        commands["serving"] = ["openrft.serving", "--home", str(home.path)]
    if worker:
        commands["worker"] = ["openrft", "worker", "--home", str(home.path), "--jobs", str(jobs), *named]
    return commands


def _environment(home: Home) -> dict[str, str]:
    """What the other processes see: where the database is may have a password in it, so no command line says it."""
    return {**os.environ, DATABASE_VARIABLE: home.database_url, ARTIFACTS_VARIABLE: home.artifacts}


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything is started: a port that is taken is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on: an answer's body then waits 40 ms for the head's receipt.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_WAITING)  # whoever follows the printed link at once waits, and is not refused
    except OSError as error:
        listener.close()
        fix = "choose another --port (0 takes a free one), or end the program that uses it"
        raise InvalidRequest(f"cannot listen at {host}:{port}: {error.strerror}; {fix}", param="port") from None
    return listener


def _spelled(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _greet(address: str, home: Home, store: Store, *, is_first: bool, as_json: bool) -> None:
    from openrft.api.session import login_link

    if as_json:
        facts = {
            "type": "listening",
            "base_url": f"{address}/v1",
            "dashboard": address,
            "api_key_file": str(home.api_key),
        }
        print(json.dumps(facts), flush=True)
        return
    print(f"openrft serves {address}/v1", flush=True)
    link = login_link(seen_from_here(address), home.api_key.read_text(encoding="utf-8").strip())
    # In a log for everybody it would be good for an hour, so there only how to make one is told.
    print(f"dashboard      {link if sys.stdout.isatty() else 'openrft dashboard makes a link that logs you in'}")
    if is_first and sys.stdout.isatty():  # once, and never into a log
        print(f"key            {home.api_key.read_text(encoding='utf-8').strip()}")
    print(
        f"key file       {home.api_key}\nkept in        {home.path}\nsettings       {SETTINGS_FILE}, see docs/server.md"
    )
    print(f'try            OPENAI_BASE_URL={address}/v1 OPENAI_API_KEY="$(cat {home.api_key})" openai api models.list')


def dashboard(
    folder: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="The link as one line of JSON.")] = False,
) -> None:
    """Print a link that logs a browser in to this machine's server: once, within an hour."""
    from openrft.api.session import CODE_SECONDS, login_link

    home = home_at(folder)
    try:
        address = home.address.read_text(encoding="utf-8").strip()
        first_key = home.api_key.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise InvalidRequest(
            f"{error.filename} is missing: no server has run in {home.path}; start one (openrft serve), or name its "
            "folder with --home",
            param="home",
        ) from None
    link = login_link(seen_from_here(address), first_key)
    print(json.dumps({"type": "dashboard", "link": link, "seconds": CODE_SECONDS}) if as_json else link, flush=True)


def seen_from_here(address: str) -> str:
    """The address for a browser on this machine, of a server that may listen everywhere."""
    return address.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")


def _run(app: object, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # a FastAPI application
        log_config=None,
        http="h11",  # holds no more than 64 kB of a request's head, whoever sends it
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=30,
        limit_concurrency=1_000,
        lifespan="on",
    )
    # Uvicorn raises the signal once more when it has shut down; left to the system's own handler, it would end this
    # process before the others were ended in order.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
