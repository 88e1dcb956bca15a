"""``openrft backup`` and ``openrft restore``: copies of a server's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openrft.cli.serve import ArtifactsOption, DatabaseOption, HomeOption
from openrft.config.home import DEFAULT_HOME, home_at


def backup(
    to: Annotated[Path, typer.Argument(help="A new folder for the backup.")],
    folder: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    artifacts: ArtifactsOption = None,
) -> None:
    """Copy database and artifacts as of one moment, while the server may be at work."""
    from openrft.store.backup import back_up

    home = home_at(folder, database_url=database, artifacts=artifacts)
    back_up(home.database_url, Path(home.artifacts), to)
    print(f"backup of {home.path} in {to}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder of a backup.")],
    folder: HomeOption = DEFAULT_HOME,
) -> None:
    """Put a backup into a folder that holds no database yet; then start the server there."""
    from openrft.store.backup import put_back

    home = home_at(folder)
    put_back(source, home.path / "openrft.db", Path(home.artifacts))
    print(f"restored to {home.path}; start it with openrft serve --home {home.path}")
