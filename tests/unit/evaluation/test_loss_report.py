"""Base against tuned by loss: its verdict, its interval, and that JSON keeps all of it."""

from __future__ import annotations

import io
import json
import statistics
from dataclasses import replace

import pytest
from rich.console import Console

from openrft.evaluation.loss_render import to_markdown, to_terminal
from openrft.evaluation.loss_report import LossReport, build_loss_report
from openrft.evaluation.losses import LossEvaluation, LossRow
from openrft.evaluation.selection import SelectionFacts

BASE = [1.0, 2.0, 1.5, 0.8, 1.2, 1.1]


def evaluation(losses: list[float], *, name: str = "base", step: int = 0, same: bool = False) -> LossEvaluation:
    rows = [
        LossRow(
            example_id="e" if same else f"e{number}", index=number, line=number + 1, prompt_text=f"question {number}",
            answer=f"answer {number}", tokens=10, loss=loss, hits=5 + number % 2,
        )
        for number, loss in enumerate(losses)
    ]  # fmt: skip
    return LossEvaluation(name=name, step=step, rows=rows)


def report(tuned: list[float], *, rows_kind: str = "test", optimism: float = 0.0, same: bool = False) -> LossReport:
    return build_loss_report(
        job={"model": "m"},
        shipped_step=6,
        base=evaluation(BASE, same=same),
        tuned=evaluation(tuned, name="tuned (step 6)", step=6, same=same),
        rows_kind=rows_kind,  # type: ignore[arg-type]
        selection=SelectionFacts(chosen_step=6, candidate_steps=[3, 6], window=1, expected_optimism=optimism),
    )


def test_a_loss_that_fell_on_every_row_is_lower_with_student_s_interval() -> None:
    differences = [-0.3, -0.5, -0.4, -0.2, -0.45, -0.35]
    found = report([base + change for base, change in zip(BASE, differences, strict=True)])
    assert found.outcome == "better" and found.to_json()["is_significant_gain"]
    assert found.paired is not None
    half = 2.5705818 * statistics.stdev(differences) / 6**0.5  # t of 5 degrees of freedom
    assert found.paired.mean == pytest.approx(statistics.mean(differences))
    assert found.paired.interval.low == pytest.approx(statistics.mean(differences) - half)
    assert found.paired.interval.high == pytest.approx(statistics.mean(differences) + half)
    assert (found.paired.wins, found.paired.losses) == (6, 0)
    assert found.sentence.startswith("lower loss: -0.37 [-0.48, -0.25] per token (1.27 → 0.90), paired on 6 test rows")


def test_small_changes_are_as_certain_as_their_spread_says() -> None:
    # A loss is not a score in 0…1: no pseudo-example widens its interval.
    found = report([base - 0.01 - 0.001 * (number % 2) for number, base in enumerate(BASE)])
    assert found.outcome == "better"


def test_changes_of_either_sign_are_no_significant_change() -> None:
    found = report([base + change for base, change in zip(BASE, [0.1, -0.1, 0.2, -0.2, 0.1, -0.12], strict=True)])
    assert found.outcome == "no change"
    assert found.sentence.startswith("no significant change")


def test_the_same_weights_are_no_significant_change() -> None:
    assert report(BASE).outcome == "no change"


def test_a_higher_loss_is_worse_and_the_worst_row_comes_first() -> None:
    found = report([base + 0.1 + 0.01 * number for number, base in enumerate(BASE)])
    assert found.outcome == "worse"
    assert found.sentence.startswith("higher loss: +0.1")
    assert [row.index for row in found.rows] == [5, 4, 3, 2, 1, 0]
    assert (found.paired and found.paired.losses) == 6


def test_a_gain_that_choosing_the_checkpoint_explains_is_none() -> None:
    tuned = [base - 0.02 - 0.001 * (number % 2) for number, base in enumerate(BASE)]
    assert report(tuned, rows_kind="validation", optimism=0.01).outcome == "better"
    assert report(tuned, rows_kind="validation", optimism=0.03).outcome == "no change"
    assert report(tuned, rows_kind="test", optimism=0.03).outcome == "better"  # chosen on other rows


def test_rows_of_one_content_are_one_unit_of_evidence() -> None:
    assert report([0.5] * 6, same=True).outcome == "not measured"


def test_without_held_out_rows_nothing_is_claimed() -> None:
    found = build_loss_report(job={}, shipped_step=3, base=None, tuned=None, rows_kind="none")
    assert found.outcome == "not measured"
    assert "no validation or test file" in found.sentence
    assert "not measured" in to_markdown(found)


def test_rows_that_are_trained_on_and_what_was_noticed_are_told_first() -> None:
    found = replace(report([0.5] * 6), overlapping_lines=[2, 4], noticed=["the loss rose."])
    assert found.notes[0] == "Noticed in training: the loss rose."
    assert found.notes[1].startswith("The prompts of 2 of these rows are (nearly) trained on, line 2, 4:")
    assert LossReport.from_json(found.to_json()) == found


def test_a_report_is_the_same_after_json() -> None:
    found = report([0.9, 2.1, 1.0, 0.5, 1.0, 1.0])
    assert LossReport.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_rows_of_different_files_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not evaluated on the same rows"):
        build_loss_report(
            job={}, shipped_step=1, base=evaluation(BASE), tuned=evaluation(BASE[:3], step=1), rows_kind="test"
        )


def test_people_see_verdict_numbers_and_the_rows_that_got_worse() -> None:
    found = report([1.5, 1.0, 0.5, 0.4, 0.6, 0.5])
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(to_terminal(found))
    for text in (console.export_text(), to_markdown(found)):
        assert "per token" in text
        assert "1.2667" in text and "0.7500" in text
        assert "question 0" in text and "answer 0" in text
        assert "line 1: 1.000 → 1.500 (+0.500)" in text


def test_a_row_without_a_finite_loss_cannot_be_kept() -> None:
    with pytest.raises(ValueError, match="nan"):
        evaluation([float("nan")])
