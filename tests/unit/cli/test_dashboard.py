"""The way from a terminal into the browser: ``openrft dashboard``, and what ``openrft serve`` prints."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from openrft.api.session import CODE_SECONDS, Codes
from openrft.cli import app
from openrft.cli.serve import seen_from_here
from openrft.errors import InvalidRequest, Unauthorized


def home_with(tmp_path: Path, address: str = "http://127.0.0.1:8123", key: str = "sk-openrft-first") -> Path:
    (tmp_path / "address").write_text(address + "\n")
    (tmp_path / "api-key").write_text(key + "\n")
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_link_leads_to_where_the_server_listened_last_and_its_code_opens_once(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    link = run("dashboard", "--home", str(home)).strip()
    address, _, code = link.partition("#")
    assert address == "http://127.0.0.1:8123/login"
    codes = Codes()
    codes.redeem(code, "sk-openrft-first")
    with pytest.raises(Unauthorized, match="used already"):
        codes.redeem(code, "sk-openrft-first")
    assert run("dashboard", "--home", str(home)).strip() != link


def test_programs_get_the_link_as_one_line_of_json(tmp_path: Path) -> None:
    told = json.loads(run("dashboard", "--home", str(home_with(tmp_path)), "--json"))
    assert told["type"] == "dashboard" and told["seconds"] == CODE_SECONDS
    assert told["link"].startswith("http://127.0.0.1:8123/login#")


@pytest.mark.parametrize("missing", ["address", "api-key"])
def test_a_folder_in_which_no_server_has_run_is_named_with_what_to_do(tmp_path: Path, missing: str) -> None:
    (home_with(tmp_path) / missing).unlink()
    with pytest.raises(InvalidRequest, match=rf"{missing} is missing.*openrft serve.*--home"):
        run("dashboard", "--home", str(tmp_path))


@pytest.mark.parametrize(
    ("listened", "seen"),
    [
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("http://[::]:8000", "http://[::1]:8000"),
        ("http://10.0.0.7:8000", "http://10.0.0.7:8000"),
    ],
)
def test_a_server_that_listens_everywhere_is_seen_at_loopback(tmp_path: Path, listened: str, seen: str) -> None:
    assert seen_from_here(listened) == seen
    assert run("dashboard", "--home", str(home_with(tmp_path, listened))).startswith(f"{seen}/login#")


def test_serve_prints_a_link_that_logs_in_to_a_terminal_and_to_a_log_only_how_to_make_one(tmp_path: Path) -> None:
    terminal, child_end = pty.openpty()
    words = ["serve", "--home", str(tmp_path / "home"), "--port", "0", "--no-worker", "--no-serving"]
    with subprocess.Popen(
        [sys.executable, "-m", "openrft", *words], stdout=child_end, stderr=subprocess.DEVNULL
    ) as server:
        try:
            os.close(child_end)
            printed = read_until(terminal, "try  ")
        finally:
            server.terminate()
            server.wait(30)
            os.close(terminal)
    [link] = [line.split()[1] for line in printed.splitlines() if line.startswith("dashboard")]
    Codes().redeem(link.partition("#")[2], (tmp_path / "home/api-key").read_text().strip())
    assert link.startswith((tmp_path / "home/address").read_text().strip() + "/login#")

    with subprocess.Popen(
        [sys.executable, "-m", "openrft", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        try:
            assert server.stdout is not None
            lines = []
            while not lines or not lines[-1].startswith("try"):
                lines.append(server.stdout.readline().decode())
                assert lines[-1], lines
            link = run("dashboard", "--home", str(tmp_path / "home")).strip()
            code = link.partition("#")[2]
            opened = httpx2.post(
                link.replace("/login", "/session").partition("#")[0], json={"code": code}, headers={"x-openrft": "1"}
            )
        finally:
            server.terminate()
            server.wait(30)
    assert not any("#" in line or "sk-" in line for line in lines)
    assert any("openrft dashboard" in line for line in lines)
    assert opened.json()["key"]["scope"] == "admin"


def read_until(terminal: int, word: str, seconds: float = 60.0) -> str:
    printed, deadline = "", time.monotonic() + seconds
    while word not in printed:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, printed
        printed += os.read(terminal, 65536).decode()
    return printed
