"""A policy that a far too high learning rate ruins: what the guard saves of it, and that kills do not change that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from openrft import faults
from openrft.training.progress import Silence
from openrft.training.run import start_run
from run_settings import MEASURED
from small_job import read_metrics, small_job

DRIVER = Path(__file__).with_name("kill_driver.py")

TOO_HIGH = 30.0  # times the learning rate that "auto" chooses


def ruinous_job(repository: Path, *, num_steps: int, **changes: Any) -> Any:
    """All validations are at zero within five steps, and stay there where nobody goes back."""
    return small_job(
        repository,
        num_steps=num_steps,
        eval_interval=5,
        warmup_steps=1,
        learning_rate_multiplier=TOO_HIGH,
        prompt_order="epochs",
        **changes,
    )


def returns_of(folder: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event["data"]["return"] for event in events if "return" in event["data"]]


@pytest.mark.slow
def test_a_run_that_would_be_ruined_ends_better_than_it_began(repository: Path, tmp_path: Path) -> None:
    reports = {
        guard: start_run(ruinous_job(repository, num_steps=40, guard=guard), tmp_path / str(guard), Silence())
        for guard in (False, True)
    }
    ruined, saved = (
        [row["valid/reward_mean"] for row in read_metrics(tmp_path / str(guard)) if "valid/reward_mean" in row]
        for guard in (False, True)
    )
    assert ruined[-1] < 0.05 < 0.3 < ruined[0]
    assert saved[-1] > saved[0] + 0.1
    assert reports[True]["is_significant_gain"] and not reports[False]["is_significant_gain"]
    first = returns_of(tmp_path / "True")[0]
    assert (first["at"], first["to"], first["learning_rate_scale"]) == (10, 0, 0.5)
    assert "validation fell twice running" in reports[True]["job"]["returns to an earlier step"]
    rows = read_metrics(tmp_path / "True")
    assert "guard/returns" not in rows[10]
    assert rows[11]["guard/returns"] == 1.0
    # The schedule falls by 2.3 % a step; all the rest is the guard's doing.
    assert rows[11]["optimizer/learning_rate"] == pytest.approx(rows[10]["optimizer/learning_rate"] / 2, rel=0.03)


def drive(job: Path, folder: Path, fault: str = "") -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", faults.VARIABLE: fault}
    command = [sys.executable, str(DRIVER), str(job), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1000)
    assert fault or done.returncode == 0, done.stderr
    return done.returncode


def outcome(folder: Path) -> dict[str, Any]:
    rows = [{k: v for k, v in row.items() if not k.startswith(MEASURED)} for row in read_metrics(folder)]
    weights = {
        f"{path.parent.name}/{name}": tensor.numpy().tobytes()
        for path in sorted((folder / "checkpoints").glob("step-*/*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    report = json.loads((folder / "report.json").read_text())
    return {"rows": rows, "weights": weights, "shipped": report["shipped_step"], "sentence": report["sentence"]}


@pytest.mark.slow
def test_kills_around_a_return_change_nothing(repository: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(ruinous_job(repository, num_steps=12).model_dump_json())
    drive(job, tmp_path / "calm")
    assert [(one["at"], one["to"]) for one in returns_of(tmp_path / "calm")] == [(10, 0)]
    killed = tmp_path / "killed"
    for fault in (
        "guard.gone_back",  # put back, nothing saved
        "checkpoint.files_written",  # half saved: the attempt goes on from step 5
        "checkpoint.renamed",  # saved, and nobody was told
        "run.step_recorded",  # step 11, with the weights of the base
    ):
        assert drive(job, killed, fault) != 0, fault
    drive(job, killed)
    assert len(returns_of(killed)) == 2  # decided by three attempts, of which the first did not get to tell
    assert outcome(killed) == outcome(tmp_path / "calm")


def test_training_ends_early_where_nothing_is_left_to_learn(repository: Path, tmp_path: Path) -> None:
    job = small_job(repository, num_steps=6, eval_interval=2, early_stopping=True, max_completion_tokens=8)
    document = job.model_dump(mode="json")
    document["method"]["reinforcement"]["grader"] = {
        "type": "python", "source": "def grade(sample, item):\n    return 1.0\n",
    }  # fmt: skip
    report = start_run(type(job).model_validate(document), tmp_path / "run", Silence())
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [0, 1, 2]
    words = "at step 2 of 6: nothing is left to learn: the reward is 1.000 in training and 1.000 on validation"
    assert report["job"]["stopped early"] == words
    assert report["job"]["steps"] == 2
    assert (tmp_path / "run" / "checkpoints" / "step-000002").is_dir()
    told = [json.loads(line)["message"] for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert f"stopped early {words}" in told
    assert words in (tmp_path / "run" / "report.md").read_text()
