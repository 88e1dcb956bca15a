"""A run so far, as far as the rules look back: its first steps, its latest ones, its evaluations. Bounded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openrft.diagnosis.watch.decline import mean_of

WINDOW = 8  # steps that are looked at together: one step is eight prompts or so, and says little by itself
_KEPT_STEPS = 4 * WINDOW
_KEPT_PASSES = 12

Row = Mapping[str, float | None]
"""A step's metrics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a run is, as far as rules need to know."""

    num_train: int
    batch_size: int
    passing_score: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Facts:
        """From a run's ``config.json``."""
        settings = config["hyperparameters"]
        return cls(
            num_train=config["files"]["training_file"]["rows"],
            batch_size=settings["batch_size"],
            passing_score=settings["pass_threshold"] - 1e-9,  # scores are sums of floats
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationPass:
    """One pass over the validation examples: the mean score of each, by the grader and by the monitor grader."""

    step: int
    scores: Mapping[str, float]
    monitored: Mapping[str, float] = field(default_factory=dict)
    train_reward: float | None = None  # mean over the latest steps when it was made

    @classmethod
    def from_json(cls, evaluation: Mapping[str, Any]) -> ValidationPass:
        """From an evaluation as the run's folder keeps it. Rows with the same content are one example."""
        scores: dict[str, list[float]] = {}
        monitored: dict[str, list[float]] = {}
        for row in evaluation["rows"]:
            scores.setdefault(row["example_id"], []).extend(_known(row["scores"]))
            monitor = [grade["score"] for grade in row.get("monitor_grades", [])]
            monitored.setdefault(row["example_id"], []).extend(_known(monitor))
        return cls(step=evaluation["step"], scores=_means(scores), monitored=_means(monitored))


class History:
    """What the rules look at. Steps count from 1; step 0, the untouched base, has an evaluation only."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.step = -1
        self.base: ValidationPass | None = None
        self.base_pass_share: float | None = None
        self.passes: deque[ValidationPass] = deque(maxlen=_KEPT_PASSES)  # the latest, the base's not among them
        self._early: list[Row] = []
        self._late: deque[Row] = deque(maxlen=_KEPT_STEPS)
        self._low, self._high = 0.0, 1.0

    def add(self, row: Row, validation: ValidationPass | None) -> None:
        """The next step, in order."""
        self.step = int(row["step"] or 0)
        if self.step > 0:
            self._late.append(row)
            if len(self._early) < WINDOW:
                self._early.append(row)
            reward = _number(row, "reward/mean")
            if reward is not None:
                self._low, self._high = min(self._low, reward), max(self._high, reward)
        if validation is None:
            return
        for score in validation.scores.values():
            self._low, self._high = min(self._low, score), max(self._high, score)
        if self.step == 0:
            self.base, self.base_pass_share = validation, _number(row, "valid/pass_share")
        else:
            reward = self.late("reward/mean")
            self.passes.append(
                ValidationPass(
                    step=validation.step,
                    scores=validation.scores,
                    monitored=validation.monitored,
                    train_reward=reward,
                )
            )

    @property
    def scale(self) -> float:
        """The width of the range that scores live in: 0…1 and all means that were seen beyond."""
        return self._high - self._low

    @property
    def lowest(self) -> float:
        """The lower end of that range."""
        return self._low

    @property
    def all_passes(self) -> list[ValidationPass]:
        """The base's evaluation and the latest ones, oldest first."""
        return [*([self.base] if self.base else []), *self.passes]

    @property
    def names(self) -> list[str]:
        """The metrics of the latest step."""
        return list(self._late[-1]) if self._late else []

    def has_returned(self, count: int = _KEPT_STEPS) -> bool:
        """Whether the guard has put the policy back within the latest ``count`` steps, which moves every score."""
        returns = self.values_or_zero("guard/returns", count)
        return bool(returns) and returns[0] != returns[-1]

    @property
    def shown_twice(self) -> bool:
        """Whether every training prompt has likely been seen twice: the next rewards are of prompts trained on."""
        return self.step * self.facts.batch_size >= 2 * self.facts.num_train

    def values(self, name: str, count: int = WINDOW, *, skip: int = 0) -> list[float] | None:
        """The latest ``count`` values, leaving out the newest ``skip`` steps; None where one is missing."""
        rows = list(self._late)[: len(self._late) - skip][-count:]
        found = [value for row in rows if (value := _number(row, name)) is not None]
        return found if len(found) == count else None

    def values_or_zero(self, name: str, count: int) -> list[float]:
        """The latest ``count`` values of a metric that is recorded only where it is not zero."""
        return [_number(row, name) or 0.0 for row in list(self._late)[-count:]]

    def late(self, name: str, count: int = WINDOW, *, skip: int = 0) -> float | None:
        """Their mean."""
        return _mean(self.values(name, count, skip=skip))

    def late_known(self, name: str, count: int = WINDOW) -> float | None:
        """The mean over those of the latest ``count`` steps that have a value: at least half of them."""
        rows = list(self._late)[-count:]
        found = [value for row in rows if (value := _number(row, name)) is not None]
        return _mean(found) if 2 * len(found) >= count else None

    def early(self, name: str) -> float | None:
        """The mean over the first steps, once they are all there and the latest are others."""
        return _mean(self.early_values(name))

    def early_values(self, name: str) -> list[float] | None:
        """The values of the first steps, once they are all there; None where most are missing."""
        found = [value for row in self._early if (value := _number(row, name)) is not None]
        return found if len(self._early) == WINDOW and 2 * len(found) >= WINDOW else None

    @property
    def has_gained(self) -> bool:
        """Whether training has brought anything: by its rewards, or by validation.

        The latest rewards are compared with the first ones and with the base's score, whichever is lower. Where prompts
        are picked for being hard, rewards hardly rise, and only validation shows it.
        """
        least, base = 0.1 * self.scale, self.base_mean
        if base is not None and self.passes and mean_of(self.passes[-1].scores) > base + least:
            return True
        reward, first = self.late("reward/mean"), self.early("reward/mean")
        if reward is None or first is None:
            return False
        return reward > (first if base is None else min(first, base)) + least

    @property
    def base_mean(self) -> float | None:
        """The untouched base's score on the validation examples."""
        return mean_of(self.base.scores) if self.base and self.base.scores else None


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value is None or not math.isfinite(value) else float(value)


def _mean(values: list[float] | None) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _known(scores: list[float | None]) -> list[float]:
    return [score for score in scores if score is not None]


def _means(scores: Mapping[str, list[float]]) -> dict[str, float]:
    return {example: math.fsum(found) / len(found) for example, found in scores.items() if found}
