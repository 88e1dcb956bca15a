"""When a policy has collapsed, as far as a run's metrics can say. Pure: metrics in, a sentence or nothing out.

A policy is put back only on evidence that noise does not give. One sign alone is noise: a batch of hard prompts, a
rare success with a large gradient, the low entropy of a task that is solved. So it takes

    a loss or gradient that is not finite, or
    validation far below its best twice running, or
    a training reward far below its best, and a second sign: validation, entropy, gradient, size of step, no signal, or
    an entropy (or size of step) out of bounds while nothing has been gained.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WINDOW = 5
"""Steps that are averaged before they are compared."""
HISTORY = 200
"""Steps that are looked back upon: a slower decline is a matter for early stopping."""

FALL_SHARE = 0.1  # of the rewards' range, that a fall of the training reward has to exceed,
FALL_ERRORS = 5.0  # and how many of its standard errors: the best of many windows lies two or three above its mean
VALIDATION_FALL, VALIDATION_ERRORS = 0.02, 1.5  # a fall of validation that is a sign beside another
FAR_FALL, FAR_ERRORS = 0.05, 3.0  # one that needs no other, when it is seen twice running
LOW_ENTROPY, HIGH_ENTROPY = 0.1, 2.0  # as shares of the entropy at the start
LARGE_GRADIENT = 10.0  # times the median of those before; in at least
LARGE_GRADIENTS = 3  # of the last ``WINDOW`` steps
LARGE_STEP = 0.1  # nats a token between the policy that sampled a step and the one that its last updates began with
NO_SIGNAL = 0.95  # share of groups whose rewards are all equal
SOLVED = 0.9  # share of the rewards' range from which low entropy and silent groups are what one expects

DIVERGED = "the loss or its gradient was not a finite number"

_MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What the guard and early stopping read of a step. Higher scores are better: of a loss it is the negative."""

    step: int
    reward: float | None = None  # in training
    valid: float | None = None
    valid_fall: float | None = None  # below the best validation before it, on the same rows
    valid_fall_error: float = 0.0  # its paired standard error
    entropy: float | None = None
    gradient_norm: float | None = None
    step_kl: float | None = None
    silent_share: float | None = None
    has_diverged: bool = False
    reward_is_loss: bool = False  # it is a loss with the sign changed, which has no range
    valid_is_loss: bool = False

    @property
    def has_valid_fallen(self) -> bool:
        """Whether validation is below its best by more than noise of its usual size."""
        return self.valid_fell_by(VALIDATION_FALL, VALIDATION_ERRORS)

    def valid_fell_by(self, amount: float, errors: float) -> bool:
        """Whether validation is below its best by more than both, the second in standard errors."""
        return self.valid_fall is not None and self.valid_fall > max(amount, errors * self.valid_fall_error)


def observe(step: int, metrics: Mapping[str, Any]) -> Observation:
    """What matters of a step's recorded metrics."""

    def read(name: str) -> float | None:
        value = metrics.get(name)
        return None if value is None or not math.isfinite(value) else float(value)

    def read_loss(name: str) -> float | None:
        loss = read(name)
        return None if loss is None else -loss

    is_supervised, valid = "train/loss" in metrics, read("valid/reward_mean")
    return Observation(
        step=step,
        reward=read_loss("train/loss") if is_supervised else read("reward/mean"),
        valid=read_loss("valid/loss") if valid is None else valid,
        valid_fall=read("valid/worse_than_best"),
        valid_fall_error=read("valid/worse_than_best_error") or 0.0,
        entropy=read("policy/entropy"),
        gradient_norm=read("optimizer/gradient_norm"),
        step_kl=read("policy/k3_to_sampler"),
        silent_share=read("groups/no_signal_share"),
        has_diverged=bool(metrics.get("optimizer/diverged")),
        reward_is_loss=is_supervised,
        valid_is_loss=valid is None and "valid/loss" in metrics,
    )


def find_collapse(
    start: Sequence[Observation], recent: Sequence[Observation], evaluated: Sequence[Observation]
) -> str | None:
    """Why the policy has to go back, in words with figures; None where it need not.

    ``start``: the first ``WINDOW`` steps of the run. ``recent``: at most ``HISTORY`` steps up to the present one, none
    of them before the last time that it went back. ``evaluated``: the validations that the present weights descend
    from, the base's first.
    """
    if recent[-1].has_diverged:
        return DIVERGED
    since = [one for one in evaluated if one.step >= recent[0].step]
    if since and since[-1].step == recent[-1].step and (sentence := _far_below_twice(since)):
        return sentence
    if len(recent) < 2 * WINDOW:
        return None
    second = [sign for sign in (_validation(since), *_signs(start, recent)) if sign]
    if second and (fall := _reward_fall(recent)):
        return f"{fall}; {'; '.join(second)}"
    unstable = [sign for sign in (_entropy(start, recent), _step_size(recent)) if sign]
    if unstable and _nothing_gained(start, recent, evaluated):
        return f"{'; '.join(unstable)}; and neither training nor validation is above where it began"
    return None


def _far_below_twice(since: Sequence[Observation]) -> str | None:
    last_two = since[-2:]
    if last_two[-1].valid_is_loss:
        return None  # too much of the same rows makes it rise: a matter for early stopping
    if len(last_two) < 2 or not all(one.valid_fell_by(FAR_FALL, FAR_ERRORS) for one in last_two):
        return None
    falls = " and ".join(f"{one.valid_fall:.3f} (step {one.step})" for one in last_two)
    return f"validation fell twice running far below its best: by {falls}"


def _reward_fall(recent: Sequence[Observation]) -> str | None:
    """The mean of the last steps against the best such mean before, in robust standard errors.

    The noise of a step comes from the median of the differences between neighbours, which neither the fall nor the
    rise before it makes larger.
    """
    rewards = [one.reward for one in recent if one.reward is not None]
    if len(rewards) < 2 * WINDOW:
        return None
    means = _moving_means(rewards)
    best, last = max(means[:-WINDOW]), means[-1]
    steps = [abs(after - before) for before, after in itertools.pairwise(rewards)]
    noise = _MAD_TO_SIGMA * statistics.median(steps) / math.sqrt(2)
    error = noise * math.sqrt(2 / WINDOW)
    if best - last <= max(FALL_SHARE * _range(recent), FALL_ERRORS * error):
        return None
    if recent[-1].reward_is_loss:
        return f"the training loss rose from {-best:.3f} to {-last:.3f} (means of {WINDOW} steps)"
    return f"the training reward fell from {best:.3f} to {last:.3f} (means of {WINDOW} steps)"


def _validation(since: Sequence[Observation]) -> str | None:
    if not since or not since[-1].has_valid_fallen:
        return None
    return f"validation is {since[-1].valid_fall:.3f} below its best"


def _signs(start: Sequence[Observation], recent: Sequence[Observation]) -> list[str | None]:
    return [_entropy(start, recent), _gradients(recent), _step_size(recent), _no_signal(start, recent)]


def _entropy(start: Sequence[Observation], recent: Sequence[Observation]) -> str | None:
    before = _mean(one.entropy for one in start)
    last = [one.entropy for one in recent[-3:] if one.entropy is not None]
    if not before or len(last) < 3:
        return None
    if min(last) > HIGH_ENTROPY * before:
        return f"the entropy rose from {before:.3f} to {last[-1]:.3f}"
    if max(last) < LOW_ENTROPY * before and not _is_solved(recent):
        return f"the entropy fell from {before:.3f} to {last[-1]:.4f}"
    return None


def _gradients(recent: Sequence[Observation]) -> str | None:
    norms = [one.gradient_norm for one in recent if one.gradient_norm is not None]
    before, last = norms[:-WINDOW], norms[-WINDOW:]
    if len(before) < WINDOW:
        return None
    usual = statistics.median(before)
    large = sum(norm > LARGE_GRADIENT * usual for norm in last)
    if not usual or large < LARGE_GRADIENTS:
        return None
    return f"{large} of the last {WINDOW} gradients are over {LARGE_GRADIENT:.0f} times the usual {usual:.3g}"


def _step_size(recent: Sequence[Observation]) -> str | None:
    last = [one.step_kl for one in recent[-3:] if one.step_kl is not None]
    if len(last) < 3 or min(last) <= LARGE_STEP:
        return None
    return f"the last updates moved the policy by {last[-1]:.2f} nats a token"


def _no_signal(start: Sequence[Observation], recent: Sequence[Observation]) -> str | None:
    before = _mean(one.silent_share for one in start)
    now = _mean(one.silent_share for one in recent[-WINDOW:])
    if before is None or now is None or before >= NO_SIGNAL or now < NO_SIGNAL or _is_solved(recent):
        return None
    return f"{now:.0%} of the groups have no signal left"


def _nothing_gained(
    start: Sequence[Observation], recent: Sequence[Observation], evaluated: Sequence[Observation]
) -> bool:
    began, now = _mean(one.reward for one in start), _mean(one.reward for one in recent[-WINDOW:])
    is_valid_gained = len(evaluated) > 1 and (evaluated[-1].valid or 0.0) > (evaluated[0].valid or 0.0)
    return began is not None and now is not None and now <= began and not is_valid_gained


def _is_solved(recent: Sequence[Observation]) -> bool:
    now = _mean(one.reward for one in recent[-WINDOW:])
    return now is not None and not recent[-1].reward_is_loss and now >= SOLVED * _range(recent)


def _range(recent: Sequence[Observation]) -> float:
    """How far rewards reach: 1 for those within 0…1, else as far as the means that were seen. A loss: its start."""
    rewards = [one.reward for one in recent if one.reward is not None]
    if recent[-1].reward_is_loss:
        return abs(rewards[0]) if rewards else 1.0
    return max(1.0, *rewards) - min(0.0, *rewards) if rewards else 1.0


def _moving_means(values: Sequence[float]) -> list[float]:
    return [math.fsum(values[i : i + WINDOW]) / WINDOW for i in range(len(values) - WINDOW + 1)]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
