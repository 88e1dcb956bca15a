"""What the environment says about waiting threads, and who has the last word."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from openrft.config import waiting
from openrft.config.waiting import SPINS, is_quiet, wait_briefly


@pytest.mark.parametrize(("quiet", "spins"), [(True, SPINS), (False, 0)])
def test_threads_spin_for_a_moment_where_nobody_else_computes_and_sleep_elsewhere(
    quiet: bool, spins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "is_quiet", lambda: quiet)
    environment: dict[str, str] = {"PATH": "/bin"}
    wait_briefly(environment)
    assert environment == {"PATH": "/bin", "GOMP_SPINCOUNT": str(spins), "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(
    ("told", "expected"),
    [("0.90 1.10 2.00 1/98 4242", True), ("0.00 0.00 0.00 2/98 4242", False), ("", False), ("a b c d/e f", False)],
)
def test_a_machine_is_quiet_when_only_the_one_who_asks_runs(tmp_path: Path, told: str, expected: bool) -> None:
    (tmp_path / "loadavg").write_text(told)
    assert is_quiet(tmp_path / "loadavg") is expected
    assert not is_quiet(tmp_path / "missing")


def test_a_neighbour_that_runs_for_a_moment_does_not_make_it_a_busy_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loadavg").write_text("0 0 0 3/98 1")
    monkeypatch.setattr(waiting.time, "sleep", lambda _: (tmp_path / "loadavg").write_text("0 0 0 1/98 1"))
    assert is_quiet(tmp_path / "loadavg")


@pytest.mark.parametrize(
    ("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "7"), ("KMP_BLOCKTIME", "0")]
)
def test_what_the_user_says_about_waiting_stands_alone(name: str, value: str) -> None:
    environment = {name: value}
    wait_briefly(environment)
    assert environment == {name: value}


@pytest.mark.parametrize(("module", "is_ours"), [("openrft.cli", True), ("openrft.training.run", False)])
def test_the_command_sets_it_and_a_program_that_imports_openrft_is_left_alone(module: str, is_ours: bool) -> None:
    program = f"import os, {module}; print([name in os.environ for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={})
    assert ast.literal_eval(result.stdout) == [is_ours, is_ours]
