"""What "auto" becomes in a supervised job; :mod:`openrft.training.resolve` has what all methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from openrft.config.graders import GraderSpec
from openrft.config.supervised import SupervisedHyperparameters
from openrft.errors import InvalidRequest
from openrft.training.memory import Plan, fitting_tokens
from openrft.training.resolve import Facts, Hyperparameters, choose_precision, choose_weights

LEAST_EPOCHS, MOST_EPOCHS = 3, 6
ENOUGH_STEPS = 48
"""Files whose three epochs are fewer steps are read more often, up to six times."""
DEFAULT_BATCH = 8
WARMUP_SHARE = 0.03
NUM_VALIDATIONS = 10

_WHERE = "method.supervised.hyperparameters"


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

    Raises :class:`InvalidRequest` where what was asked for does not fit the data or the model.
    """
    reasons: dict[str, str] = {}
    given = asked.model_dump()
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value != "auto"}

    def default(name: str, value: object, reason: str) -> None:
        if given[name] == "auto":
            chosen[name], reasons[name] = value, reason

    chosen["weights"], reasons["weights"] = choose_weights(asked.weights, facts.num_parameters)
    default("batch_size", min(DEFAULT_BATCH, facts.num_train), "8 rows: enough for a steady gradient on small files")
    _choose_length(chosen, reasons, facts)
    _choose_rate(chosen, reasons, facts.num_parameters)
    steps = chosen["num_steps"]
    warmup = min(steps - 1, max(1, math.ceil(WARMUP_SHARE * steps)))
    default("warmup_steps", warmup, "3 % of the steps: Adam's first steps ignore the gradient's size")
    if chosen["warmup_steps"] >= steps:
        raise InvalidRequest(
            f"warmup_steps is {chosen['warmup_steps']} of {steps} steps: the learning rate would never reach its peak",
            param=f"{_WHERE}.warmup_steps",
        )
    choose_precision(default, facts)
    is_length_given = asked.num_steps != "auto" or asked.n_epochs != "auto"
    default(
        "early_stopping", not is_length_given, "the length of training is given" if is_length_given else "it is not"
    )
    default("eval_interval", max(1, math.ceil(steps / NUM_VALIDATIONS)), "ten validations over the run")
    default("eval_samples", 4 if facts.num_valid <= 100 else 1, f"{facts.num_valid} validation examples, if graded")
    default("checkpoint_interval", chosen["eval_interval"], "one at every validation")
    _choose_completion(chosen, reasons, facts, is_sampled=grader is not None)
    plan = Plan(
        precision=chosen["precision"],
        weights=chosen["weights"],
        has_reference=False,
        prompt=facts.longest_prompt,
        completion=facts.longest_answer,
        group_size=1,
    )
    default("microbatch_tokens", *fitting_tokens(facts.room, plan))
    if chosen["pass_threshold"] is None:
        threshold = getattr(grader, "pass_threshold", None)
        chosen["pass_threshold"] = 1.0 if threshold is None else float(threshold)
        reasons["pass_threshold"] = "a full score" if threshold is None else "the grader's own"
    return SupervisedSettings(**chosen), reasons


def _choose_length(chosen: dict[str, Any], reasons: dict[str, str], facts: Facts) -> None:
    """Steps from epochs, or three to six epochs: small files need more steps than three passes are."""
    batch = chosen["batch_size"]
    if batch > facts.num_train:
        raise InvalidRequest(
            f"batch_size is {batch}, but there are only {facts.num_train} training examples; use at most that many",
            param=f"{_WHERE}.batch_size",
        )
    if "n_epochs" in chosen:
        chosen["num_steps"] = math.ceil(chosen["n_epochs"] * facts.num_train / batch)
        reasons["num_steps"] = "n_epochs passes over the training file"
    elif "num_steps" not in chosen:
        least, most = (math.ceil(epochs * facts.num_train / batch) for epochs in (LEAST_EPOCHS, MOST_EPOCHS))
        chosen["num_steps"] = max(least, min(most, ENOUGH_STEPS))
        reasons["num_steps"] = "3 passes over the training file, or up to 6 where that is fewer than 48 steps"
    chosen["n_epochs"] = chosen["num_steps"] * batch / facts.num_train


def _choose_rate(chosen: dict[str, Any], reasons: dict[str, str], size: int) -> None:
    """Learning rate by model size: log-linear between what was measured at 1M parameters and is usual at 4B-8B."""
    multiplier = chosen.pop("learning_rate_multiplier", 1.0)
    if "learning_rate" in chosen:
        return
    if chosen["weights"] == "full":
        rate = min(2e-3, max(1e-5, 1e-5 * (4e9 / size) ** 0.639))
    else:
        rate = min(5e-3, max(2e-4, 2e-4 * (4e9 / size) ** 0.388))
    chosen["learning_rate"] = rate * multiplier
    reasons["learning_rate"] = (
        f"{rate:.2g} for {chosen['weights']} training at {size / 1e6:.1f}M parameters x {multiplier:g}"
    )


def _choose_completion(chosen: dict[str, Any], reasons: dict[str, str], facts: Facts, *, is_sampled: bool) -> None:
    """Where sampled answers are cut off; only validation by a grader samples any."""
    room = max(1, facts.context_tokens - facts.longest_prompt)
    if "max_completion_tokens" not in chosen:
        chosen["max_completion_tokens"] = min(1024, room)
        reasons["max_completion_tokens"] = f"1024, or what the context of {facts.context_tokens} leaves"
    elif is_sampled and chosen["max_completion_tokens"] > room:
        raise InvalidRequest(
            f"max_completion_tokens is {chosen['max_completion_tokens']}, but the longest prompt has "
            f"{facts.longest_prompt} tokens and the model's context {facts.context_tokens}; use at most {room}",
            param=f"{_WHERE}.max_completion_tokens",
        )
