"""Whether scores of validation passes have fallen, told apart from the luck of the best of many passes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

BASE_ERRORS = 3.25  # paired standard errors below the untouched base, which nobody chose
BEST_ERRORS = 4.5  # below the best pair of passes, which is the best for having been lucky as well
_FEWEST = 5  # examples


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """The mean difference between two passes on the examples that both graded, and its standard error."""

    mean: float
    error: float

    def is_fall(self, least: float, errors: float) -> bool:
        """Whether it is a fall by more than ``least`` and more than so many standard errors."""
        return self.mean < -max(least, errors * self.error)

    def is_rise(self, least: float, errors: float) -> bool:
        """The same upward."""
        return self.mean > max(least, errors * self.error)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decline:
    """How far the two latest passes are below where the scores once were."""

    since: int  # the step of what they are compared with
    before: float
    now: float


Scores = Mapping[str, float]
"""Mean score of each example."""


def change(before: Scores, after: Scores) -> Change | None:
    """Paired by example; None of fewer than five examples."""
    differences = [after[example] - score for example, score in before.items() if example in after]
    count = len(differences)
    if count < _FEWEST:
        return None
    mean = math.fsum(differences) / count
    # As if one more example had changed by the whole range: that no example differs is no certainty.
    squares = math.fsum((difference - mean) ** 2 for difference in differences) + 1.0 / count
    return Change(mean=mean, error=math.sqrt(squares / (count - 1) / count))


def mean_of(scores: Scores) -> float:
    """Over all examples; 0 of none."""
    return math.fsum(scores.values()) / len(scores) if scores else 0.0


def find_decline(passes: Sequence[tuple[int, Scores]], least: float) -> Decline | None:
    """Whether the two latest of ``passes`` (step, scores), taken together, have fallen by more than ``least`` and luck.

    They are compared with the untouched base (step 0), and with the best two passes running before them.
    """
    if len(passes) < 3:
        return None
    now = _together(passes[-2][1], passes[-1][1])
    references = [(step, scores, BASE_ERRORS) for step, scores in passes[:1] if step == 0]
    pairs = [(second[0], _together(first[1], second[1])) for first, second in pairwise(passes[:-2]) if first[0] > 0]
    if pairs:
        references.append((*max(pairs, key=lambda pair: mean_of(pair[1])), BEST_ERRORS))
    for step, scores, errors in sorted(references, key=lambda one: -mean_of(one[1])):
        fall = change(scores, now)
        if fall is not None and fall.is_fall(least, errors):
            return Decline(since=step, before=mean_of(scores), now=mean_of(now))
    return None


def _together(first: Scores, second: Scores) -> dict[str, float]:
    return {example: (score + second[example]) / 2 for example, score in first.items() if example in second}
