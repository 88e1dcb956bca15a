"""How each training example did over a run: at every step that sampled it, its mean reward and how many passed.

The visits of a job are added up from the indexes of its steps. They are kept between requests, so that a page of a run
that goes on reads the new steps only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from openrft.store.rows import SampledStep

if TYPE_CHECKING:
    from openrft.api.rollout_reading import RolloutReading
    from openrft.store.rollout_index import RolloutIndex

State = Literal["never solved", "always solved", "learned", "forgotten", "unstable", "ungraded"]

_MOST_JOBS = 8  # that are kept: one of 10,000 steps of 60 examples has some 100 MB


@dataclass(slots=True)
class ExampleVisits:
    """One example: the steps that sampled it, and what its rollouts came to at each."""

    example: str
    steps: list[int] = field(default_factory=list)
    means: list[float | None] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    graded: list[int] = field(default_factory=list)
    rollouts: int = 0

    @property
    def ungraded(self) -> int:
        """How many of its rollouts have no reward."""
        return self.rollouts - sum(self.graded)

    @property
    def mean(self) -> float | None:
        """Of all its rewards."""
        graded = sum(self.graded)
        rewards = sum(mean * count for mean, count in zip(self.means, self.graded, strict=True) if mean is not None)
        return rewards / graded if graded else None

    @property
    def state(self) -> State:
        """How its rollouts passed over the run; docs/api.md has the definitions."""
        passes, graded = sum(self.passes), sum(self.graded)
        if not graded:
            return "ungraded"
        if passes in (0, graded):
            return "never solved" if passes == 0 else "always solved"
        half = len(self.steps) // 2
        early, late = self._share(slice(None, half)), self._share(slice(len(self.steps) - half, None))
        if early is None or late is None or (early < 0.5) == (late < 0.5):
            return "unstable"
        return "learned" if late >= 0.5 else "forgotten"

    def copy(self) -> ExampleVisits:
        """As it is now: the original goes on growing."""
        return replace(self, steps=self.steps[:], means=self.means[:], passes=self.passes[:], graded=self.graded[:])

    def _share(self, visits: slice) -> float | None:
        graded = sum(self.graded[visits])
        return sum(self.passes[visits]) / graded if graded else None


class _Run:
    """The visits of one job, as far as they are added up."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.files: list[tuple[int, str | None]] = []  # of the steps that are in it
        self.examples: dict[str, ExampleVisits] = {}

    def add(self, step: int, index: RolloutIndex, passing_score: float) -> None:
        import numpy as np  # heavy, and only for those who ask for examples

        graded = ~np.isnan(index.reward)
        count = len(index.examples)

        def per_example(weights: Any) -> list[float]:
            summed: list[float] = np.bincount(index.example, weights, count).tolist()
            return summed

        sizes = per_example(np.ones(len(index)))
        numbers = per_example(graded.astype(float))
        sums = per_example(np.where(graded, index.reward, 0.0))
        passes = per_example((index.reward >= passing_score).astype(float))
        for place, name in enumerate(index.examples):
            visits = self.examples.setdefault(name, ExampleVisits(name))
            visits.steps.append(step)
            visits.means.append(sums[place] / numbers[place] if numbers[place] else None)
            visits.passes.append(round(passes[place]))
            visits.graded.append(round(numbers[place]))
            visits.rollouts += round(sizes[place])


class KeptVisits:
    """The visits of the jobs that were asked for last: one of these for each application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, _Run] = OrderedDict()

    def read(
        self, reading: RolloutReading, job_id: str, steps: Sequence[SampledStep], passing_score: float
    ) -> list[ExampleVisits]:
        """Every example of the job that ``steps``, all of its steps so far, have sampled."""
        run = self._run(job_id)
        with run.lock:
            files = [(one.step, one.rollouts) for one in steps]
            if run.files != files[: len(run.files)]:  # a step was recorded again, by another attempt
                run.files, run.examples = [], {}
            new = steps[len(run.files) :]
            for one, index in zip(new, reading.indexes(new), strict=True):
                run.add(one.step, index, passing_score)
                run.files.append((one.step, one.rollouts))
            return [visits.copy() for visits in run.examples.values()]

    def _run(self, job_id: str) -> _Run:
        with self._lock:
            run = self._runs.setdefault(job_id, _Run())
            self._runs.move_to_end(job_id)
            if len(self._runs) > _MOST_JOBS:
                self._runs.popitem(last=False)
            return run
