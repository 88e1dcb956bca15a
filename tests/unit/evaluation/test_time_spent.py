"""Seconds and shares of a run by phase, from literal metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from openrft.evaluation.render import to_markdown
from openrft.evaluation.report import Report
from openrft.evaluation.time_spent import TimeSpent, draw_steps, speed_text, table, time_spent

STEP = {
    "time/sampling_seconds": 10.0, "time/grading_seconds": 0.0, "time/waiting_seconds": 4.0, "time/update_seconds": 5.0,
    "time/other_seconds": 1.0, "time/step_seconds": 20.0, "throughput/sampled_tokens_per_second": 100.0,
    "throughput/trained_tokens_per_second": 60.0,
}  # fmt: skip
ROWS = [
    {"step": 0, "time/evaluation_seconds": 8.0},
    {"step": 1, **STEP},
    {"step": 2, **STEP, "time/step_seconds": 50.0, "time/record_seconds": 2.0, "time/evaluation_seconds": 12.0},
]


def seconds_of(spent: TimeSpent) -> dict[str, float]:
    return {phase.name: phase.seconds for phase in spent.phases}


def test_the_phases_add_up_to_the_run_and_a_step_without_its_parts_is_an_outage() -> None:
    spent = time_spent(ROWS, 100.0)
    assert seconds_of(spent) == {
        "sampling": 20, "grading in the loop": 0, "waiting for grades": 8, "update": 10, "rest of the step": 2,
        "grader out of reach": 30, "validation": 20, "records and checkpoints": 2, "test rows and all else": 8,
    }  # fmt: skip
    assert sum(phase.share for phase in spent.phases) == pytest.approx(1.0)
    assert spent.seconds == 100


def test_speeds_weigh_every_step_by_its_seconds() -> None:
    rows = [{"step": 1, **STEP}, {"step": 2, **STEP, "time/sampling_seconds": 30.0, "time/step_seconds": 40.0}]
    spent = time_spent(rows, 100.0)
    assert spent.sampled_tokens_per_second == (10 * 100 + 30 * 100) / 40
    assert spent.trained_tokens_per_second == 60.0
    assert spent.tokens_per_second == 4000 / 60
    assert speed_text(spent) == (
        "Completion tokens per second: 100 while sampling, 60 while updating, 67 over whole steps."
    )


def test_a_run_whose_steps_took_longer_than_its_attempts_is_as_long_as_its_steps() -> None:
    spent = time_spent(ROWS, 3.0)
    assert spent.seconds == 92
    assert seconds_of(spent)["test rows and all else"] == 0


def test_a_run_without_a_step_has_no_speed() -> None:
    spent = time_spent([{"step": 0, "time/evaluation_seconds": 8.0}], 10.0)
    assert (spent.sampled_tokens_per_second, spent.trained_tokens_per_second, spent.tokens_per_second) == (None,) * 3
    assert table(spent) == [("validation", "8.0", "80.0%"), ("test rows and all else", "2.0", "20.0%"),
                            ("run", "10.0", "100.0%")]  # fmt: skip
    assert speed_text(spent) == ""


def test_the_report_tells_where_the_time_went_and_reads_back_what_it_wrote(make_report: Callable[..., Report]) -> None:
    report = make_report([[1.0]], [[1.0]], time_spent=time_spent(ROWS, 100.0))
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert again.time_spent == report.time_spent
    text = to_markdown(report)
    assert "## Where the time went" in text
    assert "| sampling | 20.0 | 20.0% |" in text
    assert "| grading in the loop |" not in text  # took no time
    assert "100 while sampling" in text


def test_a_report_of_two_models_without_training_says_nothing_of_time(make_report: Callable[..., Report]) -> None:
    report = make_report([[1.0]], [[1.0]])
    assert "Where the time went" not in to_markdown(report)
    older = {name: value for name, value in report.to_json().items() if name != "time_spent"}
    assert Report.from_json(older) == report


def test_the_picture_has_the_phases_that_took_time_and_equal_metrics_give_equal_files(tmp_path: Path) -> None:
    draw_steps(ROWS, tmp_path / "a.svg")
    draw_steps([dict(row) for row in ROWS], tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<!-- waiting for grades -->" in text
    assert "<!-- grading in the loop -->" not in text
    assert text == (tmp_path / "b.svg").read_text()
    draw_steps([], tmp_path / "nothing.svg")  # a run that failed before its first step
    assert "<svg" in (tmp_path / "nothing.svg").read_text()


def test_plain_values_are_what_is_stored() -> None:
    spent = time_spent(ROWS, 100.0)
    assert TimeSpent.from_json(json.loads(json.dumps(asdict(spent)))) == spent
