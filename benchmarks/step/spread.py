"""Medians with their range, and ratios taken round by round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest, and how many."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times ours goes into theirs, each round compared with itself: what disturbs a round disturbs both."""
    return spread([their / our for our, their in zip(ours, theirs, strict=True)])


def summarize(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rounds of one side: wall and CPU seconds with their range, the median of every phase, the peak memory."""
    names = sorted({name for answer in answers for name in answer["phases"]})
    phases = {name: statistics.median([answer["phases"].get(name, 0.0) for answer in answers]) for name in names}
    wall = spread([answer["wall"] for answer in answers])
    phases["other"] = max(0.0, wall["median"] - sum(seconds for name, seconds in phases.items() if name != "other"))
    return {
        "wall": wall,
        "cpu": spread([answer["cpu"] for answer in answers]),
        "phases": {name: seconds for name, seconds in phases.items() if seconds >= 0.0005},
        "memory": max(answer["memory"] for answer in answers),
        "tokens": answers[-1]["tokens"],
    }
