"""What holds for every test: no download, no window, one thread per process, a home of its own."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_server import PostgresServer, find_binaries

# Set before any test module is imported, because the libraries read these once, on their own import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# What runs keep for one another is no test's: commands find a home that is empty and goes away.
HOME = tempfile.TemporaryDirectory(prefix="openrft-home-")
os.environ["OPENRFT_HOME"] = HOME.name


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Sums depend on how many threads add them up. Torch is not imported for tests that do not use it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server of our own, in a temporary folder, gone with the session."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: no initdb in PATH or below /usr/lib/postgresql")
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()
