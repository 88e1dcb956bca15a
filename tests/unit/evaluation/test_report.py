import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from openrft.evaluation.curve import CurvePoint
from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.report import Report, build_report
from openrft.evaluation.selection import SelectionFacts
from openrft.evaluation.statistics import Interval

MakeReport = Callable[..., Report]

# 24 rows: the base passes 4, the tuned model 20 of which 18 are new.
LOW = [[1.0, 1.0]] * 4 + [[0.0, 0.0]] * 20
HIGH = [[0.0, 0.0]] * 2 + [[1.0, 1.0]] * 20 + [[0.0, 0.0]] * 2
MIXED = [[1.0, 0.0]] * 24
SELECTION = SelectionFacts(chosen_step=40, candidate_steps=[20, 40, 60], window=3, expected_optimism=0.02)


def test_a_clear_gain_is_better_with_its_interval(make_report: MakeReport) -> None:
    report = make_report(LOW, HIGH)
    # d: 18 × 1, 2 × -1, 4 × 0: mean 2/3, s² = (20 - 24 · 4/9)/23, t(23) = 2.0687: ± 0.269.
    assert report.sentence == (
        "better: +0.67 [0.40, 0.94] in mean score (0.17 → 0.83), paired on 24 examples × 2 samples."
    )
    assert report.is_significant_gain
    assert report.primary.paired is not None
    assert (report.primary.paired.wins, report.primary.paired.losses, report.primary.paired.ties) == (18, 2, 4)
    assert report.shipped_step == 40


def test_a_clear_loss_is_worse(make_report: MakeReport) -> None:
    report = make_report(HIGH, LOW)
    assert report.sentence.startswith("worse: -0.67 [-0.94, -0.40] in mean score (0.83 → 0.17)")
    assert not report.is_significant_gain


def test_an_interval_that_includes_zero_is_no_significant_gain_and_says_what_would_have_been_found(
    make_report: MakeReport,
) -> None:
    report = make_report(MIXED, [[1.0, 1.0], *MIXED[1:]])
    assert report.outcome == "no change"
    assert report.sentence.startswith("no significant gain: +0.02 [-0.05, 0.09]")
    assert any(note.startswith("No significant gain does not mean no gain") for note in report.notes)


def test_nothing_graded_is_not_measured(make_report: MakeReport) -> None:
    report = make_report([[None, None]], [[1.0, 1.0]])
    assert report.sentence == "not measured: no held-out row has a grade from both models"
    assert not report.is_significant_gain
    assert report.rows == []
    assert Report.from_json(report.to_json()) == report


def test_a_gain_in_sampling_alone_is_called_sharpening(make_report: MakeReport) -> None:
    greedy = [[1.0]] * 22 + [[0.0]] * 2
    report = make_report(LOW, HIGH, greedy=(greedy, greedy))
    assert report.is_significant_gain
    assert report.is_sharpening
    assert report.sentence.endswith("Sampling became sharper; the greedy answer did not improve (+0.00 [-0.09, 0.09]).")


def test_sharpening_is_not_settled_where_greedy_may_have_gained_as_much(make_report: MakeReport) -> None:
    greedy_base, greedy_tuned = [[0.0]] * 24, [[1.0]] * 3 + [[0.0]] * 21
    sampled_tuned = [[1.0, 0.0]] * 12 + [[0.0, 0.0]] * 12
    report = make_report([[0.0, 0.0]] * 24, sampled_tuned, greedy=(greedy_base, greedy_tuned))
    assert report.is_sharpening
    assert report.sentence.endswith("though with so few rows it may have.")


def test_sharper_samples_with_a_worse_greedy_answer_say_so(make_report: MakeReport) -> None:
    report = make_report(LOW, HIGH, greedy=([[1.0]] * 24, [[0.0]] * 20 + [[1.0]] * 4))
    assert "the greedy answer got worse (-0.83" in report.sentence


def test_a_gain_in_both_modes_is_no_sharpening(make_report: MakeReport) -> None:
    report = make_report(LOW, HIGH, greedy=([[0.0]] * 24, [[1.0]] * 24))
    assert not report.is_sharpening
    assert any(note.startswith("Greedy decoding: +1.00") for note in report.notes)


def test_without_greedy_evaluations_the_report_says_what_it_cannot_tell(make_report: MakeReport) -> None:
    assert any(note.startswith("Greedy decoding was not evaluated") for note in make_report(LOW, HIGH).notes)


def test_untouched_rows_are_called_untouched(make_report: MakeReport) -> None:
    report = make_report(LOW, HIGH, selection=SELECTION)
    assert report.optimism == 0.0
    assert report.notes[0] == (
        "These rows were untouched: nothing was trained on them or decided with them. Step 40 was chosen on the "
        "validation rows (the highest 3-point moving average of the mean score among 3 checkpoints)."
    )


def test_the_optimism_of_choosing_on_these_rows_is_stated_and_subtracted(make_report: MakeReport) -> None:
    report = make_report(LOW, HIGH, selection=SELECTION, rows_kind="validation")
    assert report.notes[0] == (
        "These are the validation rows that chose step 40 (the highest 3-point moving average of the mean score "
        "among 3 checkpoints). The best of several looks better than it is, here by about 0.020; less that, "
        "the difference is +0.65 [0.38, 0.92]."
    )


def test_a_gain_that_choosing_can_explain_is_not_significant(make_report: MakeReport) -> None:
    lucky = replace(SELECTION, expected_optimism=0.5)
    report = make_report(LOW, HIGH, selection=lucky, rows_kind="validation")
    assert not report.is_significant_gain
    assert report.sentence.startswith("no significant gain: +0.67")
    assert report.sentence.endswith("choosing the checkpoint on these rows can explain the difference.")


def test_validation_rows_that_chose_nothing_stand_as_they_are(make_report: MakeReport) -> None:
    for selection in (None, replace(SELECTION, candidate_steps=[40])):
        report = make_report(LOW, HIGH, selection=selection, rows_kind="validation")
        assert "no checkpoint was chosen with them" in report.notes[0]


def test_rows_that_got_worse_come_first_with_both_outputs(make_report: MakeReport) -> None:
    report = make_report([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert [(row.line, row.difference) for row in report.rows] == [(3, -1.0), (1, -0.5), (2, 1.0)]
    worst = report.rows[0]
    assert (worst.prompt_text, worst.base_output, worst.tuned_output) == ("question 2", "base 2.0", "step 40 2.0")
    assert (worst.base_scores, worst.tuned_scores) == ([1.0, 1.0], [0.0, 0.0])


def test_rows_beyond_the_limit_are_counted(make_report: MakeReport) -> None:
    report = make_report(LOW, HIGH, max_rows=5)
    assert len(report.rows) == 5
    assert report.num_rows_left_out == 19
    assert report.rows[0].difference == -1.0


def test_ungraded_completions_are_counted_and_leave_both_arms(make_report: MakeReport) -> None:
    report = make_report([[0.0, 0.0], [1.0, None]], [[None, None], [1.0, 1.0]])
    # Row 1 alone is compared, so the two means are of row 1 alone.
    assert (report.primary.base_mean, report.primary.tuned_mean) == (1.0, 1.0)
    assert "2 of 4 sampled completions of step 40 could not be graded" in " ".join(report.notes)
    assert "first error: other_error: broken" in " ".join(report.notes)
    assert "1 row has no grade in one of the arms and left both." in report.notes


def test_mean_score_and_pass_rate_are_both_reported(make_report: MakeReport) -> None:
    report = make_report([[0.5, 0.5]] * 4, [[0.75, 1.0]] * 4, greedy=([[0.0]] * 4, [[1.0]] * 4))
    assert [(c.metric, c.mode) for c in report.comparisons] == [
        ("mean score", "sampled"),
        ("pass rate", "sampled"),
        ("mean score", "greedy"),
        ("pass rate", "greedy"),
    ]
    passed = report.comparison("pass rate", "sampled")
    assert passed is not None and (passed.base_mean, passed.tuned_mean) == (0.0, 0.5)


def test_rows_are_matched_by_content_not_by_place(make_evaluation: Callable[..., Evaluation]) -> None:
    base = make_evaluation([[0.0], [1.0]])
    shuffled = replace(base, name="tuned", rows=base.rows[::-1])
    report = build_report(job={}, base_sampled=base, tuned_sampled=shuffled)
    assert [row.difference for row in report.rows] == [0.0, 0.0]


def test_evaluations_of_different_rows_are_not_compared(make_report: MakeReport) -> None:
    with pytest.raises(ValueError, match="not evaluated on the same rows"):
        make_report([[1.0]], [[1.0], [0.0]])


def test_rows_of_one_source_widen_the_interval(make_report: MakeReport) -> None:
    sources = {f"e{index}": index // 6 for index in range(24)}
    alone, shared = make_report(LOW, HIGH).primary.paired, make_report(LOW, HIGH, clusters=sources).primary.paired
    assert alone is not None and shared is not None
    assert shared.interval.low < alone.interval.low


def test_the_length_of_completions_is_reported(make_report: MakeReport) -> None:
    assert any("went from 10.5 to 11.0 tokens" in note for note in make_report([[0.0] * 2], [[0.0] * 3]).notes)


def test_json_holds_data_and_conclusions_and_gives_back_an_equal_report(make_report: MakeReport) -> None:
    curve = [
        CurvePoint(step=0, valid_mean=0.1, valid_interval=Interval(0.05, 0.2)),
        CurvePoint(step=20, train_reward=0.4, is_kept=True, is_chosen=True),
    ]
    report = make_report(LOW, HIGH, greedy=([[0.0]] * 24, [[1.0]] * 24), curve=curve, selection=SELECTION)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (data["outcome"], data["is_significant_gain"], data["sentence"]) == ("better", True, report.sentence)
    assert Report.from_json(data) == report


def test_small_bounds_get_the_digits_it_takes_to_tell_them_from_zero(make_report: MakeReport) -> None:
    base = [[0.5]] * 400
    tuned = [[0.5 + 0.01 * (1 if index % 3 else -1)] for index in range(400)]
    report = make_report(base, tuned)
    assert "[" in report.sentence and "0.00]" not in report.sentence and "[0.00," not in report.sentence
