"""The one place where "auto" becomes a value, each with the reason that people see in the run's config."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from openrft.algorithms import ALGORITHMS
from openrft.config.graders import GraderSpec, LabelModelSpec, ScoreModelSpec, judging_parts
from openrft.config.reinforcement import AlgorithmName, ReinforcementHyperparameters
from openrft.config.spec import Spec
from openrft.errors import InvalidRequest
from openrft.training.memory import Plan, Room, fitting_tokens

SHORT_TYPE_GAIN = 1.5  # how many times as fast bfloat16 must be to be worth its rounding

NORMAL_GROUP, LARGE_GROUP = 8, 16  # completions per prompt
GROUPS_PER_UPDATE = 1

JUDGED_KL = 0.01  # weight of the penalty where a model grades

LARGEST_FULL_MODEL = 50_000_000  # parameters; above this "auto" trains an adapter


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
class Facts:
    """What the values depend on."""

    num_parameters: int
    context_tokens: int
    num_train: int  # examples
    num_valid: int
    longest_prompt: int  # tokens, over all files of the job
    room: Room
    short_type_gain: float = 1.0  # how many times as fast this machine multiplies in bfloat16
    fitting_group: int = NORMAL_GROUP  # completions per prompt, by what the untouched base solves
    fitting_reason: str = "more answers per prompt say little that other prompts would not say better"


def choose_weights(asked: Literal["full", "lora", "auto"], num_parameters: int) -> tuple[Literal["full", "lora"], str]:
    """What trains, and why."""
    if asked != "auto":
        return asked, "as given"
    if num_parameters <= LARGEST_FULL_MODEL:
        return "full", f"{num_parameters / 1e6:.1f}M parameters: small enough to train all of them"
    return "lora", f"{num_parameters / 1e6:.0f}M parameters: an adapter learns as well and needs far less memory"


def resolve(
    asked: ReinforcementHyperparameters, grader: GraderSpec, facts: Facts
) -> tuple[ReinforcementSettings, dict[str, str]]:
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
    default(
        "batch_size", min(8, facts.num_train), "enough to sample at a time, few enough to be sampled from a new policy"
    )
    _choose_groups(default, chosen, asked.algorithm, facts)
    _choose_bounds(default, asked.algorithm, grader)
    _choose_length(chosen, reasons, facts)
    _choose_rate(chosen, reasons, facts)
    steps = chosen["num_steps"]
    default(
        "warmup_steps",
        min(steps - 1, max(1, min(10, max(4, steps // 20), steps // 4))),
        "5 % of the steps, 4 to 10, at most a quarter: Adam's first steps ignore the gradient's size",
    )
    choose_precision(default, facts)
    _choose_watch(default, chosen, asked, facts)
    room = facts.context_tokens - facts.longest_prompt
    default(
        "max_completion_tokens", max(1, min(1024, room)), f"1024, or what the context of {facts.context_tokens} leaves"
    )
    if chosen["max_completion_tokens"] > room:
        raise InvalidRequest(
            f"max_completion_tokens is {chosen['max_completion_tokens']}, but the longest prompt has "
            f"{facts.longest_prompt} tokens and the model's context {facts.context_tokens}; use at most {room}",
            param="method.reinforcement.hyperparameters.max_completion_tokens",
        )
    _choose_microbatch(default, chosen, facts)
    if chosen["warmup_steps"] >= steps:
        raise InvalidRequest(
            f"warmup_steps is {chosen['warmup_steps']} of {steps} steps: the learning rate would never reach its peak",
            param="method.reinforcement.hyperparameters.warmup_steps",
        )
    if chosen["pass_threshold"] is None:
        threshold = getattr(grader, "pass_threshold", None)
        chosen["pass_threshold"] = 1.0 if threshold is None else float(threshold)
        reasons["pass_threshold"] = "a full score" if threshold is None else "the grader's own"
    return ReinforcementSettings(**chosen), reasons


def _choose_groups(
    default: Callable[[str, object, str], None], chosen: dict[str, Any], algorithm: AlgorithmName, facts: Facts
) -> None:
    """What is sampled and compared at a time, how much of it makes an update, and in which order prompts come."""
    multiplier = chosen.pop("compute_multiplier", 1.0)
    default(
        "group_size",
        min(256, max(2, round(facts.fitting_group * multiplier))),
        facts.fitting_reason if multiplier == 1 else f"{facts.fitting_group} x compute_multiplier {multiplier:g}",
    )
    if ALGORITHMS[algorithm].bounds:
        many = "many small updates learn more from each completion than few large ones"
        default("groups_per_update", GROUPS_PER_UPDATE, many)
    else:
        default("groups_per_update", chosen["batch_size"], f"{algorithm} is for what the present policy has sampled")
    default("prompt_order", "adaptive", "prompts whose answers all get one grade teach nothing, and wait")


def _choose_watch(
    default: Callable[[str, object, str], None],
    chosen: dict[str, Any],
    asked: ReinforcementHyperparameters,
    facts: Facts,
) -> None:
    """How often and how closely the run is watched, and whether it may end early."""
    is_length_given = asked.num_steps != "auto" or asked.n_epochs != "auto"
    why = f"the length of training is {'' if is_length_given else 'not '}given"
    default("early_stopping", not is_length_given, why)
    default("eval_interval", max(1, math.ceil(chosen["num_steps"] / 10)), "ten validations over the run")
    samples = 4 if facts.num_valid <= 100 else 2 if facts.num_valid <= 300 else 1
    default("eval_samples", samples, f"{facts.num_valid} validation examples: more examples need fewer samples each")
    default("checkpoint_interval", chosen["eval_interval"], "one at every validation")


def choose_precision(default: Callable[[str, object, str], None], facts: Facts) -> None:
    """What products are computed in: the short type where this machine gains from it."""
    gain = f"this machine multiplies {facts.short_type_gain:.1f} times as fast in bfloat16"
    if facts.short_type_gain < SHORT_TYPE_GAIN:
        default("precision", "float32", gain)
    else:
        default("precision", "bfloat16", f"{gain}; weights, norms and softmax stay float32")


def _choose_bounds(default: Callable[[str, object, str], None], algorithm: AlgorithmName, grader: GraderSpec) -> None:
    """How far a step, and the whole run, may go from where it began."""
    bounds = ALGORITHMS[algorithm].bounds
    for name in ("clip_low", "clip_high"):
        default(name, bounds.get(name), f"{algorithm}'s own" if name in bounds else f"{algorithm} has no such bound")
    if any(isinstance(part, ScoreModelSpec | LabelModelSpec) for part in judging_parts(grader)):
        default("kl_beta", JUDGED_KL, "a model grades: what it likes too well lies far from the base")
    else:
        default("kl_beta", 0.0, "no model grades, so the reward is what is wanted; no reference takes memory or time")


def _choose_microbatch(default: Callable[[str, object, str], None], chosen: dict[str, Any], facts: Facts) -> None:
    plan = Plan(
        precision=chosen["precision"],
        weights=chosen["weights"],
        has_reference=chosen["kl_beta"] > 0,
        prompt=facts.longest_prompt,
        completion=chosen["max_completion_tokens"],
        group_size=chosen["group_size"],
    )
    default("microbatch_tokens", *fitting_tokens(facts.room, plan))


def _choose_length(chosen: dict[str, Any], reasons: dict[str, str], facts: Facts) -> None:
    """Steps from epochs, or both from the size of the data."""
    batch = chosen["batch_size"]
    if batch > facts.num_train:
        raise InvalidRequest(
            f"batch_size is {batch}, but there are only {facts.num_train} training examples; use at most that many",
            param="method.reinforcement.hyperparameters.batch_size",
        )
    if "n_epochs" in chosen:
        chosen["num_steps"] = math.ceil(chosen["n_epochs"] * facts.num_train / batch)
        reasons["num_steps"] = "n_epochs passes over the training file"
    elif "num_steps" not in chosen:
        chosen["num_steps"] = min(400, max(40, math.ceil(12 * facts.num_train / batch)))
        reasons["num_steps"] = "12 passes over the training file, between 40 and 400 steps"
    chosen["n_epochs"] = chosen["num_steps"] * batch / facts.num_train


def _choose_rate(chosen: dict[str, Any], reasons: dict[str, str], facts: Facts) -> None:
    """Learning rate by model size: log-linear between rates that work at 1M and at 1B-8B parameters."""
    multiplier = chosen.pop("learning_rate_multiplier", 1.0)
    if "learning_rate" in chosen:
        return
    size = facts.num_parameters
    if chosen["weights"] == "full":
        rate = min(3e-4, max(1e-6, 2e-6 * (1e9 / size) ** 0.7255))
    else:
        rate = min(2e-3, max(2e-5, 4e-5 * (4e9 / size) ** 0.472))
    chosen["learning_rate"] = rate * multiplier
    reasons["learning_rate"] = (
        f"{rate:.2g} for {chosen['weights']} training at {size / 1e6:.1f}M parameters x {multiplier:g}"
    )
