import json
from collections.abc import Callable

import pytest

from openrft.evaluation.evaluation import Evaluation, EvaluationRow, prompt_text
from openrft.evaluation.statistics import examples_needed, mean_interval
from openrft.types import Example, Grade, GradeError
from rollouts import make_group


def example(*messages: dict[str, object]) -> Example:
    return Example(id="e", index=0, line=1, messages=list(messages), item={})


def test_groups_become_rows_with_scores_errors_and_lengths() -> None:
    groups = [make_group([1.0, None], lengths=[3, 5]), make_group([0.5, 0.25], index=1)]
    evaluation = Evaluation.from_groups("step 20", 20, "sampled", groups)
    assert (evaluation.name, evaluation.step, evaluation.num_samples) == ("step 20", 20, 2)
    grade = {"grader": "g", "score": 1.0, "error": None, "replaced": None, "explanation": "", "printed": "",
             "usage": {}, "unparsed": False, "sub_grades": {}}  # fmt: skip
    assert evaluation.rows[0] == EvaluationRow(
        example_id="e0",
        index=0,
        line=1,
        prompt_text="question 0",
        scores=[1.0, None],
        outputs=["answer", "answer"],
        errors=[None, "other_error: broken"],
        completion_tokens=[3, 5],
        truncated=[False, False],
        reasoning_tokens=[0, 0],
        grades=[grade, {**grade, "score": None, "error": {"kind": "other_error", "message": "broken"}}],
    )
    assert evaluation.completion_tokens_mean == 3.0
    assert evaluation.ungraded_share == 0.25


def test_a_half_graded_example_weighs_as_much_as_any_other(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation([[1.0, None, None, None], [0.0, 0.0, 0.0, 1.0], [None] * 4])
    assert evaluation.example_means == [1.0, 0.25, None]
    assert evaluation.mean == 0.625
    assert evaluation.ungraded_share == 7 / 12
    assert evaluation.interval == mean_interval([1.0, 0.25], 2.5)


def test_only_full_scores_pass_unless_told_otherwise(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation([[1.0, 0.9], [0.1 + 0.2 + 0.7, 0.5]])
    assert evaluation.pass_rate() == 0.5
    assert evaluation.pass_rate(0.9) == 0.75
    assert evaluation.pass_rate(0.0) == 1.0


def test_nothing_graded_has_no_mean_and_no_interval(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation([[None, None]])
    assert evaluation.mean is None
    assert evaluation.interval is None
    assert evaluation.pass_rate() is None
    assert evaluation.pass_interval() is None
    assert evaluation.ungraded_share == 1.0


def test_no_rows_at_all_divide_by_nothing() -> None:
    evaluation = Evaluation.from_groups("base", 0, "greedy", [])
    assert (evaluation.mean, evaluation.ungraded_share, evaluation.completion_tokens_mean) == (None, 0.0, 0.0)


def test_rows_with_the_same_content_are_one_unit_of_evidence(make_evaluation: Callable[..., Evaluation]) -> None:
    rows = make_evaluation([[1.0], [0.0], [1.0]]).rows
    twice = Evaluation(name="base", step=0, mode="greedy", num_samples=1, rows=[*rows, *rows])
    once = mean_interval([1.0, 0.0, 1.0], 1)
    assert twice.interval is not None
    assert (twice.interval.low, twice.interval.high) == pytest.approx((once.low, once.high))


def test_the_rows_needed_follow_from_a_baselines_spread(make_evaluation: Callable[..., Evaluation]) -> None:
    # Within rows 0 and 1/2 by turns, so 1/4; row means 0, 1/2 …: 1/16 · 20/19 between them less 1/4/2 is below 0.
    evaluation = make_evaluation([[0.0, 0.0], [1.0, 0.0]] * 10)
    assert evaluation.rows_needed(0.05) == examples_needed(0.05, 2, rate_variance=0.0, noise_variance=0.25)


@pytest.mark.parametrize(
    "scores", [[[0.0], [1.0]], [[0.0, 1.0]], [[1.0, 1.0]] * 5, [[None, None]] * 5, [[-5.0, 3.0], [0.0, 9.0]]]
)
def test_the_rows_needed_are_not_guessed_where_the_spread_is_unknown(
    make_evaluation: Callable[..., Evaluation], scores: list[list[float | None]]
) -> None:
    assert make_evaluation(scores).rows_needed(0.05) is None


def test_json_gives_back_an_equal_evaluation(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation([[0.1 + 0.2, None], [1e-17, 1.0]], output="\x1b[31m\ud800 \u2028 \x00 ```")
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation


def test_the_sample_shown_is_the_one_nearest_to_the_rows_mean(make_evaluation: Callable[..., Evaluation]) -> None:
    row = make_evaluation([[None, 0.0, 0.5, 1.0, 0.7]]).rows[0]
    assert row.representative() == 2
    assert make_evaluation([[None, None]]).rows[0].representative() == 0


def test_a_prompt_of_one_message_is_its_text_and_of_several_shows_roles() -> None:
    system, user = {"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}
    assert prompt_text(example(user)) == "why?"
    assert prompt_text(example(system, user)) == "system: be brief\n\nuser: why?"


def test_content_parts_are_joined_and_missing_content_is_empty() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    assert prompt_text(example({"role": "user", "content": parts})) == "ab"
    assert prompt_text(example({"role": "assistant", "content": None})) == ""


def test_a_nan_score_is_refused(make_evaluation: Callable[..., Evaluation]) -> None:
    with pytest.raises(ValueError, match="e0 is not finite"):
        make_evaluation([[float("nan")]])


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        EvaluationRow(
            example_id="e", index=0, line=1, prompt_text="", scores=[1.0], outputs=[], errors=[None],
            completion_tokens=[1], truncated=[False],
        )  # fmt: skip


def test_an_outage_is_when_most_missing_scores_are_a_graders_that_was_out_of_reach() -> None:
    def ungraded(transient: bool) -> Grade:
        error = GradeError(kind="other_error", message="no answer", grader="g", transient=transient)
        return Grade(grader="g", score=None, error=error)

    for flags, expected in [([True, True, False], True), ([True, False], False), ([], False)]:
        group = make_group([None] * len(flags) + [1.0])
        for rollout, transient in zip(group.rollouts, flags, strict=False):
            rollout.grade = ungraded(transient)
        evaluation = Evaluation.from_groups("step 1", 1, "sampled", [group])
        assert evaluation.is_outage is expected
        assert Evaluation.from_json(evaluation.to_json()).is_outage is False  # read back, it is over
