"""What the environment says about waiting threads, and who has the last word."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from openrft.config.waiting import wait_briefly


def test_threads_wait_briefly_unless_the_user_says_otherwise() -> None:
    environment: dict[str, str] = {"PATH": "/bin"}
    wait_briefly(environment)
    assert environment == {"PATH": "/bin", "GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}


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
