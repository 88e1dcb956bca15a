"""What a tracker is told of a run's folder: every step once, whatever happens to the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from openrft.config.integrations import DEFAULT_INTEGRATIONS, TrackingSettings
from openrft.tracking.follow import Task, follow, without_secrets
from openrft.tracking.lines import Lines
from tracked_run import SENTENCE, Notebook, RunFolder


def in_turn(*deeds: Callable[[], None]) -> Callable[[], bool]:
    """A wait in which something happens each time; after the last one the run is over."""
    left = list(deeds)

    def wait() -> bool:
        if left:
            left.pop(0)()
        return not left

    return wait


def told(run: RunFolder, notebook: Notebook, *deeds: Callable[[], None]) -> list[tuple[object, ...]]:
    follow(notebook, run.facts(), run.path, in_turn(*deeds))
    return notebook.told


def test_steps_and_sentences_come_as_they_are_written_and_the_verdict_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert told(
        run,
        Notebook(),
        lambda: run.step(0, valid__reward_mean=0.25),
        lambda: run.event("look here", "warn"),
        lambda: run.step(1, reward__mean=0.5, policy__loss=None),
        run.succeed,
    ) == [
        (0, {"valid/reward_mean": 0.25}),
        (0, "look here", "warn"),
        (1, {"reward/mean": 0.5}),  # what could not be had is no number
        ("succeeded", SENTENCE, ["report.md", "curve.svg"]),
    ]


def test_what_the_tracker_has_and_what_a_resumed_run_records_again_is_not_told(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.steps(3)
    run.event("of the attempt before")

    def goes_back() -> None:
        run.forget("metrics.jsonl")
        run.steps(2)

    end = ("interrupted", None, [])
    assert told(run, Notebook(has=2), goes_back, lambda: run.step(3, a=1.0), lambda: run.step(4, a=2.0)) == [
        (4, {"a": 2.0}) if step == 4 else (3, {"a": 1.0}) for step in (3, 4)
    ] + [end]


def test_steps_that_were_told_before_the_run_went_back_are_not_told_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)

    def goes_back() -> None:
        run.forget("metrics.jsonl")
        run.steps(1)

    notebook = Notebook()
    told(
        run,
        notebook,
        lambda: run.steps(2),
        goes_back,
        lambda: run.step(2, reward__mean=0.9),
        lambda: run.step(3, a=1.0),
    )
    assert [step for step, *_ in notebook.told] == [0, 1, 2, 3, "interrupted"]


def test_a_validation_that_was_made_up_is_added_to_its_step(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)

    def makes_up() -> None:
        run.forget("metrics.jsonl")
        run.step(0, a=1.0)
        run.step(1, a=2.0, valid__reward_mean=0.5)

    notebook = Notebook()
    told(run, notebook, lambda: run.step(0, a=1.0), lambda: run.step(1, a=2.0), makes_up)
    assert notebook.told[2] == (1, {"valid/reward_mean": 0.5})


def test_a_run_that_still_says_it_runs_was_killed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert told(run, Notebook(), lambda: None)[-1] == ("interrupted", None, [])
    run.status("failed")
    assert told(run, Notebook(), lambda: None)[-1] == ("failed", None, [])


def test_no_path_of_this_machine_and_no_server_is_told(tmp_path: Path) -> None:
    run, notebook = RunFolder(tmp_path), Notebook()
    told(run, notebook, lambda: None)
    assert notebook.config["model"] == {"name": "openrft-tiny", "parameters": 1000}
    assert notebook.config["files"] == {"training_file": {"rows": 10}}
    assert "/somewhere" not in json.dumps(notebook.config) and "10.0.0.1" not in json.dumps(notebook.config)


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = Lines(path)
    assert lines.read() == []
    path.write_bytes(b'{"a": 1}\n{"a"')
    assert lines.read() == [{"a": 1}]
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert (lines.read(), lines.read()) == ([{"a": 2}], [])
    lines.close()


def test_a_file_that_was_replaced_is_read_from_its_beginning_however_long_it_is(tmp_path: Path) -> None:
    path, lines = tmp_path / "lines", Lines(tmp_path / "lines")
    for number in range(3):
        (tmp_path / "partial").write_text(f'{{"a": {number}}}\n' * (number + 1))
        (tmp_path / "partial").replace(path)
        assert lines.read() == [{"a": number}] * (number + 1)
    lines.close()


def test_a_task_travels_as_one_line(tmp_path: Path) -> None:
    for integration in DEFAULT_INTEGRATIONS.values():
        task = Task(
            integration=integration, run=RunFolder(tmp_path).facts(), folder=tmp_path, settings=TrackingSettings()
        )
        line = task.to_line()
        assert line.count(b"\n") == 1
        assert Task.from_line(line) == task


def test_keys_and_passwords_are_not_in_what_is_told_of_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123abcd")
    assert without_secrets("cannot log in as 0123abcd\nat http://x") == "cannot log in as …"
    assert without_secrets("no answer of postgresql://me:pass@host/db") == "no answer of postgresql://…@host/db"
