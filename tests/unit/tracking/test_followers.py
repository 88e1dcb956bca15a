"""Trackers in processes of their own: what is wrong with one is told once, and is nobody else's trouble."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from openrft.config.integrations import DEFAULT_INTEGRATIONS, Mlflow, MlflowIntegration, TrackingSettings
from openrft.tracking.followers import Followers
from tracked_run import RunFolder, follow_to_end


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_tracker_that_fails_is_told_once_and_holds_nobody_up(tmp_path: Path) -> None:
    run, told = RunFolder(tmp_path / "run"), list[str]()
    broken = MlflowIntegration(type="mlflow", mlflow=Mlflow(tracking_uri="nowhere://at/all"))
    followers = Followers([broken], TrackingSettings(), told.append)
    followers.start(run.facts(), run.path)

    def has_been_told() -> bool:
        followers.look()
        return bool(told)

    wait_until(has_been_told)
    followers.look()
    followers.close()
    [sentence] = told
    assert sentence.startswith("MLflow gets nothing more of this run, which goes on: ")
    assert "nowhere" in sentence


def test_a_tracker_that_hangs_is_left_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and answers none
        port = silent.getsockname()[1]
        integration = MlflowIntegration(type="mlflow", mlflow=Mlflow(tracking_uri=f"http://127.0.0.1:{port}"))
        run = RunFolder(tmp_path / "run")
        run.steps(1)
        run.succeed()
        [sentence] = follow_to_end(run, integration, wait_seconds=0.5)
    assert sentence == "MLflow has not taken everything within 0.5 s of the run's end; the run's folder has it"


def test_a_process_that_cannot_read_its_task_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path / "run")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "tensorboard.py").write_text("raise RuntimeError('this is another tensorboard')")
    [sentence] = follow_to_end(run, "tensorboard")
    assert sentence.endswith("RuntimeError: this is another tensorboard")


PARENT = """
import sys, time
from pathlib import Path
from openrft.config.integrations import DEFAULT_INTEGRATIONS, TrackingSettings
from openrft.tracking.followers import Followers
from tracked_run import RunFolder
run = RunFolder(Path(sys.argv[1]))
run.steps(1)
followers = Followers([DEFAULT_INTEGRATIONS["tensorboard"]], TrackingSettings(), print)
followers.start(run.facts(), run.path)
print(followers._running[0][1].pid, flush=True)
time.sleep(600)
"""


def test_a_tracker_leaves_when_its_run_is_killed(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("tensorboard")
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(repository / "tests")}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        tracker = int(parent.stdout.readline())
        wait_until(lambda: any((folder / "tensorboard").glob("*")))
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{tracker}/cmdline").exists() or not _command(tracker))


def _command(number: int) -> bytes:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()  # empty for one that is over and not yet waited for
    except OSError:
        return b""


def test_without_integrations_there_is_no_process(tmp_path: Path) -> None:
    followers = Followers([], TrackingSettings(), pytest.fail)
    followers.start(RunFolder(tmp_path).facts(), tmp_path)
    followers.look()
    followers.close()


def test_each_tracker_has_a_name_to_ask_for_it_by() -> None:
    assert {name: one.type for name, one in DEFAULT_INTEGRATIONS.items()} == {
        name: name for name in DEFAULT_INTEGRATIONS
    }
