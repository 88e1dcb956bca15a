"""What the monitor grader says beside the verdict, and how alarms look in a report."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from openrft.evaluation.comparison import Comparison
from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.evaluation.noticed import Evidence, Noticed, noticed_lines
from openrft.evaluation.second_opinion import opinion_note, second_opinion


def evaluation(name: str, monitored: list[float | None]) -> Evaluation:
    """One sample per row; the grader gives 1 for all, the monitor grader what is asked for."""
    rows = [
        EvaluationRow(
            example_id=f"e{n}", index=n, line=n + 1, prompt_text="p", scores=[1.0], outputs=["o"], errors=[None],
            completion_tokens=[1], truncated=[False],
            monitor_grades=[{"score": score, "error": None if score is not None else {"kind": "k", "message": "m"}}],
        )
        for n, score in enumerate(monitored)
    ]  # fmt: skip
    return Evaluation(name=name, step=0, mode="sampled", num_samples=1, rows=rows)


def compared(base: list[float | None], tuned: list[float | None]) -> Comparison:
    found = second_opinion(evaluation("base", base), evaluation("tuned", tuned), {})
    assert found is not None
    return found


def test_the_second_opinion_is_paired_on_the_rows_that_the_monitor_graded_in_both() -> None:
    found = compared([0.5, 0.25, None], [1.0, 0.25, 1.0])
    assert (found.base_mean, found.tuned_mean) == (0.375, 0.625)
    assert found.paired is not None and found.paired.mean == pytest.approx(0.25)
    assert found.paired.num_dropped == 1


@pytest.mark.parametrize(
    ("base", "tuned", "outcome", "words"),
    [
        (0.0, 1.0, "better", "A second opinion agrees"),
        (1.0, 0.0, "better", "The two graders disagree"),
        (0.5, 0.5, "better", "The gain is not confirmed"),
        (0.0, 1.0, "no change", "The two graders see different things"),
        (None, None, "better", "no second opinion"),
    ],
)
def test_a_sentence_says_whether_the_graders_agree(
    base: float | None, tuned: float | None, outcome: str, words: str
) -> None:
    assert words in opinion_note(compared([base] * 20, [tuned] * 20), outcome)  # type: ignore[arg-type]


def test_a_monitored_score_that_is_missing_is_missing_and_not_zero() -> None:
    seen = evaluation("base", [None, 1.0]).monitored
    assert seen is not None
    assert (seen.mean, seen.ungraded_share) == (1.0, 0.5)
    assert seen.rows[0].errors == ["k: m"]
    assert Evaluation.from_json(evaluation("base", [None, 1.0]).to_json()).monitored == seen


def test_what_was_noticed_shows_answers_that_cannot_leave_their_block() -> None:
    shown = Evidence(source="validation", step=4, example="e", line=2, sample=0, score=1.0, monitor_score=0.0,
                     text="```\n# not a heading\x1b[31m")  # fmt: skip
    gone = Evidence(source="rollouts", step=4, example="e", line=3, sample=1)
    one = Noticed(code="c", severity="error", sentence="it is so", advice="mend it", step=4, evidence=[shown, gone])
    lines = noticed_lines([one])
    assert lines[0] == "### error, from step 4 on: c"
    assert "step 4, validation line 2, sample 0: score 1, by the monitor grader 0" in lines
    assert "````text\n```\n# not a heading\\x1b[31m\n````" in lines
    assert lines[-1] == "step 4, training line 3, sample 1: kept where it was sampled"
    assert Noticed.from_json(asdict(one)) == one
