"""What "auto" becomes in a supervised job; :mod:`openrft.training.choices` has what all methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openrft.config.graders import GraderSpec
from openrft.config.supervised import SupervisedHyperparameters
from openrft.training.choices import Choices, Facts, Hyperparameters

LEAST_EPOCHS, MOST_EPOCHS = 3, 6
ENOUGH_STEPS = 48
"""Files whose three epochs are fewer steps are read more often, up to six times."""
DEFAULT_BATCH = 8
WARMUP_SHARE = 0.03


class SupervisedSettings(Hyperparameters):
    """What a supervised run uses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisedFacts(Facts):
    """What the values of a supervised job depend on."""

    longest_answer: int  # tokens after a prompt, over all files of the job


def resolve_supervised(
    asked: SupervisedHyperparameters, grader: GraderSpec | None, facts: SupervisedFacts
) -> tuple[SupervisedSettings, dict[str, str]]:
    """Every "auto" as a value, and the reason for each.

    Raises :class:`~openrft.errors.InvalidRequest` where what was asked for does not fit the data or the model.
    """
    choices = Choices(asked, facts, where="method.supervised.hyperparameters")
    rows, size = facts.num_train, facts.num_parameters
    choices.default("batch_size", min(DEFAULT_BATCH, rows), "8 rows: enough for a steady gradient on small files")

    def few_passes(batch: int) -> int:
        least, most = (math.ceil(epochs * rows / batch) for epochs in (LEAST_EPOCHS, MOST_EPOCHS))
        return max(least, min(most, ENOUGH_STEPS))

    choices.choose_length(few_passes, "3 passes over the training file, or up to 6 where that is fewer than 48 steps")
    # Log-linear between what was measured at 1M parameters and is usual at 4B-8B.
    choices.choose_rate(
        full=min(2e-3, max(1e-5, 1e-5 * (4e9 / size) ** 0.639)),
        adapter=min(5e-3, max(2e-4, 2e-4 * (4e9 / size) ** 0.388)),
    )
    warmup = max(1, math.ceil(WARMUP_SHARE * choices.chosen["num_steps"]))
    choices.choose_warmup(warmup, "3 % of the steps: Adam's first steps ignore the gradient's size")
    choices.choose_precision()
    choices.choose_watch(4 if facts.num_valid <= 100 else 1, ", if graded")
    choices.choose_completion(is_sampled=grader is not None)
    choices.choose_microbatch(completion=facts.longest_answer, group_size=1, has_reference=False)
    choices.choose_threshold(grader)
    return SupervisedSettings(**choices.chosen), choices.reasons
