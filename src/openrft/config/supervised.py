"""OpenAI's ``method`` of type ``supervised``: the answers in the training file are what the policy is to say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from openrft.config.hyperparameters import TrainingHyperparameters
from openrft.config.reinforcement import AnyGrader, read_grader
from openrft.config.spec import Spec


class SupervisedHyperparameters(TrainingHyperparameters):
    """How a supervised job learns and is watched."""


class Supervised(Spec):
    """OpenAI's ``method.supervised``, and a grader of ours."""

    grader: AnyGrader = None
    """When given, answers to the validation and test prompts are sampled and graded as in a reinforcement job, so that
    both methods can be compared. It never trains. Ours.
    """
    hyperparameters: SupervisedHyperparameters = SupervisedHyperparameters()

    @field_validator("grader", mode="plain")
    @classmethod
    def _grader(cls, data: Any) -> Any:
        return read_grader(data, where="method.supervised.grader")


class SupervisedMethod(Spec):
    """OpenAI's ``method`` of type ``supervised``."""

    type: Literal["supervised"] = "supervised"
    supervised: Supervised = Supervised()

    @property
    def options(self) -> Supervised:
        """The method's own object, whatever the method."""
        return self.supervised
