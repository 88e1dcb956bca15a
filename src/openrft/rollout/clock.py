"""Where a loop's wall time goes: every moment belongs to exactly one phase, so the phases add up to the whole.

    with clock.phase("update"): …                               the block's seconds are the update's
    for completion in clock.each("sampling", completions):      those in which the next one is made are sampling
        with clock.phase("grading"): …                          a phase within a phase interrupts it
    clock.take()                                                seconds by phase since the last take

What is in no phase is "other".
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

from openrft.types import Grade, Grader, GradingRequest

Phase = Literal[
    "sampling",  # the engine computes completions
    "grading",  # a grader computes in the loop's own thread
    "waiting",  # for grades, after the last completion was there
    "outage",  # of a grader: until it is back
    "update",  # tensors, forward, backward, optimizer step, weights to the engine
    "evaluation",  # of held-out rows
    "record",  # a step's rollouts, metrics and events are written
    "checkpoint",
    "report",  # the end of a run: test rows, export, report
    "other",  # credit, metrics, and whatever else there is between these
]

_T = TypeVar("_T")


class PhaseClock:
    """A stop watch with phases, for one thread.

    ``now`` gives seconds from any fixed moment. ``on_span(phase, began, ended)`` hears of every phase that is over,
    interruptions included.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.perf_counter,
        on_span: Callable[[Phase, float, float], None] | None = None,
    ) -> None:
        self._now = now
        self._on_span = on_span
        self._seconds: defaultdict[Phase, float] = defaultdict(float)
        self._phase: Phase | None = "other"  # None: paused
        self._since = now()

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """The block's seconds are ``name``'s, apart from those of phases and pauses inside it."""
        outer = self._turn_to(name)
        began = self._since
        try:
            yield
        finally:
            self._turn_to(outer)
            self._tell(name, began)

    def each(self, name: Phase, things: Iterable[_T]) -> Iterator[_T]:
        """``things``; the seconds in which one of them is made are ``name``'s, those in which it is used are not."""
        iterator, began = iter(things), self._now()
        try:
            while True:
                with self._silent_phase(name):
                    try:
                        thing = next(iterator)
                    except StopIteration:
                        return
                yield thing
        finally:
            self._tell(name, began)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The block's seconds are nobody's: what is measured must not hold what measuring costs."""
        with self._silent_phase(None):
            yield

    def take(self) -> defaultdict[Phase, float]:
        """Seconds of every phase since the last take; a phase that there was not has 0."""
        self._turn_to(self._phase)
        seconds, self._seconds = self._seconds, defaultdict(float)
        return seconds

    @contextmanager
    def _silent_phase(self, name: Phase | None) -> Iterator[None]:
        outer = self._turn_to(name)
        try:
            yield
        finally:
            self._turn_to(outer)

    def _turn_to(self, phase: Phase | None) -> Phase | None:
        """End the present phase here and begin ``phase``; the one that ended."""
        now = self._now()
        if self._phase is not None:
            self._seconds[self._phase] += now - self._since
        before, self._phase, self._since = self._phase, phase, now
        return before

    def _tell(self, name: Phase, began: float) -> None:
        if self._on_span is not None:
            self._on_span(name, began, self._since)


class WatchedGrader:
    """A :class:`~openrft.types.Grader` that tells of every batch: when it began, when it ended, how many answers.

    ``on_batch`` is called in the thread that graded.
    """

    def __init__(self, grader: Grader, on_batch: Callable[[float, float, int], None]) -> None:
        self._grader, self._on_batch = grader, on_batch

    @property
    def name(self) -> str:
        """That of the grader."""
        return self._grader.name

    @property
    def is_inline(self) -> bool:
        """Whether the grader is."""
        return self._grader.is_inline

    def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
        """What the grader says."""
        began = time.perf_counter()
        grades = self._grader.grade(requests)
        self._on_batch(began, time.perf_counter(), len(requests))
        return grades

    def close(self) -> None:
        """Close the grader."""
        self._grader.close()
