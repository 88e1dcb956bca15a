"""``openrft keys``: make, list and revoke API keys on the server's own machine, its folder being the permission."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from openrft.cli.run import JsonFlag
from openrft.cli.serve import DatabaseOption, HomeOption
from openrft.config.home import DEFAULT_HOME, home_at
from openrft.errors import InvalidRequest

if TYPE_CHECKING:
    from pathlib import Path

    from openrft.store import Store
    from openrft.store.rows import Project, Scope

app = typer.Typer(no_args_is_help=True)

ProjectOption = Annotated[
    str | None, typer.Option("--project", help="Name or id of the project; without it, the oldest one.")
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[str, typer.Option(help="read, write (upload, train, chat) or admin (projects and keys too).")] = (
        "write"
    ),
    project: ProjectOption = None,
    new_project: Annotated[bool, typer.Option("--new-project", help="Make the project --project first.")] = False,
    folder: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    with _store(folder, database) as store:
        if new_project:
            if project is None:
                raise InvalidRequest("--new-project needs --project with its name", param="project")
            owner = store.projects.create(project)
        else:
            owner = _project(store, project)
        chosen: Scope = scope  # type: ignore[assignment]  # create_key refuses others
        key, plain = store.projects.create_key(owner.id, name, scope=chosen)
    if as_json:
        print(json.dumps({"type": "key", "key": plain, **asdict(key)}))
    else:
        print(plain)
        typer.echo(f"{key.id}: {key.name}, scope {key.scope}, project {owner.name}; it is shown this once", err=True)


@app.command("list")
def list_keys(
    project: ProjectOption = None,
    folder: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List keys, newest first; of all projects without --project."""
    with _store(folder, database) as store:
        projects = store.projects.list() if project is None else [_project(store, project)]
        for owner in projects:
            for key in store.projects.list_keys(owner.id):
                if as_json:
                    print(json.dumps({"type": "key", "project": owner.name, **asdict(key)}))
                    continue
                state = "revoked" if key.revoked_at is not None else key.scope
                used = "never used" if key.last_used_at is None else f"last used {_day(key.last_used_at)}"
                print(f"{key.id}  …{key.hint}  {state:8} {owner.name}: {key.name}, {used}")


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as keys list shows it.")],
    folder: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
) -> None:
    """From now on the key opens nothing."""
    with _store(folder, database) as store:
        for owner in store.projects.list():
            if any(key.id == key_id for key in store.projects.list_keys(owner.id)):
                key = store.projects.revoke_key(owner.id, key_id)
                print(f"{key.id} ({key.name}) is revoked")
                return
    raise InvalidRequest(f"there is no key {key_id!r}; openrft keys list shows them", param="key_id")


def _store(folder: Path, database: str | None) -> Store:
    from openrft.store import open_store

    home = home_at(folder, database_url=database)
    return open_store(home.database_url, artifacts=home.artifacts)


def _project(store: Store, wanted: str | None) -> Project:
    projects = store.projects.list()
    found = [one for one in projects if wanted in (None, one.id, one.name)]
    if not found:
        known = ", ".join(one.name for one in projects) or "none yet: start openrft serve once"
        raise InvalidRequest(f"there is no project {wanted!r}; there are {known}", param="project")
    return found[0]


def _day(seconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
