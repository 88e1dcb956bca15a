"""Supervised jobs from file to report: they learn, are watched by loss or by a grader, and survive a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from documented_metrics import documented_metrics
from openrft.config.job import read_job
from openrft.errors import DatasetError, InvalidRequest
from openrft.training.progress import Silence
from openrft.training.run import start_run
from random_models import write_random_model
from run_settings import MEASURED

DRIVER = Path(__file__).with_name("kill_driver.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
GRADER = {
    "type": "python",
    "source": "def grade(sample, item):\n    return float(sample['output_text'] == item['messages'][-1]['content'])",
}


def row(number: int) -> dict[str, Any]:
    question = {"role": "user", "content": f"say {number % 4}"}
    return {"messages": [question, {"role": "assistant", "content": "abcd"[number % 4]}], "n": number}


def write_job(folder: Path, *, files: tuple[str, ...] = ("training", "validation", "test"), **options: Any) -> Path:
    """A small job of all files; ``options`` are those of ``method.supervised``."""
    folder.mkdir(exist_ok=True)
    model = write_random_model(folder / "model", "qwen3")
    job: dict[str, Any] = {"model": str(model), "seed": 5}
    for name, count, first in (("training", 12, 0), ("validation", 5, 100), ("test", 6, 200)):
        if name in files:
            (folder / f"{name}.jsonl").write_text(
                "".join(json.dumps(row(first + number)) + "\n" for number in range(count))
            )
            job[f"{name}_file"] = f"{name}.jsonl"
    hyperparameters = {
        "num_steps": 8, "batch_size": 3, "eval_interval": 2, "learning_rate": 0.01, "max_completion_tokens": 4,
        "eval_samples": 2, **options.pop("hyperparameters", {}),
    }  # fmt: skip
    job["method"] = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters, **options}}
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_learns_ships_the_lowest_loss_and_compares_it_with_the_base(tmp_path: Path, repository: Path) -> None:
    report = start_run(read_job(write_job(tmp_path / "job")), tmp_path / "run", Silence())
    assert report["outcome"] == "better" and report["kind"] == "loss"
    assert report["sentence"].startswith("lower loss: ")
    rows = metrics_of(tmp_path / "run")
    assert [one["step"] for one in rows] == list(range(9))
    assert rows[8]["train/loss"] < 0.5 * rows[1]["train/loss"]
    assert all(one["train/tokens"] == 6 for one in rows[1:])  # three answers of a letter and the end of the turn
    assert [one["step"] for one in rows if "valid/loss" in one] == [0, 2, 4, 6, 8]
    plain, patterns = documented_metrics(repository)
    names = {name for one in rows for name in one if name not in plain and not any(p.fullmatch(name) for p in patterns)}
    assert names == {"step"}
    losses = {one["step"]: one["valid/loss"] for one in rows if "valid/loss" in one and one["step"]}
    assert report["shipped_step"] == min(losses, key=lambda step: losses[step])
    assert rows[0]["valid/token_accuracy"] < rows[8]["valid/token_accuracy"]
    assert report["rows_kind"] == "test" and report["paired"]["num_examples"] == 6
    assert "lower loss" in (tmp_path / "run/report.md").read_text()
    assert (tmp_path / "run/model/model.safetensors").exists()
    card = (tmp_path / "run/model/README.md").read_text()
    assert "supervised-fine-tuning" in card and "Grader" not in card


def test_with_a_grader_answers_are_sampled_and_the_report_is_that_of_any_graded_run(tmp_path: Path) -> None:
    report = start_run(
        read_job(write_job(tmp_path / "job", grader=GRADER, hyperparameters={"num_steps": 24, "eval_interval": 8})),
        tmp_path / "run",
        Silence(),
    )
    rows = metrics_of(tmp_path / "run")
    assert rows[0]["valid/reward_mean"] < 0.1 < rows[24]["valid/reward_mean"]
    assert rows[24]["valid/loss"] < rows[0]["valid/loss"]
    assert "kind" not in report and report["outcome"] == "better"
    assert {"step-000000-test-greedy.json", "step-000000-test-loss.json"} <= {
        path.name for path in (tmp_path / "run/evaluations").iterdir()
    }


def test_without_held_out_rows_the_last_step_ships_and_nothing_is_claimed(tmp_path: Path) -> None:
    job = read_job(write_job(tmp_path / "job", files=("training",)))
    report = start_run(job, tmp_path / "run", Silence())
    assert report["outcome"] == "not measured" and report["shipped_step"] == 8
    assert not list((tmp_path / "run/evaluations").iterdir())
    assert all("valid/loss" not in one for one in metrics_of(tmp_path / "run"))


def test_with_validation_rows_alone_the_report_says_that_they_chose_the_step(tmp_path: Path) -> None:
    job = read_job(write_job(tmp_path / "job", files=("training", "validation")))
    report = start_run(job, tmp_path / "run", Silence())
    assert report["rows_kind"] == "validation"
    assert any("chose step" in note for note in report["notes"])
    assert report["selection"]["candidate_steps"] == [2, 4, 6, 8]


def test_a_grader_without_validation_rows_is_refused(tmp_path: Path) -> None:
    job = read_job(write_job(tmp_path / "job", files=("training",), grader=GRADER))
    with pytest.raises(InvalidRequest, match="there is no validation_file"):
        start_run(job, tmp_path / "run", Silence())
    assert not (tmp_path / "run").exists()


def test_a_reinforcement_file_and_one_with_nine_rows_are_refused_by_name(tmp_path: Path) -> None:
    path = write_job(tmp_path / "job")
    lines = (tmp_path / "job/training.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "job/training.jsonl").write_text("".join(lines[:9]))
    (tmp_path / "job/validation.jsonl").write_text('{"messages": [{"role": "user", "content": "?"}], "answer": "1"}\n')
    with pytest.raises(DatasetError) as caught:
        start_run(read_job(path), tmp_path / "run", Silence())
    assert "at least 10 examples" in str(caught.value)
    assert "a reinforcement fine-tuning file" in str(caught.value)


def test_a_row_beyond_the_context_is_cut_with_a_warning(tmp_path: Path) -> None:
    path = write_job(tmp_path / "job", files=("training",), hyperparameters={"num_steps": 1})
    long = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "x" * 400}]}
    with (tmp_path / "job/training.jsonl").open("a") as file:
        file.write(json.dumps(long) + "\n")
    told: list[str] = []

    class Listener(Silence):
        def note(self, message: str, level: str = "info", data: Any = None) -> None:
            told.append(message)

    start_run(read_job(path), tmp_path / "run", Listener())
    assert any("1 rows are longer than the model's context of 256 tokens" in one and "line 13" in one for one in told)
    long["messages"][0]["content"] = "?" * 400
    with (tmp_path / "job/training.jsonl").open("a") as file:
        file.write(json.dumps(long) + "\n")
    with pytest.raises(DatasetError, match="line 14"):
        start_run(read_job(path), tmp_path / "again", Silence())


def test_an_adapter_learns_as_well(tmp_path: Path) -> None:
    path = write_job(tmp_path / "job", hyperparameters={"weights": "lora", "learning_rate": 0.03})
    report = start_run(read_job(path), tmp_path / "run", Silence())
    assert report["outcome"] == "better"
    assert (tmp_path / "run/model/adapter").is_dir()


def drive(job: Path, folder: Path, *moments: float) -> int:
    """Run to the end, killed at these moments; returns how many kills found the run alive."""
    command = [sys.executable, str(DRIVER), str(job), str(folder), *map(str, moments)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def outcome(folder: Path) -> dict[str, Any]:
    """All that must be equal: weights bit for bit, metrics but the machine's, every evaluation, the verdict."""
    files = [*sorted((folder / "checkpoints").glob("step-*/*.safetensors")), folder / "model/model.safetensors"]
    return {
        "weights": {
            f"{path.parent.name}/{name}": tensor.numpy().tobytes()
            for path in files
            for name, tensor in load_file(path).items()
        },
        "metrics": [
            {name: value for name, value in one.items() if not name.startswith(MEASURED)} for one in metrics_of(folder)
        ],
        "evaluations": {path.name: path.read_text() for path in sorted((folder / "evaluations").iterdir())},
        "sentence": json.loads((folder / "report.json").read_text())["sentence"],
    }


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_weights_and_records(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", hyperparameters={"num_steps": 30, "checkpoint_interval": 1, "eval_interval": 5})
    drive(job, tmp_path / "calm")
    assert drive(job, tmp_path / "killed", 8.5, 15.5, 22.5) == 3
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "calm")
