"""The options of a job while each "auto" becomes a value, with the reason that people see in the run's config.

What depends on the method is in :mod:`openrft.training.resolve` and :mod:`openrft.training.resolve_supervised`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from openrft.config.graders import GraderSpec
from openrft.config.hyperparameters import TrainingHyperparameters
from openrft.config.spec import Spec
from openrft.errors import InvalidRequest
from openrft.training.memory import Plan, Room, fitting_tokens

SHORT_TYPE_GAIN = 1.5  # how many times as fast bfloat16 must be to be worth its rounding
LARGEST_FULL_MODEL = 50_000_000  # parameters; above this "auto" trains an adapter
NUM_VALIDATIONS = 10


class Hyperparameters(Spec):
    """What a run of any method uses: ``config.hyperparameters.TrainingHyperparameters`` without any "auto"."""

    num_steps: int
    n_epochs: float
    batch_size: int
    learning_rate: float
    learning_rate_schedule: Literal["linear", "constant"]
    warmup_steps: int
    weights: Literal["full", "lora"]
    lora_rank: int
    precision: Literal["float32", "bfloat16"]
    reasoning_effort: Literal["default", "low", "medium", "high"]
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    max_completion_tokens: int
    weight_decay: float
    max_grad_norm: float
    microbatch_tokens: int
    eval_interval: int
    eval_samples: int
    checkpoint_interval: int
    early_stopping: bool
    guard: bool
    max_ungraded_share: float
    grader_outage_minutes: float
    pass_threshold: float
    ship: Literal["best", "last"]
    budget_minutes: float | None
    budget_tokens: int | None
    budget_grader_cost: float | None

    @property
    def passing_score(self) -> float:
        """Scores from here on pass; a little below the threshold, because scores are sums of floats."""
        return self.pass_threshold - 1e-9

    def is_evaluation_step(self, step: int) -> bool:
        """Whether the validation examples are graded after ``step`` steps."""
        return step == self.num_steps or step % self.eval_interval == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the values depend on."""

    num_parameters: int
    context_tokens: int
    num_train: int  # examples
    num_valid: int
    longest_prompt: int  # tokens, over all files of the job
    room: Room
    short_type_gain: float = 1.0  # how many times as fast this machine multiplies in bfloat16


def choose_weights(asked: Literal["full", "lora", "auto"], num_parameters: int) -> tuple[Literal["full", "lora"], str]:
    """What trains, and why."""
    if asked != "auto":
        return asked, "as given"
    if num_parameters <= LARGEST_FULL_MODEL:
        return "full", f"{num_parameters / 1e6:.1f}M parameters: small enough to train all of them"
    return "lora", f"{num_parameters / 1e6:.0f}M parameters: an adapter learns as well and needs far less memory"


class Choices:
    """What is chosen so far (``chosen``, by option), and why (``reasons``); ``where`` names the options in errors."""

    def __init__(self, asked: TrainingHyperparameters, facts: Facts, *, where: str) -> None:
        self._asked, self._facts, self._where = asked.model_dump(), facts, where
        self.chosen: dict[str, Any] = {name: value for name, value in self._asked.items() if value != "auto"}
        self.reasons: dict[str, str] = {}
        self.chosen["weights"], self.reasons["weights"] = choose_weights(asked.weights, facts.num_parameters)

    def default(self, name: str, value: object, reason: str) -> None:
        """The value of an option that was left to "auto"."""
        if self._asked[name] == "auto":
            self.chosen[name], self.reasons[name] = value, reason

    def choose_length(self, steps: Callable[[int], int], reason: str) -> None:
        """Steps from epochs, or both from the size of the data: ``steps`` of a number of passes over it."""
        batch, rows = self.chosen["batch_size"], self._facts.num_train
        if batch > rows:
            message = f"batch_size is {batch}, but there are only {rows} training examples; use at most that many"
            raise self._wrong("batch_size", message)
        if "n_epochs" in self.chosen:
            self.chosen["num_steps"] = math.ceil(self.chosen["n_epochs"] * rows / batch)
            self.reasons["num_steps"] = "n_epochs passes over the training file"
        elif "num_steps" not in self.chosen:
            self.chosen["num_steps"] = steps(batch)
            self.reasons["num_steps"] = reason
        self.chosen["n_epochs"] = self.chosen["num_steps"] * batch / rows

    def choose_rate(self, *, full: float, adapter: float) -> None:
        """The learning rate that was found for a model of this size, times what was asked for."""
        multiplier = self.chosen.pop("learning_rate_multiplier", 1.0)
        if "learning_rate" in self.chosen:
            return
        weights, size = self.chosen["weights"], self._facts.num_parameters
        rate = full if weights == "full" else adapter
        self.chosen["learning_rate"] = rate * multiplier
        why = f"{rate:.2g} for {weights} training at {size / 1e6:.1f}M parameters x {multiplier:g}"
        self.reasons["learning_rate"] = why

    def choose_warmup(self, steps: int, reason: str) -> None:
        """The steps in which the learning rate rises."""
        self.default("warmup_steps", min(self.chosen["num_steps"] - 1, steps), reason)
        given, all_steps = self.chosen["warmup_steps"], self.chosen["num_steps"]
        if given >= all_steps:
            message = f"warmup_steps is {given} of {all_steps} steps: the learning rate would never reach its peak"
            raise self._wrong("warmup_steps", message)

    def choose_precision(self) -> None:
        """What products are computed in: the short type where this machine gains from it."""
        gain = f"this machine multiplies {self._facts.short_type_gain:.1f} times as fast in bfloat16"
        if self._facts.short_type_gain < SHORT_TYPE_GAIN:
            self.default("precision", "float32", gain)
        else:
            self.default("precision", "bfloat16", f"{gain}; weights, norms and softmax stay float32")

    def choose_watch(self, samples: int, reason: str) -> None:
        """How often and how closely the run is watched, and whether it may end early."""
        is_length_given = self._asked["num_steps"] != "auto" or self._asked["n_epochs"] != "auto"
        why = f"the length of training is {'' if is_length_given else 'not '}given"
        self.default("early_stopping", not is_length_given, why)
        interval = max(1, math.ceil(self.chosen["num_steps"] / NUM_VALIDATIONS))
        self.default("eval_interval", interval, "ten validations over the run")
        self.default("eval_samples", samples, f"{self._facts.num_valid} validation examples{reason}")
        self.default("checkpoint_interval", self.chosen["eval_interval"], "one at every validation")

    def choose_completion(self, *, is_sampled: bool) -> None:
        """Where answers are cut off; ``is_sampled``: whether any are, so that a length beyond the context matters."""
        facts = self._facts
        room = facts.context_tokens - facts.longest_prompt
        left = f"1024, or what the context of {facts.context_tokens} leaves"
        self.default("max_completion_tokens", max(1, min(1024, room)), left)
        if is_sampled and self.chosen["max_completion_tokens"] > room:
            message = (
                f"max_completion_tokens is {self.chosen['max_completion_tokens']}, but the longest prompt has "
                f"{facts.longest_prompt} tokens and the model's context {facts.context_tokens}; use at most {room}"
            )
            raise self._wrong("max_completion_tokens", message)

    def choose_microbatch(self, *, completion: int, group_size: int, has_reference: bool) -> None:
        """How many tokens an update computes at once: as many as there is memory for."""
        plan = Plan(
            precision=self.chosen["precision"],
            weights=self.chosen["weights"],
            has_reference=has_reference,
            prompt=self._facts.longest_prompt,
            completion=completion,
            group_size=group_size,
        )
        self.default("microbatch_tokens", *fitting_tokens(self._facts.room, plan))

    def choose_threshold(self, grader: GraderSpec | None) -> None:
        """The score from which on an answer passes."""
        if self.chosen["pass_threshold"] is None:
            own = getattr(grader, "pass_threshold", None)
            self.chosen["pass_threshold"] = 1.0 if own is None else float(own)
            self.reasons["pass_threshold"] = "a full score" if own is None else "the grader's own"

    def _wrong(self, option: str, message: str) -> InvalidRequest:
        return InvalidRequest(message, param=f"{self._where}.{option}")
