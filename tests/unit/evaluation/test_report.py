import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from openrft.dataset import Overlap, OverlapSearch
from openrft.evaluation.curve import CurvePoint
from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.render import to_markdown
from openrft.evaluation.report import Report, build_report
from openrft.evaluation.selection import SelectionFacts
from openrft.evaluation.statistics import Interval
from openrft.evaluation.verdict import difference_text

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
    # Σd² = 1/4 - 1/96, with a pseudo-row 1/2 more: se = √0.7396/24 = 0.0358, times t_.975 + t_.8 = 2.927 is 0.105.
    # For 0.05 it takes n with (t_.975 + t_.8) · 0.0358 · √(24/n): 2.839 · 0.0358 · √(24/99) = 0.0500.
    assert (
        "No significant gain does not mean no gain: a comparison of this size finds a true gain of 0.10 in four of "
        "five cases, and smaller ones less often. To find a gain of +0.05 takes about 99 rows like these."
    ) in report.notes


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
        "among 3 checkpoints). The best of several looks better than it is, here by about 0.020; the verdict has that "
        "taken off the difference of +0.67 [0.40, 0.94] that was measured."
    )
    assert report.sentence == (
        "better: +0.65 [0.38, 0.92] in mean score (0.17 → 0.81, shrunk by 0.020), paired on 24 examples × 2 samples."
    )
    selection = report.to_json()["selection"]
    assert selection["correction"] == "shrunk by the expected optimism"
    assert selection["difference"]["mean"] == pytest.approx(2 / 3 - 0.02)
    measured = report.primary.paired
    assert measured is not None and selection["difference"]["interval"]["low"] == measured.interval.low - 0.02
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("rows_kind", "selection", "correction"),
    [
        ("test", SELECTION, "untouched rows"),
        ("test", None, "untouched rows"),
        ("validation", SELECTION, "shrunk by the expected optimism"),
        ("validation", replace(SELECTION, candidate_steps=[40]), "none needed: last step ships"),
        ("validation", None, "none needed: last step ships"),
    ],
)
def test_one_field_says_why_choosing_does_not_flatter_the_verdict(
    make_report: MakeReport, rows_kind: str, selection: SelectionFacts | None, correction: str
) -> None:
    report = make_report(LOW, HIGH, selection=selection, rows_kind=rows_kind)
    assert report.to_json()["selection"]["correction"] == report.correction == correction
    assert f"correction for choosing the checkpoint: {correction}" in to_markdown(report).replace("\\", "")
    shrunk = correction == "shrunk by the expected optimism"
    assert report.difference is not None and report.primary.paired is not None
    assert report.difference.mean == pytest.approx(report.primary.paired.mean - 0.02 * shrunk)


def test_a_report_of_an_older_version_is_read_without_what_it_lacks(make_report: MakeReport) -> None:
    data = make_report(LOW, HIGH, selection=SELECTION).to_json()
    for name in ("tries", "slices", "leakage", "power"):
        del data[name]
    for comparison in data["comparisons"]:
        del comparison["paired"]["standard_error"], comparison["paired"]["num_units"]
    report = Report.from_json({**data, "selection": None})
    assert (report.tries, report.slices, report.leakage, report.selection, report.power) == ([], [], None, None, None)
    assert report.sentence.startswith("better: +0.67")


def test_rows_that_are_trained_on_are_told_with_the_result_without_them(make_report: MakeReport) -> None:
    rows = [Overlap(f"e{index}", index + 1, 7, is_same=index < 8) for index in range(2, 12)]
    report = make_report(LOW, HIGH, overlap=OverlapSearch(rows, is_complete=True))
    assert report.leakage is not None and report.leakage.without is not None
    # The other 14 rows: two got worse, ten better, two stayed.
    rest = report.leakage.without.paired
    assert rest is not None and (rest.num_examples, rest.losses, rest.wins, rest.ties) == (14, 2, 10, 2)
    assert (
        "10 rows of these have (nearly) a prompt that was trained on (lines 3, 4, 5, 6, 7, 8, 9, 10, …) and may "
        f"measure memory; without them the difference is {difference_text(rest)}."
    ) in report.notes
    markdown = to_markdown(report)
    assert "- line 9: nearly the same as training line 7" in markdown and "- line 3: the same as" in markdown
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_a_search_that_found_nothing_says_so_and_how_far_it_went(make_report: MakeReport) -> None:
    report = make_report(LOW, HIGH, overlap=OverlapSearch([], is_complete=False))
    assert "No row has a prompt that was trained on, nor one nearly like it. The files are too large" in to_markdown(
        report
    )
    assert not any("trained on (" in note for note in report.notes)
    assert "may measure memory" not in to_markdown(make_report(LOW, HIGH))


def test_when_all_rows_are_trained_on_nothing_is_left_to_compare(make_report: MakeReport) -> None:
    rows = [Overlap(f"e{index}", index + 1, 1, is_same=True) for index in range(24)]
    report = make_report(LOW, HIGH, overlap=OverlapSearch(rows, is_complete=True))
    assert any(note.endswith("no other row has a grade from both models.") for note in report.notes)
    assert "Without them:" in to_markdown(report)


def test_a_gain_that_choosing_can_explain_is_not_significant(make_report: MakeReport) -> None:
    lucky = replace(SELECTION, expected_optimism=0.5)
    report = make_report(LOW, HIGH, selection=lucky, rows_kind="validation")
    assert not report.is_significant_gain
    assert report.sentence.startswith("no significant gain: +0.17")
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
    whole = make_report(LOW, HIGH).rows
    assert report.rows == [*whole[:4], whole[-1]]  # the worst, and of the best a quarter


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
