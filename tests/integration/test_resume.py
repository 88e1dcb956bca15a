"""A run that is killed or stopped and resumed ends exactly like one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from random_models import write_random_model
from run_settings import MEASURED

DRIVER = Path(__file__).with_name("kill_driver.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def write_job(folder: Path, **hyperparameters: Any) -> Path:
    """A small job that needs every part: validation, several checkpoints, a Python grader, a test file."""
    folder.mkdir(exist_ok=True)
    model = write_random_model(folder / "model", "qwen3")
    for name, count, offset in (("train", 12, 0), ("valid", 4, 100), ("test", 4, 200)):
        rows = [{"messages": [{"role": "user", "content": f"say {offset + i}"}], "n": offset + i} for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = (
        "def grade(sample, item):\n    text = sample['output_text']\n    return sum(c.isalpha() for c in text) / 16"
    )
    options = {
        "num_steps": 6, "batch_size": 3, "group_size": 4, "max_completion_tokens": 12, "eval_interval": 2,
        "eval_samples": 2, "learning_rate": 0.003, "checkpoint_interval": 1, **hyperparameters,
    }  # fmt: skip
    job = {
        "model": str(model), "training_file": "train.jsonl", "validation_file": "valid.jsonl",
        "test_file": "test.jsonl", "seed": 5, "method": {"type": "reinforcement", "reinforcement": {
            "grader": {"type": "python", "source": source}, "hyperparameters": options}},
    }  # fmt: skip
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def drive(job: Path, folder: Path, *moments: float) -> int:
    """Run to the end, killed at these moments; returns how many kills found the run alive."""
    command = [sys.executable, str(DRIVER), str(job), str(folder), *map(str, moments)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def outcome(folder: Path) -> dict[str, Any]:
    """All that must be equal: weights bit for bit, metrics but the machine's, every rollout, every evaluation."""
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rollouts = {
        path.name: [{**json.loads(line), "grading_seconds": 0} for line in path.read_text().splitlines()]
        for path in sorted((folder / "rollouts").iterdir())
    }
    return {
        "metrics": [{k: v for k, v in row.items() if not k.startswith(MEASURED)} for row in metrics],
        "rollouts": rollouts,
        "evaluations": {path.name: path.read_text() for path in sorted((folder / "evaluations").iterdir())},
        "checkpoints": sorted(path.name for path in (folder / "checkpoints").iterdir()),
        "sentence": json.loads((folder / "report.json").read_text())["sentence"],
    }


def weights(folder: Path) -> dict[str, bytes]:
    files = [
        *sorted((folder / "checkpoints").glob("step-*/weights.safetensors")),
        folder / "model" / "model.safetensors",
    ]
    return {
        f"{path.parent.name}/{name}": tensor.numpy().tobytes()
        for path in files
        for name, tensor in load_file(path).items()
    }


@pytest.mark.parametrize("kind", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_run_killed_at_any_moment_ends_with_the_same_weights_and_records(tmp_path: Path, kind: str) -> None:
    job = write_job(tmp_path / "job", weights=kind)
    drive(job, tmp_path / "calm")
    moments = (-0.5, 0.3, 1.5, 2.2, 3.0, 4.8, 5.5) if kind == "full" else (2.4, 4.5)
    assert drive(job, tmp_path / "killed", *moments) == len(moments)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "calm")
    assert weights(tmp_path / "killed") == weights(tmp_path / "calm")
    # The weights did move, or equality would mean nothing.
    report = json.loads((tmp_path / "calm" / "report.json").read_text())
    assert report["shipped_step"] > 0
    trained = weights(tmp_path / "calm")
    steps = {name.split("/")[0] for name in trained if name.startswith("step-")}
    assert len({trained[f"{step}/{next(iter(trained)).split('/', 1)[1]}"] for step in steps}) == len(steps)


def test_ctrl_c_saves_and_the_resumed_run_ends_like_one_that_was_left_alone(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", checkpoint_interval=6, eval_interval=6)
    drive(job, tmp_path / "calm")
    command = [sys.executable, "-m", "openrft", "run", str(job), "--dir", str(tmp_path / "stopped"), "--json"]
    child = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line).get("step") == 2:
            child.send_signal(signal.SIGINT)
            break
    rows = [json.loads(line) for line in child.stdout]
    child.stdout.close()
    assert child.wait(60) == 3
    assert rows[-1]["error"]["code"] == "interrupted"
    assert json.loads((tmp_path / "stopped" / "status.json").read_text())["status"] == "interrupted"
    drive(job, tmp_path / "stopped")
    assert weights(tmp_path / "stopped") == weights(tmp_path / "calm")
    assert outcome(tmp_path / "stopped")["metrics"] == outcome(tmp_path / "calm")["metrics"]


def test_a_run_whose_data_changed_is_not_resumed(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", num_steps=2)
    drive(job, tmp_path / "run")
    train = tmp_path / "job" / "train.jsonl"
    train.write_text(train.read_text().replace("say 3", "say three"))
    command = [sys.executable, "-m", "openrft", "run", "--resume", str(tmp_path / "run")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "has changed since the run began" in done.stderr


def test_a_damaged_last_checkpoint_is_skipped_for_the_one_before(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job")
    drive(job, tmp_path / "run")
    reference = weights(tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "step-000006" / "weights.safetensors"
    last.write_bytes(last.read_bytes()[:-8])
    time.sleep(0.01)
    drive(job, tmp_path / "run")
    assert weights(tmp_path / "run") == reference
