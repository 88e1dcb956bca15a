"""Every public example of fine-tuning runs as it is, with both generations of OpenAI's client."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.contract_server import EXAMPLES, REPOSITORY, ContractServer, contract_server, python_path

# Those that take longest come first, because all start together.
SCRIPTS = (
    "endpoint_countdown",
    "security_review",
    "typed_method",
    "pause_and_resume",
    "medical_outcomes",
    "topic_codes",
    "long_conversations",
    "supervised_chat",
    "python_grader",
    "validate_grader",
    "preference",
)
NO_EXAMPLES = ("uploaded", "finished_job", "countdown_grader")  # what the examples import
CLIENT_2 = REPOSITORY / ".venv" / "clients" / "openai-2"
SECONDS = 500  # all run at once, on as few as two cores that have other tests to run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractServer]:
    with contract_server(tmp_path_factory.mktemp("contract"), "--jobs", "2") as started:
        yield started


def run_example(name: str, server: ContractServer, *client: Path) -> tuple[str, float, str]:
    """The example's name, how long it took, and what it said if it failed."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}.py")],
            capture_output=True,
            text=True,
            env={**server.environment, "PYTHONPATH": python_path(*client)},
            timeout=SECONDS,
        )
        said = "" if done.returncode == 0 else done.stdout[-1000:] + done.stderr[-4000:]
    except subprocess.TimeoutExpired as error:
        said = f"{error}\n{error.stdout!r}"[-4000:]
    return name, time.monotonic() - began, said


def test_every_example_is_in_the_list() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SCRIPTS, *NO_EXAMPLES}


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("client", ["3", pytest.param("2", marks=pytest.mark.slow)])
def test_the_examples_run_with_this_generation_of_the_client(
    client: str, server: ContractServer, subtests: pytest.Subtests
) -> None:
    folders = []
    if client == "2":
        if not (CLIENT_2 / "openai").is_dir():
            pytest.skip("openai 2.x is not installed beside the environment: scripts/clients installs it")
        folders = [CLIENT_2]
    with ThreadPoolExecutor(len(SCRIPTS)) as pool:
        runs = list(pool.map(lambda name: run_example(name, server, *folders), SCRIPTS))
    for name, seconds, said in runs:
        print(f"{name}: {seconds:.1f} s")
        with subtests.test(name):
            assert said == "", said
