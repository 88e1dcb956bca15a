from typing import Any

import pytest

from openrft.config.graders import (
    EndpointSpec,
    LabelModelSpec,
    MultiSpec,
    PythonSpec,
    ScoreModelSpec,
    StringCheckSpec,
    parse_grader,
)
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
JUDGE: dict[str, Any] = {
    "type": "score_model",
    "model": "gpt-4.1-2025-04-14",
    "input": [{"role": "user", "content": "{{sample.output_text}}"}],
}
LABEL: dict[str, Any] = {**JUDGE, "type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"]}
ENDPOINT: dict[str, Any] = {"type": "endpoint", "url": "https://example.com/grade"}


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
    "fuzzy_match bleu gleu meteor cosine rouge_1 rouge_2 rouge_3 rouge_4 rouge_5 rouge_l".split(),
)
def test_every_metric_is_accepted(metric: str) -> None:
    assert parse_grader({**SIMILAR, "evaluation_metric": metric}).type == "text_similarity"


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
    parts = [{"type": "input_text", "text": "a"}, "b", {"type": "input_image", "image_url": "c"}]
    judge = {
        **JUDGE,
        "input": [{"role": "developer", "content": parts}, {"role": "user", "content": parts[0]}],
        "range": [1, 5],
        "sampling_params": {"max_completion_tokens": 5, "reasoning_effort": "high"},
    }
    endpoint = {**ENDPOINT, "headers": {"X-Key": "k"}, "rate_limit": 5}
    graders = {"a": CHECK, "b": SIMILAR, "c": judge, "d": LABEL, "e": endpoint}
    multi = {"type": "multi", "graders": graders, "calculate_output": "a + b"}
    others = [{"type": "random", "seed": 3}, {"type": "python", "source": "x"}]
    for data in (*graders.values(), multi, *others):
        spec = parse_grader(data)
        assert parse_grader(spec.model_dump(mode="json")) == spec
        assert parse_grader(spec.model_dump(mode="json", exclude_none=True)) == spec
        assert parse_grader(spec) == spec


def test_an_image_tag_is_accepted() -> None:
    spec = parse_grader({"type": "python", "source": "def grade(s, i): return 1", "image_tag": "2025-05-08"})
    assert isinstance(spec, PythonSpec) and spec.image_tag == "2025-05-08"


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


def test_a_score_model_accepts_the_leniencies_of_openai_s_examples() -> None:
    spec = parse_grader({**JUDGE, "name": None, "range": None, "sampling_params": None})
    assert isinstance(spec, ScoreModelSpec) and spec.range == (0.0, 1.0)
    for content in ("a", {"type": "input_text", "text": "a"}, ["a"], [{"type": "output_text", "text": "a"}, "b"]):
        message = {"role": "assistant", "type": None, "content": content}
        assert parse_grader({**JUDGE, "input": [message]}).type == "score_model"


@pytest.mark.parametrize("key", ["max_completions_tokens", "max_completion_tokens"])
def test_both_spellings_of_the_token_limit_are_read(key: str) -> None:
    spec = parse_grader({**JUDGE, "sampling_params": {key: 7, "seed": None, "reasoning_effort": None}})
    assert isinstance(spec, ScoreModelSpec) and spec.sampling_params is not None
    assert spec.sampling_params.max_completions_tokens == 7


def test_label_models_and_endpoints_have_their_fields() -> None:
    label, endpoint = parse_grader(LABEL), parse_grader({**ENDPOINT, "headers": None, "rate_limit": 0.5})
    assert isinstance(label, LabelModelSpec) and (label.labels, label.passing_labels) == (("good", "bad"), ("good",))
    assert isinstance(endpoint, EndpointSpec) and (endpoint.headers, endpoint.rate_limit) == (None, 0.5)


def content(*parts: Any) -> dict[str, Any]:
    return {**JUDGE, "input": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("data", "param", "part"),
    [
        ({**JUDGE, "range": [1, 0]}, "grader.range", "upside down"),
        ({**JUDGE, "range": [1, 1]}, "grader.range", "empty"),
        ({**JUDGE, "range": [0, float("inf")]}, "grader.range[1]", "finite"),
        ({**JUDGE, "range": ["0", "1"]}, "grader.range", "two numbers in ascending order, as in [0, 1]"),
        ({**JUDGE, "range": [0, True]}, "grader.range", "two numbers in ascending order, as in [0, 1]"),
        ({**JUDGE, "range": [0]}, "grader.range", "two numbers in ascending order, as in [0, 1]"),
        ({**JUDGE, "range": [0, 1, 2]}, "grader.range", "two numbers in ascending order, as in [0, 1]"),
        ({**JUDGE, "range": {"0": 1}}, "grader.range", "two numbers in ascending order, as in [0, 1]"),
        ({**JUDGE, "model": ""}, "grader.model", "at least 1"),
        ({**JUDGE, "input": []}, "grader.input", "the list is empty"),
        ({**JUDGE, "input": "grade it"}, "grader.input", "expected a list"),
        ({**JUDGE, "input": [{"content": "x"}]}, "grader.input[0].role", "missing"),
        ({**JUDGE, "input": [{"role": "tool", "content": "x"}]}, "grader.input[0].role", "'developer'"),
        ({**JUDGE, "input": [{"role": "user", "content": 5}]}, "grader.input[0].content", "a list of them"),
        ({**JUDGE, "input": [{"role": "user", "content": []}]}, "grader.input[0].content", "the list is empty"),
        (content("a", 5), "grader.input[0].content[1]", "should be a text, or an object"),
        (content({"type": "text", "text": "x"}), "grader.input[0].content[0]", "input_text, output_text"),
        (content({"type": "input_text"}), "grader.input[0].content[0].text", "missing"),
        (content({"type": "input_text", "text": "x", "y": 1}), "grader.input[0].content[0].y", "unknown key"),
        (
            content({"type": "input_audio", "input_audio": {"data": "x", "format": "ogg"}}),
            "grader.input[0].content[0].input_audio.format",
            "'mp3' or 'wav'",
        ),
        ({**JUDGE, "sampling_params": {"top_p": 2}}, "grader.sampling_params.top_p", "less than or equal to 1"),
        (
            {**JUDGE, "sampling_params": {"max_tokens": 2}},
            "grader.sampling_params.max_tokens",
            "unknown key; did you mean max_completion_tokens?",
        ),
        ({**JUDGE, "sampling_params": {"n": 2}}, "grader.sampling_params.n", "unknown key; there are"),
        ({**JUDGE, "sampling_params": {"reasoning_effort": "x"}}, "grader.sampling_params.reasoning_effort", "'max'"),
        (
            {**JUDGE, "sampling_params": {"max_completions_tokens": 1, "max_completion_tokens": 2}},
            "grader.sampling_params",
            "mean the same and differ",
        ),
        ({**LABEL, "labels": []}, "grader.labels", "the list is empty"),
        ({**LABEL, "labels": ["good", "good"]}, "grader.labels", "listed twice: 'good'"),
        ({**LABEL, "passing_labels": []}, "grader.passing_labels", "the list is empty"),
        ({**LABEL, "passing_labels": ["fine"]}, "grader.passing_labels", "'fine' not among labels"),
        ({**ENDPOINT, "url": "example.com"}, "grader.url", "begin with http:// or https://"),
        ({**ENDPOINT, "url": ""}, "grader.url", "empty"),
        ({"type": "endpoint"}, "grader.url", "missing"),
        ({**ENDPOINT, "rate_limit": 0}, "grader.rate_limit", "greater than 0"),
        ({**ENDPOINT, "headers": ["a"]}, "grader.headers", "a map of name to text"),
        ({**ENDPOINT, "headers": {"a b": "x"}}, "grader.headers.a b", "not a header's name"),
        ({**ENDPOINT, "headers": {"X-Key": "**********"}}, "grader.headers.X-Key", "write the value itself"),
        ({**ENDPOINT, "headers": {"a": 5}}, "grader.headers.a", "expected a text, but got int"),
    ],
)
def test_a_wrong_model_grader_or_endpoint_is_refused_at_its_place(data: Any, param: str, part: str) -> None:
    error = refused(data)
    assert error.param == param
    assert part in error.message
    assert len(error.message.splitlines()) == 1


def test_a_header_s_value_or_a_password_is_in_no_message_and_no_repr() -> None:
    for wrong in ({"headers": {"X-Key": "s3cret\r\nX-More: 1"}}, {"url": "http://me:s3cret@example.com"}):
        assert "s3cret" not in refused({**ENDPOINT, **wrong, "rate_limit": -1}).message
    assert "s3cret" not in repr(parse_grader({**ENDPOINT, "headers": {"X-Key": "s3cret"}}))
