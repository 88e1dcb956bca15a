"""An answer that is not the JSON that was asked for is graded 0; a grader that names a wrong variable is an error."""

from __future__ import annotations

import pytest

from openrft.config.graders import parse_grader
from openrft.graders import build_grader
from openrft.types import Grade, GradingRequest, Sample

CHECK = {"type": "string_check", "reference": "{{item.answer}}", "operation": "eq"}


def grade(input_template: str, output_json: object, **more: object) -> Grade:
    grader = build_grader(parse_grader({**CHECK, "input": input_template, **more}))
    sample = Sample(output_text="…", output_json=output_json)
    result = grader.grade([GradingRequest(item={"answer": "yes"}, sample=sample)])[0]
    grader.close()
    return result


@pytest.mark.parametrize("output_json", [None, {}, {"other": 1}, ["yes"]])
def test_an_answer_without_the_field_that_is_graded_scores_zero_and_says_why(output_json: object) -> None:
    result = grade("{{sample.output_json.compliant}}", output_json)
    assert result.score == 0.0
    assert "the answer did not parse" in result.explanation


def test_an_answer_with_the_field_is_compared() -> None:
    assert grade("{{sample.output_json.compliant}}", {"compliant": "yes"}).score == 1.0


def test_a_variable_that_the_row_lacks_is_an_error_and_no_zero() -> None:
    result = grade("{{item.nothing}}", {})
    assert result.score is None
    assert result.error is not None
    assert result.error.kind == "invalid_variable_error"


def test_in_a_multi_grader_the_whole_gets_a_score_from_an_answer_that_did_not_parse() -> None:
    part = {**CHECK, "input": "{{sample.output_json.compliant}}"}
    grader = build_grader(parse_grader({"type": "multi", "graders": {"a": part}, "calculate_output": "0.5 * a + 0.25"}))
    result = grader.grade([GradingRequest(item={"answer": "yes"}, sample=Sample(output_text="no json"))])[0]
    grader.close()
    assert result.score == 0.25
