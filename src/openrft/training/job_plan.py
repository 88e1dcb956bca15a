"""The plan of a job as plain data, and what it warns of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from openrft.diagnosis.answers import GroupOutcome
from openrft.diagnosis.rehearsal import Estimate
from openrft.training.foreground import NUM_BEST_CHECKPOINTS
from openrft.training.probe import Probe

LONG_HOURS = 12.0
"""A job that takes longer is worth a warning."""

KEPT_CHECKPOINTS = NUM_BEST_CHECKPOINTS + 3  # the best of the smoothed curve, the newest evaluated one, the last

PhaseName = Literal[
    "loading", "base evaluation", "sampling", "grading", "update", "validation", "records and checkpoints", "report"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """What is expected, and how far it may be off."""

    expected: float
    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(expected=self.expected + other.expected, low=self.low + other.low, high=self.high + other.high)

    def times(self, factor: float) -> Range:
        """All three so many times as large."""
        return Range(expected=self.expected * factor, low=self.low * factor, high=self.high * factor)


def exactly(value: float) -> Range:
    """What does not depend on how long answers are."""
    return Range(expected=value, low=value, high=value)


@dataclass(frozen=True, kw_only=True, slots=True)
class GraderPlan:
    """What one grading model will read and write. The cost is None without a price."""

    model: str
    tokens: float
    cost: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetPlan:
    """A limit of the job beside what its base and its steps need. ``pause_after``: the last step that fits."""

    name: str
    limit: float
    needed: Range
    pause_after: int | None  # None: all steps fit; 0: not even the first


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """Everything that can be said of a job before it trains."""

    model: str
    parameters: int
    device: str
    num_steps: int
    rollouts: int  # in training
    evaluation_answers: int
    completion_tokens: Range  # of one answer
    tokens_sampled: Range
    tokens_trained: Range
    phases: dict[PhaseName, Range]  # seconds
    seconds: Range
    peak_bytes: float
    machine_bytes: int
    disk_bytes: Range
    disk_free_bytes: int
    grader_calls: int
    graders: list[GraderPlan]
    mean_score: Estimate | None
    outcomes: dict[GroupOutcome, int]  # of the probed prompts
    signal: Estimate | None  # share of groups with a gradient, at the job's group size
    budget: list[BudgetPlan]
    hyperparameters: dict[str, Any]
    reasons: dict[str, str]
    probe: Probe | None  # None where nothing is sampled
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"type": "plan", **asdict(self)}


def warnings_of(made: JobPlan) -> Iterator[str]:
    """What is likely to be regretted."""
    hours = made.seconds.expected / 3600
    if hours > LONG_HOURS:
        yield f"it takes about {hours:.0f} hours: fewer steps, shorter answers or a smaller group take less"
    if made.peak_bytes > 0.9 * made.machine_bytes:
        yield "memory is nearly all taken; lower max_completion_tokens, or train an adapter (weights: lora)"
    if made.disk_bytes.expected > made.disk_free_bytes:
        free, needed = made.disk_free_bytes / 1e9, made.disk_bytes.expected / 1e9
        yield f"the disk has {free:.1f} GB free, and the run needs {needed:.1f} GB"
    for one in made.budget:
        if one.name == "budget_grader_cost" and not one.needed.high:
            yield "budget_grader_cost never pauses: no model that grades has a price"
        if one.pause_after == 0:
            yield f"{one.name} is too small: not even the first step fits beside the evaluation of the base"


def existing(folder: Path) -> Path:
    """The nearest folder that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
