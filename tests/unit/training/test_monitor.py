"""The monitor grader watches: it grades the same answers, never trains, never chooses, and never fails the job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openrft.config.job import Job, read_job
from openrft.errors import InvalidRequest
from openrft.evaluation.evaluation import Evaluation
from openrft.training.progress import Silence
from openrft.training.run import start_run
from random_models import write_random_model

LENGTH = {"type": "python", "source": "def grade(sample, item):\n    return len(sample['output_text']) % 5 / 4\n"}
SIMILARITY = {
    "type": "text_similarity", "input": "{{sample.output_text}}", "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
}  # fmt: skip
BROKEN = {"type": "python", "source": "def grade(sample, item):\n    return 1 / 0\n"}


def write_job(folder: Path, monitor: Any) -> Path:
    write_random_model(folder / "model", "qwen3")
    for name, count in (("train", 4), ("valid", 3), ("test", 2)):
        rows = [{"messages": [{"role": "user", "content": f"{name} {i}"}], "answer": "the"} for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"num_steps": 2, "batch_size": 2, "group_size": 2, "max_completion_tokens": 4, "eval_interval": 1}
    reinforcement = {"grader": LENGTH, "hyperparameters": options}
    if monitor is not None:
        reinforcement["monitor_grader"] = monitor
    job = {
        "model": "model", "training_file": "train.jsonl", "validation_file": "valid.jsonl", "test_file": "test.jsonl",
        "method": {"type": "reinforcement", "reinforcement": reinforcement},
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    return folder / "job.json"


class Told(Silence):
    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def note(self, message: str, level: str = "info", data: object = None) -> None:
        self.notes.append((level, message))


def run(tmp_path: Path, name: str, monitor: Any) -> tuple[dict[str, Any], list[dict[str, Any]], Told]:
    job: Job = read_job(write_job(tmp_path / f"job {name}", monitor))
    told = Told()
    report = start_run(job, tmp_path / name, told)
    rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
    return report, rows, told


def evaluation(folder: Path, name: str) -> Evaluation:
    return Evaluation.from_json(json.loads((folder / f"evaluations/{name}.json").read_text()))


def test_every_sampled_pass_has_its_grades_beside_the_graders_and_nothing_else_changes(tmp_path: Path) -> None:
    report, rows, _ = run(tmp_path, "watched", SIMILARITY)
    plain, plain_rows, _ = run(tmp_path, "plain", None)
    seen = evaluation(tmp_path / "watched", "step-000002-valid-sampled")
    assert seen.monitored is not None
    assert [row["valid/monitor_mean"] for row in rows][2] == seen.monitored.mean
    bounds = [[row[f"valid/monitor_{name}"] for name in ("low", "mean", "high")] for row in rows]
    assert all(low - 1e-9 <= mean <= high for low, mean, high in bounds)
    assert {grade["grader"] for grade in seen.rows[0].monitor_grades} == {"text_similarity"}
    assert seen.rows[0].monitored.outputs == seen.rows[0].outputs
    assert evaluation(tmp_path / "watched", "step-000000-test-greedy").monitored is None
    assert report["monitor"]["tuned_mean"] == pytest.approx(
        evaluation(tmp_path / "watched", f"step-00000{report['shipped_step']}-test-sampled").monitored.mean  # type: ignore[union-attr]
    )
    assert plain["monitor"] is None
    for name in ("reward/mean", "policy/loss", "valid/reward_mean"):
        assert [row.get(name) for row in rows] == [row.get(name) for row in plain_rows]
    assert report["shipped_step"] == plain["shipped_step"]
    assert "by the monitor grader" in (tmp_path / "watched" / "report.md").read_text()


def test_a_monitor_grader_that_fails_is_told_and_the_job_goes_on(tmp_path: Path) -> None:
    report, rows, told = run(tmp_path, "broken", BROKEN)
    assert [row["valid/monitor_ungraded_share"] for row in rows] == [1.0, 1.0, 1.0]
    assert not any("valid/monitor_mean" in row for row in rows)
    warnings = [message for level, message in told.notes if level == "warn" and "monitor grader" in message]
    assert "could not grade" in warnings[0] and "ZeroDivisionError" in warnings[0]
    assert report["monitor"]["paired"] is None
    assert any("no second opinion" in note for note in report["notes"])


def test_it_may_be_a_file_and_is_checked_like_the_grader_before_anything_is_loaded(tmp_path: Path) -> None:
    path = write_job(tmp_path / "job", "second.json")
    (tmp_path / "job" / "second.json").write_text(json.dumps({**SIMILARITY, "reference": "{{item.nothing}}"}))
    job = read_job(path)
    assert job.monitor_grader is not None and job.monitor_grader.type == "text_similarity"
    with pytest.raises(InvalidRequest, match=r"training_file .*\n?.*item.nothing") as caught:
        start_run(job, tmp_path / "run", Silence())
    assert caught.value.param == "method.reinforcement.monitor_grader.reference"
    assert not (tmp_path / "run").exists()
