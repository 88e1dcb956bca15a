"""What "auto" becomes in a reinforcement job; :mod:`openrft.training.choices` has what all methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from openrft.algorithms import ALGORITHMS
from openrft.config.graders import GraderSpec, LabelModelSpec, ScoreModelSpec, judging_parts
from openrft.config.reinforcement import AlgorithmName, ReinforcementHyperparameters
from openrft.training.choices import Choices, Facts, Hyperparameters

NORMAL_GROUP, LARGE_GROUP = 8, 16  # completions per prompt
GROUPS_PER_UPDATE = 1

JUDGED_KL = 0.01  # weight of the penalty where a model grades


class ReinforcementSettings(Hyperparameters):
    """What a reinforcement run uses."""

    algorithm: AlgorithmName
    group_size: int
    groups_per_update: int
    prompt_order: Literal["adaptive", "epochs"]
    train_truncated: bool
    kl_beta: float
    clip_low: float | None
    clip_high: float | None

    @property
    def answers_per_step(self) -> int:
        """Completions that a step samples."""
        return self.batch_size * self.group_size


@dataclass(frozen=True, kw_only=True, slots=True)
class ReinforcementFacts(Facts):
    """What the values of a reinforcement job depend on."""

    fitting_group: int = NORMAL_GROUP  # completions per prompt, by what the untouched base solves
    fitting_reason: str = "more answers per prompt say little that other prompts would not say better"


def resolve(
    asked: ReinforcementHyperparameters, grader: GraderSpec, facts: ReinforcementFacts
) -> tuple[ReinforcementSettings, dict[str, str]]:
    """Every "auto" as a value, and the reason for each.

    Raises :class:`~openrft.errors.InvalidRequest` where what was asked for does not fit the data or the model.
    """
    choices = Choices(asked, facts, where="method.reinforcement.hyperparameters")
    chosen, rows = choices.chosen, facts.num_train
    choices.default(
        "batch_size", min(8, rows), "enough to sample at a time, few enough to be sampled from a new policy"
    )
    _choose_groups(choices, asked.algorithm, facts)
    _choose_bounds(choices, asked.algorithm, grader)
    choices.choose_length(
        lambda batch: min(400, max(40, math.ceil(12 * rows / batch))),
        "12 passes over the training file, between 40 and 400 steps",
    )
    # Log-linear between rates that work at 1M and at 1B-8B parameters.
    size = facts.num_parameters
    choices.choose_rate(
        full=min(3e-4, max(1e-6, 2e-6 * (1e9 / size) ** 0.7255)),
        adapter=min(2e-3, max(2e-5, 4e-5 * (4e9 / size) ** 0.472)),
    )
    steps = chosen["num_steps"]
    choices.choose_warmup(
        max(1, min(10, max(4, steps // 20), steps // 4)),
        "5 % of the steps, 4 to 10, at most a quarter: Adam's first steps ignore the gradient's size",
    )
    choices.choose_precision()
    samples = 4 if facts.num_valid <= 100 else 2 if facts.num_valid <= 300 else 1
    choices.choose_watch(samples, ": more examples need fewer samples each")
    choices.choose_completion(is_sampled=True)
    choices.choose_microbatch(
        completion=chosen["max_completion_tokens"],
        group_size=chosen["group_size"],
        has_reference=chosen["kl_beta"] > 0,
    )
    choices.choose_threshold(grader)
    return ReinforcementSettings(**chosen), choices.reasons


def _choose_groups(choices: Choices, algorithm: AlgorithmName, facts: ReinforcementFacts) -> None:
    """What is sampled and compared at a time, how much of it makes an update, and in which order prompts come."""
    multiplier = choices.chosen.pop("compute_multiplier", 1.0)
    choices.default(
        "group_size",
        min(256, max(2, round(facts.fitting_group * multiplier))),
        facts.fitting_reason if multiplier == 1 else f"{facts.fitting_group} x compute_multiplier {multiplier:g}",
    )
    if ALGORITHMS[algorithm].bounds:
        many = "many small updates learn more from each completion than few large ones"
        choices.default("groups_per_update", GROUPS_PER_UPDATE, many)
    else:
        present = f"{algorithm} is for what the present policy has sampled"
        choices.default("groups_per_update", choices.chosen["batch_size"], present)
    choices.default("prompt_order", "adaptive", "prompts whose answers all get one grade teach nothing, and wait")


def _choose_bounds(choices: Choices, algorithm: AlgorithmName, grader: GraderSpec) -> None:
    """How far a step, and the whole run, may go from where it began."""
    bounds = ALGORITHMS[algorithm].bounds
    for name in ("clip_low", "clip_high"):
        why = f"{algorithm}'s own" if name in bounds else f"{algorithm} has no such bound"
        choices.default(name, bounds.get(name), why)
    if any(isinstance(part, ScoreModelSpec | LabelModelSpec) for part in judging_parts(grader)):
        choices.default("kl_beta", JUDGED_KL, "a model grades: what it likes too well lies far from the base")
    else:
        cheap = "no model grades, so the reward is what is wanted; no reference takes memory or time"
        choices.default("kl_beta", 0.0, cheap)
