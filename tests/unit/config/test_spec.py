"""What a person reads when an option is wrong: one line per field, under the name that the field has in the file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from openrft.config.job import ReinforcementHyperparameters
from openrft.config.spec import Spec, parse_spec
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
        ("kl_beta", -1, "kl_beta: Input should be greater than or equal to 0 (found -1)"),
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
