"""What a person reads when an option is wrong: one line per field, under the name that the field has in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from openrft.config.reinforcement import ReinforcementHyperparameters
from openrft.config.spec import Spec, parse_spec, read_json
from openrft.errors import InvalidRequest


class Circle(Spec):
    kind: Literal["circle"] = "circle"
    radius: float


class Square(Spec):
    kind: Literal["square"] = "square"
    side: float


class Drawing(Spec):
    shapes: dict[str, Annotated[Circle | Square, Field(discriminator="kind")]]
    sizes: tuple[int | Literal["auto"], ...] = ()


def refused(kind: Any, data: Any, where: str = "") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_spec(kind, data, where=where)
    return caught.value


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "n_epochs",
            "many",
            "n_epochs: Input should be a valid integer, unable to parse string as an integer, or 'auto' (found 'many')",
        ),
        ("batch_size", 0, "batch_size: Input should be greater than or equal to 1, or 'auto' (found 0)"),
        ("weights", "qlora", "weights: Input should be 'full' or 'lora', or 'auto' (found 'qlora')"),
        ("kl_beta", -1, "kl_beta: Input should be greater than or equal to 0, or 'auto' (found -1)"),
    ],
)
def test_a_wrong_option_is_one_line_with_everything_it_may_be(option: str, value: Any, message: str) -> None:
    error = refused(ReinforcementHyperparameters, {option: value})
    assert error.message == message
    assert error.param == option


@pytest.mark.parametrize("option", ["learning_rate_multiplier", "pass_threshold", "kl_beta", "clip_high"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_that_is_not_finite_is_refused_with_the_name_of_its_field(option: str, value: float) -> None:
    error = refused(ReinforcementHyperparameters, {option: value})
    assert error.param == option
    assert error.message.startswith(f"{option}: Input should be a finite number")


def test_every_wrong_field_has_its_line_and_param_is_the_first() -> None:
    error = refused(ReinforcementHyperparameters, {"n_epochs": "many", "n_epoch": 1, "group_size": 1}, where="job.h")
    assert [line.split(":")[0] for line in error.message.splitlines()] == [
        "job.h.n_epochs",
        "job.h.group_size",
        "job.h.n_epoch",
    ]
    assert error.param == "job.h.n_epochs"


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"shapes": {"a": {"kind": "circle", "radius": "wide"}}}, "shapes.a.radius"),
        ({"shapes": {"a": {"kind": "square"}}}, "shapes.a.side"),
        ({"shapes": {"circle": {"kind": "circle", "radius": 1, "side": 2}}}, "shapes.circle.side"),
        ({"shapes": {"a": {"kind": "star"}}}, "shapes.a"),
        ({"shapes": {}, "sizes": [1, "big"]}, "sizes[1]"),
        ({"shapes": []}, "shapes"),
        ({}, "shapes"),
    ],
)
def test_param_is_a_path_inside_the_document_also_below_a_union(data: Any, param: str) -> None:
    error = refused(Drawing, data)
    assert error.param == param
    assert len(error.message.splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"shapes": {"a": {"kind": "\ud83d"}}}, "job.shapes.a.kind"),
        ({"shapes": {}, "sizes": ["auto", "\udfff"]}, "job.sizes[1]"),
        ({"shapes": {"\ud83d": {}}}, "job.shapes.\\ud83d"),
    ],
)
def test_half_of_a_character_is_refused_where_it_stands(data: Any, param: str) -> None:
    error = refused(Drawing, data, where="job")
    assert error.param == param
    assert "half of a character" in error.message
    error.message.encode("utf-8")


def test_a_message_about_many_or_long_keys_stays_readable() -> None:
    error = refused(Drawing, {"shapes": {}, "k" * 50_000: 1} | {f"wrong_{n}": 1 for n in range(1_000)})
    assert len(error.message) < 5_000 and "… and 971 more" in error.message
    assert error.param is not None and len(error.param) < 200


def test_a_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    value: list[Any] = []
    for _ in range(5_000):
        value = [value]
    assert "found a very large list" in refused(Circle, {"radius": value}).message
    assert "found a very large int" in refused(Square, {"kind": "square", "side": 10**5_000}).message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 100_000, "is nested too deeply"),
        ("9" * 5_000, "a number of thousands of digits"),
        ('{"model": "~\\ud83d"}', "model: holds half of a character"),
        ("\ufeff{}", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_a_file_that_python_can_hardly_read_is_refused_in_words(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidRequest, match=words):
        read_json(path, what="job file")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5_000, ""])
def test_a_name_that_no_file_can_have_is_refused_in_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_json(tmp_path / name, what="grader file")
    assert caught.value.message.startswith("grader file ") and len(caught.value.message) < 1_000
    assert caught.value.param is not None
    caught.value.message.encode("utf-8")
