"""``openrft run --profile``: a trace of a whole run, and of a few steps every operator that torch ran.

    profile/
    ├── trace.json                  the run's phases and every batch of grades as spans on lanes (all steps, cheap)
    ├── operators-step-000012.json  one step, operator by operator; such a step is slower than the others
    ├── operators.txt               the operators of these steps that took longest, as tables
    └── steps.svg                   seconds of every step by phase

The JSON files are Chrome traces: https://ui.perfetto.dev opens them. A run without a profile has none of this code in
its way: grader and method are wrapped to be watched, and the loop knows nothing of it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch.profiler import ProfilerActivity, profile

from openrft.evaluation.time_spent import draw_steps
from openrft.models.load import Policy
from openrft.rollout.clock import Phase, PhaseClock, WatchedGrader
from openrft.training.batch import Microbatch
from openrft.training.loop import Batch, Method
from openrft.training.update import LossSums
from openrft.types import Grader

_OPERATORS_SHOWN = 30  # per step, in operators.txt
_STEPS = "steps"
_LANES = (_STEPS, *get_args(Phase))  # from top to bottom; threads that grade come below


class Trace:
    """Spans on lanes, from any thread, as a Chrome trace."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._spans: list[tuple[str, str, float, float, Mapping[str, Any]]] = []

    def add(self, lane: str, name: str, began: float, ended: float, **facts: Any) -> None:
        """A span from ``began`` to ``ended``, in seconds of the clock that gave the trace's beginning."""
        self._spans.append((lane, name, began, ended, facts))  # of a list, this is safe from many threads

    def as_json(self) -> dict[str, Any]:
        """The trace event format: complete events (``X``) in microseconds, and the names of the lanes (``M``)."""
        process = os.getpid()
        used = {lane for lane, *_ in self._spans}
        lanes = [lane for lane in _LANES if lane in used] + sorted(used - set(_LANES))
        events: list[dict[str, Any]] = []
        for number, lane in enumerate(lanes, start=1):
            place = {"ph": "M", "pid": process, "tid": number, "ts": 0}
            events.append({**place, "name": "thread_name", "args": {"name": lane}})
            events.append({**place, "name": "thread_sort_index", "args": {"sort_index": number}})
        for lane, name, began, ended, facts in self._spans:
            events.append(
                {
                    "name": name,
                    "cat": lane,
                    "ph": "X",
                    "ts": round((began - self._began) * 1e6, 3),
                    "dur": round((ended - began) * 1e6, 3),
                    "pid": process,
                    "tid": lanes.index(lane) + 1,
                    "args": dict(facts),
                }
            )
        return {"displayTimeUnit": "ms", "traceEvents": events}


class Profile:
    """What ``--profile`` watches of one attempt of a run, and writes at its end."""

    def __init__(self, folder: Path, *, num_operator_steps: int, tell: Callable[[str], None]) -> None:
        """``num_operator_steps``: how many steps in the middle of the attempt are traced operator by operator."""
        self.folder = folder
        self._num_operator_steps = num_operator_steps
        self._tell = tell
        self._trace = Trace(time.perf_counter())
        self.clock = PhaseClock(on_span=self._add_phase)
        self._operator_steps = range(0)
        self._profiler: profile | None = None
        self._profiled: list[tuple[int, profile]] = []
        self._step_began = 0.0
        folder.mkdir(exist_ok=True)
        for path in folder.glob("operators*"):  # of an attempt before this one; the other files are overwritten
            path.unlink()

    def watch_grader(self, grader: Grader) -> Grader:
        """``grader``, with a span for every batch that it grades, on the lane of the thread that grades."""

        def on_batch(began: float, ended: float, answers: int) -> None:
            lane = "grading" if grader.is_inline else threading.current_thread().name
            self._trace.add(lane, grader.name, began, ended, answers=answers)

        return WatchedGrader(grader, on_batch)

    def watch_steps(self, method: Method, next_step: int, num_steps: int) -> Method:
        """``method``, with a span for every step from ``next_step`` (0-based) to the last, ``num_steps``."""
        count = min(self._num_operator_steps, num_steps - next_step)
        first = next_step + 1 + (num_steps - next_step - count + 1) // 2
        self._operator_steps = range(first, first + count)
        return _WatchedMethod(method, self)

    def begin_step(self, step: int) -> None:
        """The 1-based ``step`` begins."""
        with self.clock.paused():
            if step in self._operator_steps:
                if step == self._operator_steps[0]:
                    with _profiler():  # the first profiler of a process sets itself up, which is no operator's time
                        torch.ones(1).add_(1)
                self._profiler = _profiler()
                self._profiler.start()
        self._step_began = time.perf_counter()

    def end_step(self, step: int) -> None:
        """The 1-based ``step`` is over."""
        self._trace.add(_STEPS, f"step {step}", self._step_began, time.perf_counter(), step=step)
        if self._profiler is not None:
            with self.clock.paused():
                self._profiler.stop()
                self._profiled.append((step, self._profiler))
                self._profiler = None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what was seen, also of an attempt that failed; ``rows`` are the metrics of the run's steps."""
        if self._profiler is not None:  # a step failed under it
            self._profiler.stop()
        (self.folder / "trace.json").write_text(json.dumps(self._trace.as_json()), encoding="utf-8")
        draw_steps(rows, self.folder / "steps.svg")
        if not self._profiled:
            return
        steps = ", ".join(str(step) for step, _ in self._profiled)
        self._tell(f"writing the operators of step {steps}, which torch's profiler slowed down")
        tables = []
        for step, profiler in self._profiled:
            profiler.export_chrome_trace(str(self.folder / f"operators-step-{step:06d}.json"))
            table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=_OPERATORS_SHOWN)
            tables.append(f"step {step}\n\n{table}\n")
        (self.folder / "operators.txt").write_text("\n".join(tables), encoding="utf-8")

    def _add_phase(self, phase: Phase, began: float, ended: float) -> None:
        if phase != "grading":  # the watched grader tells of its batches itself
            self._trace.add(phase, phase, began, ended)


class _WatchedMethod:
    """A method whose steps a profile sees."""

    def __init__(self, method: Method, profile: Profile) -> None:
        self._method, self._profile = method, profile

    def next_batch(self, step: int, clock: PhaseClock) -> Batch:
        self._profile.begin_step(step + 1)
        return self._method.next_batch(step, clock)

    def loss(self, policy: Policy, batch: Microbatch) -> tuple[torch.Tensor, LossSums]:
        return self._method.loss(policy, batch)

    def after_update(self, version: int) -> None:
        self._method.after_update(version)
        self._profile.end_step(version)

    def state(self) -> dict[str, Any]:
        return self._method.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._method.restore(state)


def _profiler() -> profile:
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    return profile(activities=activities)
