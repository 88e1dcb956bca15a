from typing import Any

import pytest

from openrft.config.graders import MultiSpec, PythonSpec, StringCheckSpec, parse_grader
from openrft.errors import InvalidRequest

CHECK: dict[str, Any] = {
    "type": "string_check",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
SIMILAR: dict[str, Any] = {
    "type": "text_similarity",
    "input": "a",
    "reference": "b",
    "evaluation_metric": "fuzzy_match",
}


def refused(data: Any, where: str = "grader") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_grader(data, where)
    return caught.value


def test_a_string_check_needs_no_name() -> None:
    assert parse_grader(CHECK) == StringCheckSpec(
        input="{{sample.output_text}}", reference="{{item.answer}}", operation="eq"
    )


@pytest.mark.parametrize("operation", ["eq", "ne", "neq", "like", "ilike"])
def test_every_operation_is_accepted_and_kept_as_written(operation: str) -> None:
    spec = parse_grader({**CHECK, "operation": operation})
    assert isinstance(spec, StringCheckSpec) and spec.operation == operation


@pytest.mark.parametrize(
    "metric",
    "fuzzy_match bleu gleu meteor rouge_1 rouge_2 rouge_3 rouge_4 rouge_5 rouge_l".split(),
)
def test_every_training_metric_is_accepted(metric: str) -> None:
    assert parse_grader({**SIMILAR, "evaluation_metric": metric}).type == "text_similarity"


def test_cosine_is_refused_with_what_to_use_instead() -> None:
    error = refused({**SIMILAR, "evaluation_metric": "cosine"})
    assert error.param == "grader.evaluation_metric"
    assert "cosine compares embeddings" in error.message and "rouge_l" in error.message


def test_a_multi_grader_holds_a_map_and_accepts_the_leniencies_seen_in_public_jobs() -> None:
    spec = parse_grader(
        {
            "type": "multi",
            "graders": {"exact": {**CHECK, "pass_threshold": 0.5}, "close": {**SIMILAR, "name": "Close"}},
            "calculate_output": "0.5 * exact + 0.5 * close",
            "pass_threshold": 0.65,
            "invalid_grade": 0,
        }
    )
    assert isinstance(spec, MultiSpec)
    assert list(spec.graders) == ["exact", "close"]
    assert (spec.pass_threshold, spec.invalid_grade) == (0.65, 0.0)


def test_null_means_absent() -> None:
    assert parse_grader({**CHECK, "name": None, "pass_threshold": None}) == parse_grader(CHECK)


def test_a_spec_reads_back_from_its_own_dump() -> None:
    multi = {"type": "multi", "graders": {"a": CHECK, "b": SIMILAR}, "calculate_output": "a + b"}
    for data in (CHECK, SIMILAR, multi, {"type": "random", "seed": 3}, {"type": "python", "source": "x"}):
        spec = parse_grader(data)
        assert parse_grader(spec.model_dump(mode="json")) == spec
        assert parse_grader(spec) == spec


def test_an_image_tag_is_accepted() -> None:
    spec = parse_grader({"type": "python", "source": "def grade(s, i): return 1", "image_tag": "2025-05-08"})
    assert isinstance(spec, PythonSpec) and spec.image_tag == "2025-05-08"


@pytest.mark.parametrize("kind", ["score_model", "label_model", "endpoint"])
def test_a_type_of_the_next_release_is_told_from_an_unknown_one(kind: str) -> None:
    error = refused({"type": kind, "name": "x"})
    assert error.param == "grader.type"
    assert f"{kind} (" in error.message and "not available yet" in error.message


def test_an_unknown_type_lists_the_known_ones() -> None:
    error = refused({**CHECK, "type": "string_chek"})
    for part in ("unknown grader type 'string_chek'", "text_similarity", "did you mean string_check?"):
        assert part in error.message


@pytest.mark.parametrize(
    ("data", "param", "part"),
    [
        ("eq", "grader", "expected an object, but got a string instead"),
        ([CHECK], "grader", "got an array"),
        (None, "grader", "got null"),
        ({}, "grader.type", "missing"),
        ({"type": 5}, "grader.type", "got a number"),
        ({**CHECK, "operation": "equals"}, "grader.operation", "'eq'"),
        ({**CHECK, "refernce": "x"}, "grader.refernce", "did you mean reference?"),
        ({**CHECK, "weight": 1}, "grader.weight", "a string_check grader has"),
        ({**CHECK, "reference": 5}, "grader.reference", "valid string"),
        ({"type": "string_check", "input": "a", "operation": "eq"}, "grader.reference", "missing"),
        ({**CHECK, "pass_threshold": float("nan")}, "grader.pass_threshold", "finite"),
        ({**CHECK, "invalid_grade": "0"}, "grader.invalid_grade", "valid number"),
        ({"type": "random", "seed": "x"}, "grader.seed", "integer"),
        ({"type": "python", "source": "#" * 262_144}, "grader.source", "262,144 bytes"),
        ({"type": "multi", "graders": [CHECK], "calculate_output": "a"}, "grader.graders", "got an array"),
        ({"type": "multi", "graders": {}, "calculate_output": "1"}, "grader.graders", "at least 1"),
        ({"type": "multi", "graders": {"a": CHECK}}, "grader.calculate_output", "missing"),
        (
            {"type": "multi", "graders": {"a-b": CHECK}, "calculate_output": "1"},
            "grader.graders.a-b",
            "letters, digits and _",
        ),
        (
            {"type": "multi", "graders": {"max": CHECK}, "calculate_output": "1"},
            "grader.graders.max",
            "is a function of the formula",
        ),
        (
            {"type": "multi", "graders": {"m": {"type": "multi"}}, "calculate_output": "m"},
            "grader.graders.m.type",
            "cannot hold another",
        ),
    ],
)
def test_a_wrong_definition_is_refused_at_its_place(data: Any, param: str, part: str) -> None:
    error = refused(data)
    assert error.param == param
    assert part in error.message
    assert error.message.startswith(f"{param}: ")


def test_every_mistake_is_told_at_once_and_without_the_names_of_our_classes() -> None:
    error = refused(
        {
            "type": "multi",
            "graders": {"compliant": {**CHECK, "input": 3}, "style": {**SIMILAR, "metric": "bleu"}},
            "calculate_output": "1",
        },
        where="method.reinforcement.grader",
    )
    lines = error.message.splitlines()
    assert lines[0].startswith("method.reinforcement.grader.graders.compliant.input: ")
    assert lines[1].startswith("method.reinforcement.grader.graders.style.metric: unknown key")
    assert len(lines) == 2


def test_a_source_just_below_the_limit_is_accepted() -> None:
    assert parse_grader({"type": "python", "source": "#" * 262_143}).type == "python"
