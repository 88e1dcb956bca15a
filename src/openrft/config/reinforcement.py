"""OpenAI's ``method`` of type ``reinforcement``: sampled answers are graded, and the grades train."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from openrft.config.graders import GraderSpec, parse_grader
from openrft.config.hyperparameters import Auto, TrainingHyperparameters
from openrft.config.response_format import parse_response_format, plain_response_format
from openrft.config.spec import Spec

AlgorithmName = Literal["rft", "rloo", "grpo", "dr_grpo", "dapo", "gspo", "cispo", "reinforce", "maxrl"]


class ReinforcementHyperparameters(TrainingHyperparameters):
    """How a reinforcement job samples, learns and is watched."""

    compute_multiplier: Annotated[float, Field(gt=0.00001, le=10)] | Auto = "auto"
    """Scales the number of completions per prompt that "auto" would choose."""

    algorithm: AlgorithmName = "rft"
    """Which advantage and loss; see the table in docs/training.md."""
    group_size: Annotated[int, Field(ge=2, le=256)] | Auto = "auto"
    """Completions per prompt, compared with one another."""
    groups_per_update: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Groups with a signal that make one optimizer update; those of a step are cut into so many at a time."""
    prompt_order: Literal["adaptive", "epochs"] | Auto = "auto"
    """Which prompts a step takes: ``epochs`` reads each permutation of the file to its end, ``adaptive`` prefers
    prompts whose answers differ in grade.
    """
    train_truncated: bool = True
    """Whether completions that were cut off train like the others (their grade decides) or are left out."""
    kl_beta: Annotated[float, Field(ge=0)] | Auto = "auto"
    """Weight of the penalty for leaving the base model; 0 loads no reference."""
    clip_low: Annotated[float, Field(gt=0, lt=1)] | Auto = "auto"
    """Lower clip of the importance ratio; "auto" takes the algorithm's own."""
    clip_high: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Upper clip of the importance ratio; "auto" takes the algorithm's own."""

    @model_validator(mode="after")
    def _one_way_to_say_group_size(self) -> ReinforcementHyperparameters:
        if self.group_size != "auto" and self.compute_multiplier != "auto":
            raise ValueError("group_size and compute_multiplier contradict each other; give one of them")
        return self


def _plain_grader(grader: GraderSpec | None) -> dict[str, Any] | None:
    return None if grader is None else grader.model_dump(mode="json", exclude_none=True)


# Any: parse_grader checks it, with better messages than a union of all graders would give.
AnyGrader = Annotated[Any, PlainSerializer(_plain_grader), WithJsonSchema({"type": "object"})]
"""A field for a grader; its class reads it by :func:`read_grader`."""


def read_grader(data: Any, where: str) -> Any:
    """The grader that ``data`` defines, unless it is one already or there is none."""
    return data if data is None or isinstance(data, Spec) else parse_grader(data, where=where)


def _response_format(data: Any) -> Any:
    return parse_response_format(data, where="method.reinforcement.response_format")


class Reinforcement(Spec):
    """OpenAI's ``method.reinforcement``."""

    grader: AnyGrader
    """What scores the answers."""
    monitor_grader: AnyGrader = None
    """A second, independent grader of the validation answers: watched and reported, never trained on, never chosen by.
    Ours.
    """
    response_format: Annotated[
        Any,
        PlainValidator(_response_format),
        PlainSerializer(plain_response_format),
        WithJsonSchema({"type": "object"}),
    ] = None
    """The form that every answer is held to, in training and validation: OpenAI's chat ``response_format``."""
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()

    @field_validator("grader", "monitor_grader", mode="plain")
    @classmethod
    def _grader(cls, data: Any, info: ValidationInfo) -> Any:
        return read_grader(data, where=f"method.reinforcement.{info.field_name}")


class ReinforcementMethod(Spec):
    """OpenAI's ``method`` of type ``reinforcement``."""

    type: Literal["reinforcement"] = "reinforcement"
    reinforcement: Reinforcement

    @property
    def options(self) -> Reinforcement:
        """The method's own object, whatever the method."""
        return self.reinforcement
