from dataclasses import replace
from typing import Any

import pytest

from openrft.config.graders import parse_grader
from openrft.errors import GraderError, InvalidRequest
from openrft.graders import build_grader
from openrft.graders.formula import Formula
from openrft.graders.multi import MultiGrader
from openrft.graders.scripted import ScriptedGrader
from openrft.types import Grade, GradingRequest, Sample


def request(text: str = "yes", **item: Any) -> GradingRequest:
    return GradingRequest(item=item, sample=Sample(output_text=text))


def check(reference: str, **more: Any) -> dict[str, Any]:
    text = "{{sample.output_text}}"
    return {"type": "string_check", "input": text, "reference": reference, "operation": "eq", **more}


def grade(graders: dict[str, Any], formula: str, **more: Any) -> Grade:
    spec = parse_grader({"type": "multi", "graders": graders, "calculate_output": formula, **more})
    grader = build_grader(spec)
    [answer] = grader.grade([request(answer="yes")])
    grader.close()
    return answer


def test_the_formula_is_applied_to_the_scores_under_their_keys() -> None:
    answer = grade({"right": check("{{item.answer}}"), "wrong": check("no")}, "0.75 * right + 0.25 * wrong")
    assert answer.score == 0.75
    assert {key: part.score for key, part in answer.sub_grades.items()} == {"right": 1.0, "wrong": 0.0}
    assert answer.explanation == "0.75 * right + 0.25 * wrong with right = 1, wrong = 0"


def test_a_part_is_called_by_its_name_or_else_by_its_key() -> None:
    answer = grade({"a": check("x"), "b": check("y", name="Bee")}, "a + b")
    assert [part.grader for part in answer.sub_grades.values()] == ["a", "Bee"]
    assert answer.grader == "multi"


def test_f1_of_two_zeros_is_zero_and_no_error() -> None:
    formula = "2 * precision * recall / max(precision + recall, 1e-9)"
    answer = grade({"precision": check("no"), "recall": check("no")}, formula)
    assert answer.score == 0.0 and answer.error is None


def test_a_failed_part_that_the_formula_needs_leaves_no_score() -> None:
    answer = grade({"good": check("yes"), "bad": check("{{item.nope}}", name="Bad")}, "good + 0 * bad")
    assert answer.score is None and answer.error is not None
    assert answer.error.kind == "invalid_variable_error"
    assert answer.error.grader == "Bad"
    assert answer.error.message.startswith('part "bad" could not be graded: {{item.nope}} is missing')
    assert answer.sub_grades["good"].score == 1.0


def test_a_failed_part_that_the_formula_does_not_need_does_no_harm() -> None:
    answer = grade({"good": check("yes"), "bad": check("{{item.nope}}")}, "good")
    assert answer.score == 1.0 and answer.sub_grades["bad"].error is not None


def test_a_part_with_an_invalid_grade_counts_with_it() -> None:
    assert grade({"a": check("yes"), "b": check("{{item.nope}}", invalid_grade=-1)}, "a + b").score == 0.0


def test_the_multi_grader_s_own_invalid_grade_replaces_its_failure() -> None:
    answer = grade({"a": check("{{item.nope}}")}, "a", invalid_grade=0.1)
    assert answer.score == 0.1 and 'part "a" could not be graded' in answer.explanation


def test_a_division_by_zero_is_an_error_and_not_a_zero() -> None:
    answer = grade({"a": check("no")}, "1 / a")
    assert answer.score is None and answer.error is not None
    assert answer.error.kind == "other_error"
    assert "division by zero (with a = 0)" in answer.error.message


def test_what_parts_print_is_kept_with_their_keys() -> None:
    source = "def grade(sample, item):\n    print('seen')\n    return 1\n"
    answer = grade({"code": {"type": "python", "source": source}, "a": check("yes")}, "code * a")
    assert answer.score == 1.0 and answer.printed == "[code]\nseen\n"


def test_an_unknown_name_in_the_formula_is_found_when_the_grader_is_built() -> None:
    with pytest.raises(InvalidRequest, match="did you mean accuracy") as caught:
        grade({"accuracy": check("yes")}, "2 * acuracy")
    assert caught.value.param == "grader.calculate_output"


def test_parts_grade_whole_batches_in_order() -> None:
    parts = {
        "length": ScriptedGrader(lambda one: float(len(one.sample.output_text))),
        "two": ScriptedGrader(lambda one: 2.0),
    }
    grader = MultiGrader("m", parts, Formula.parse("length * two"))
    assert [one.score for one in grader.grade([request("a" * n) for n in range(5)])] == [0, 2, 4, 6, 8]
    grader.close()
    with pytest.raises(RuntimeError, match="is closed"):
        grader.grade([])


def test_a_scripted_grader_turns_what_is_raised_into_errors_of_the_right_kind() -> None:
    def fail(one: GradingRequest) -> float:
        if one.sample.output_text == "refusal":
            raise GraderError("it refused", kind="model_grader_refusal_error")
        if one.sample.output_text == "bug":
            raise KeyError("x")
        return float("nan") if one.sample.output_text == "nan" else 1.0

    grades = ScriptedGrader(fail).grade([request("refusal"), request("bug"), request("nan"), request("ok")])
    errors = [(one.error.kind, one.error.message) for one in grades if one.error is not None]
    assert errors == [
        ("model_grader_refusal_error", "it refused"),
        ("other_error", "KeyError: 'x'"),
        ("other_error", "the score is nan, which is not a finite number"),
    ]
    assert grades[3].score == 1.0


def test_a_random_reward_is_drawn_for_each_rollout_and_is_the_same_for_the_same_rollout() -> None:
    def score(seed: int, noise: tuple[int, ...]) -> float:
        grader = build_grader(parse_grader({"type": "random", "seed": seed}))
        [one] = grader.grade([replace(request("always the same answer", x=1), noise=noise)])
        assert one.score is not None
        return one.score

    assert score(1, (0, 0, 3, 2, 1)) == score(1, (0, 0, 3, 2, 1))
    assert len({score(1, (0, 0, 3, 2, 1)), score(2, (0, 0, 3, 2, 1)), score(1, (0, 0, 3, 2, 2))}) == 3


def test_random_rewards_are_uniform() -> None:
    grader = build_grader(parse_grader({"type": "random", "seed": 0}))
    scores = [one.score or 0.0 for one in grader.grade([request(str(n)) for n in range(4_000)])]
    assert 0 <= min(scores) < 0.01 and 0.99 < max(scores) < 1
    # the mean of 4,000 has a standard deviation of 0.0046
    assert sum(scores) / len(scores) == pytest.approx(0.5, abs=0.02)
