"""When training has nothing more to give, as far as a run's metrics can say. Pure, like the guard.

Decided on validations, never on test rows, so that the report's figures stay untouched by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from openrft.evaluation.selection import smoothed_means
from openrft.training.guard import Observation

PATIENCE = 5
"""Validations in a row that may bring nothing."""
LEAST_GAIN = 0.01
"""What counts as something, in the unit of the scores."""
LEARNED = 0.99
"""Mean score from which on training and validation rows are learned, of scores that end at 1."""
NO_SIGNAL = 0.95
"""Share of groups without a signal from which on steps change next to nothing,"""
HIGH_REWARD = 0.9
"""where their mean reward is above this; with a lower one, other prompts may have a signal yet."""
LAST_STEPS = 10
"""Over how many steps the training rows are judged."""

_ROUNDING = 1e-9


def why_stop(evaluated: Sequence[Observation], recent: Sequence[Observation]) -> str | None:
    """Why training ends with the last of ``evaluated``, in words with figures; None where it goes on.

    ``evaluated``: the validations that the present weights descend from, the base's first. ``recent``: the last steps,
    the present one included.
    """
    if len(evaluated) < 2:
        return None
    return _nothing_left(evaluated[-1], recent[-LAST_STEPS:]) or _fallen_twice(evaluated) or _no_gain(evaluated)


def _nothing_left(last: Observation, steps: Sequence[Observation]) -> str | None:
    reward, silent = _mean(one.reward for one in steps), _mean(one.silent_share for one in steps)
    if reward is None or steps[-1].reward_is_loss:
        return None
    if last.valid is not None and min(reward, last.valid) >= LEARNED and max(reward, last.valid) <= 1.0 + _ROUNDING:
        return f"nothing is left to learn: the reward is {reward:.3f} in training and {last.valid:.3f} on validation"
    if len(steps) == LAST_STEPS and silent is not None and silent > NO_SIGNAL and reward > HIGH_REWARD:
        return (
            f"nothing is left to learn: {silent:.0%} of the groups of the last {LAST_STEPS} steps had no signal, "
            f"at a mean reward of {reward:.3f}"
        )
    return None


def _fallen_twice(evaluated: Sequence[Observation]) -> str | None:
    last_two = evaluated[-2:]
    if not all(one.has_valid_fallen for one in last_two):
        return None
    falls = " and ".join(f"{one.valid_fall:.3f}" for one in last_two)
    return f"validation is below its best twice in a row, by {falls}"


def _no_gain(evaluated: Sequence[Observation]) -> str | None:
    """The smoothed curve that the choice of a checkpoint reads, too."""
    means = [one.valid for one in evaluated if one.valid is not None]
    if len(means) <= PATIENCE:
        return None
    smoothed = smoothed_means(means)
    before, since = max(smoothed[:-PATIENCE]), max(smoothed[-PATIENCE:])
    if since >= before + LEAST_GAIN:
        return None
    if evaluated[-1].valid_is_loss:
        return f"validation loss has not fallen by {LEAST_GAIN} below {-before:.3f} in {PATIENCE} validations"
    return f"validation has not risen by {LEAST_GAIN} above {before:.3f} in {PATIENCE} validations"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
