"""A run's alarms follow from its folder: the same after a kill, on another machine, and when looked at later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openrft.cli import app
from openrft.training.alarms import Alarms, as_noticed, diagnose, read_alarms
from openrft.training.run_folder import RunFolder
from rehearsals import answer, group
from watched import FACTS, healthy_row

CONFIG = {"hyperparameters": {"batch_size": 8, "pass_threshold": 1.0}, "files": {"training_file": {"rows": 64}}}
BEGINS, ENDS = 23, 35  # the windows are of four steps: half of one is sound from 31 on, and calm four steps later


def cut_row(step: int) -> dict[str, float]:
    is_bad = 20 <= step < 30
    return healthy_row(step) | {
        "rollout/truncated_share": 0.4 if is_bad else 0.0,
        "answers/failing_truncated_share": 1.0 if is_bad else 0.0,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    opened = RunFolder(tmp_path / "run", fresh=True)
    opened.write("config.json", CONFIG)
    opened.write("job.json", {})
    yield opened
    opened.close()


def record(folder: RunFolder, alarms: Alarms, steps: range) -> list[tuple[int, str, int | None]]:
    """Record ``steps``; at which of them what was told, and where it ended."""
    told = []
    for step in steps:
        row = {name: value for name, value in cut_row(step).items() if name != "step"}
        wrong = group(answer(0.0, "long\x1b[31m", "length"), answer(0.0, "short"), index=step)
        wrong.rollouts[1].sample_index = 1
        folder.record(step, row, [wrong])
        told += [(step, alarm.code, alarm.ended_step) for alarm in alarms.see({"step": step, **row})]
    return told


def test_an_alarm_is_told_as_the_step_is_recorded_and_stays_in_the_folder(folder: RunFolder) -> None:
    told = record(folder, Alarms(folder, FACTS), range(1, 41))
    assert [(code, ended) for _, code, ended in told] == [("truncation", None), ("truncation", ENDS)]
    assert BEGINS - 3 < told[0][0] <= BEGINS
    (alarm,) = read_alarms(folder.path)
    assert (alarm.step, alarm.ended_step) == (told[0][0], told[1][0])
    assert [(one.step, one.example, one.sample) for one in alarm.evidence] == [(alarm.step, f"e{alarm.step}", 0)]
    assert diagnose(folder.path) == [alarm]


@pytest.mark.parametrize("last", [5, 21, 24, 34, 37])
def test_a_run_that_was_killed_tells_nothing_twice_and_ends_with_the_same_alarms(
    folder: RunFolder, tmp_path: Path, last: int
) -> None:
    calm = RunFolder(tmp_path / "calm", fresh=True)
    everything = record(calm, Alarms(calm, FACTS), range(1, 41))
    before = record(folder, Alarms(folder, FACTS), range(1, last + 1))
    folder.forget_after(last - 3)  # the checkpoint that it goes on from
    after = record(folder, Alarms(folder, FACTS), range(last - 2, 41))
    assert before + after == everything
    assert read_alarms(folder.path) == read_alarms(calm.path)
    calm.close()


def test_on_another_machine_the_evidence_is_what_was_seen_where_it_was_sampled(folder: RunFolder) -> None:
    record(folder, Alarms(folder, FACTS), range(1, 26))
    seen = read_alarms(folder.path)
    shutil.rmtree(folder.path / "rollouts")
    (folder.path / "rollouts").mkdir()
    later = Alarms(folder, FACTS)
    assert record(folder, later, range(26, 27)) == []
    assert later.all == seen == read_alarms(folder.path)
    assert seen[0].evidence
    shown = as_noticed(folder.path, seen[0]).evidence[0]
    assert (shown.sample, shown.text) == (0, None)


def test_a_healthy_run_has_no_file_of_alarms(folder: RunFolder) -> None:
    assert record(folder, Alarms(folder, FACTS), range(1, 19)) == []
    assert not (folder.path / "alarms.json").exists()


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["diagnose", *arguments])


def test_the_command_shows_alarms_with_their_answers_and_no_control_characters(folder: RunFolder) -> None:
    record(folder, Alarms(folder, FACTS), range(1, 26))
    (folder.path / "alarms.json").unlink()  # it reads what was recorded, not what was told
    shown = invoke(str(folder.path))
    assert shown.exit_code == 0
    assert "truncation" in shown.output and "raise max_completion_tokens" in shown.output
    assert "\\x1b[31m" in shown.output and "\x1b" not in shown.output
    (alarm,) = json.loads(invoke(str(folder.path), "--json").output)["alarms"]
    assert alarm["code"] == "truncation"
    assert alarm["evidence"][0]["text"] == "long\x1b[31m"
    assert not (folder.path / "alarms.json").exists()


def test_the_command_says_that_nothing_was_noticed_and_what_is_no_run(folder: RunFolder, tmp_path: Path) -> None:
    record(folder, Alarms(folder, FACTS), range(1, 12))
    assert invoke(str(folder.path)).output == "nothing was noticed\n"
    wrong = invoke(str(tmp_path))
    assert wrong.exit_code != 0
    assert "config.json is missing" in str(wrong.exception)
