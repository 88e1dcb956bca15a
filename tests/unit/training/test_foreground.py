"""Which checkpoints stay and which one ships, and what a failing grader leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openrft.config.job import read_job
from openrft.errors import CheckpointError, InvalidRequest, UngradedError
from openrft.evaluation.selection import choose_checkpoint
from openrft.training.course import Course, Return
from openrft.training.foreground import ForegroundRun
from openrft.training.progress import Silence
from openrft.training.run import resume_run, start_run
from run_settings import settings


@pytest.mark.parametrize("extra", [(), (22,), (3, 11, 12, 22)])
def test_the_checkpoint_that_ships_is_still_there_whenever_else_the_run_was_saved(extra: tuple[int, ...]) -> None:
    means = dict(zip((5, 10, 15, 20, 25), (0.51, 0.60, 0.60, 0.50, 0.65), strict=True))
    run = object.__new__(ForegroundRun)
    run._valid_means = {}
    run.course = Course(settings())
    there: set[int] = set()
    for step in sorted({*means, *extra}):
        if step in means:
            run._valid_means[step] = means[step]
        there = (there | {step}) & run.kept_steps(last=step)
    assert sorted(means)[choose_checkpoint(list(means.values()))] in there


def write_job(folder: Path, source: str, **hyperparameters: Any) -> Path:
    from random_models import write_random_model

    folder.mkdir(exist_ok=True)
    write_random_model(folder / "model", "qwen3")
    for name, count in (("train", 4), ("valid", 2)):
        rows = [{"messages": [{"role": "user", "content": f"{name} {i}"}], "part": name} for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"num_steps": 2, "batch_size": 2, "group_size": 2, "max_completion_tokens": 4, **hyperparameters}
    method = {"grader": {"type": "python", "source": source}, "hyperparameters": options}
    job = {
        "model": "model", "training_file": "train.jsonl", "validation_file": "valid.jsonl",
        "method": {"type": "reinforcement", "reinforcement": method},
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    return folder / "job.json"


def test_a_grader_that_fails_on_validation_rows_stops_the_job_before_any_training(tmp_path: Path) -> None:
    source = "def grade(sample, item):\n    return 1.0 if item['part'] == 'train' else 1 / 0\n"
    with pytest.raises(UngradedError, match=r"(?s)100% of the valid answers .*ZeroDivisionError"):
        start_run(read_job(write_job(tmp_path / "job", source)), tmp_path / "run", Silence())
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "failed"


def test_the_rollouts_of_a_step_that_could_not_be_graded_are_kept(tmp_path: Path) -> None:
    source = "def grade(sample, item):\n    return 1.0 if item['part'] == 'valid' else 1 / 0\n"
    with pytest.raises(UngradedError, match="4 of 4 rollouts"):
        start_run(read_job(write_job(tmp_path / "job", source)), tmp_path / "run", Silence())
    rows = [json.loads(line) for line in (tmp_path / "run/rollouts/step-000001.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert all("ZeroDivisionError" in row["error"]["message"] for row in rows)


def test_a_run_whose_base_model_changed_is_not_resumed_and_keeps_its_checkpoints(tmp_path: Path) -> None:
    from random_models import write_random_model

    source = "def grade(sample, item):\n    return len(sample['output_text']) / 4\n"
    job = read_job(write_job(tmp_path / "job", source))
    start_run(job, tmp_path / "run", Silence())
    before = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    write_random_model(tmp_path / "job" / "model", "qwen3", seed=1)
    with pytest.raises(InvalidRequest, match=r"model .* has changed since the run began \(fingerprint\)"):
        resume_run(tmp_path / "run", Silence())
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == before


def test_when_every_checkpoint_is_damaged_the_run_does_not_silently_start_over(tmp_path: Path) -> None:
    source = "def grade(sample, item):\n    return len(sample['output_text']) / 4\n"
    start_run(read_job(write_job(tmp_path / "job", source)), tmp_path / "run", Silence())
    for path in (tmp_path / "run" / "checkpoints").glob("*/state.json"):
        path.write_text("{}")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        resume_run(tmp_path / "run", Silence())
    assert len(list((tmp_path / "run" / "checkpoints").glob("damaged-*"))) == 2
    assert (tmp_path / "run" / "rollouts" / "step-000002.jsonl").exists()


def run_that_went_back(folder: Path, *, at: int, to: int, means: dict[int, float], there: tuple[int, ...]) -> Any:
    """A run with these validations and checkpoints, without anything that computes."""
    run = object.__new__(ForegroundRun)
    run._valid_means, run.course, run.settings = means, Course(settings(guard=True)), settings(guard=True)
    run.folder = SimpleNamespace(checkpoints=folder)  # type: ignore[assignment]
    run.course.go_back(Return(at=at, to=to, why="a fall"))
    for step in there:
        (folder / f"step-{step:06d}").mkdir()
        (folder / f"step-{step:06d}" / "manifest.json").write_text("{}")
    return run


def test_what_was_validated_before_going_back_is_neither_kept_nor_shipped(tmp_path: Path) -> None:
    means = {0: 0.3, 5: 0.5, 10: 0.9, 15: 0.1, 20: 0.6}  # 10 is the luck of a policy on its way down
    run = run_that_went_back(tmp_path, at=15, to=5, means=means, there=(5, 10, 15, 20))
    assert run.kept_steps(last=20) == {5, 20}
    assert run.choose_step() == 5  # smoothed 0.55, as 20
    run.settings = settings(ship="last")
    assert run.choose_step() == 20


@pytest.mark.parametrize("to", [5, 0])
def test_where_the_last_checkpoint_holds_older_weights_those_ship_under_their_own_step(tmp_path: Path, to: int) -> None:
    run = run_that_went_back(tmp_path, at=15, to=to, means={0: 0.3, 10: 0.4, 15: 0.1}, there=(5, 10, 15))
    assert run.kept_steps(last=15) == ({5, 15} if to else {15})
    assert run.choose_step() == to
    run.settings = settings(ship="last")
    assert run.choose_step() == to
