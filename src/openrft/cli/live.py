"""What a running job looks like: a live curve in a terminal, plain lines in a file, JSON lines for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from openrft.evaluation.untrusted import show_controls
from openrft.training.progress import Progress
from openrft.types import Metrics

# Of a run with a budget: what is limited, the metric of what is spent, and its unit.
_SPENT = (
    ("minutes", "time/spent_minutes", "minutes"),
    ("tokens", "spent/tokens", "tokens"),
    ("grader_cost", "spent/grader_cost", "grading cost"),
)


class Display(Progress, Protocol):
    """A progress that is opened and closed around a run."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *exc: object) -> None: ...


def open_display(console: Console, *, as_json: bool) -> Display:
    """The display that fits where the output goes."""
    if as_json:
        return JsonDisplay()
    return LiveDisplay(console) if console.is_terminal else LineDisplay(console)


def step_line(step: int, num_steps: int, metrics: Metrics, seconds_left: float | None) -> str:
    """One step as one line."""
    parts = [f"step {step:>4}/{num_steps}"]
    if "reward/mean" in metrics:
        parts.append(f"reward {metrics['reward/mean']:.3f}")
        parts.append(f"no signal {metrics['groups/no_signal_share']:.0%}")
        parts.append(f"tokens {metrics['rollout/completion_tokens_mean']:.0f}")
        parts.append(f"{metrics['time/step_seconds']:.2f} s")
        if "throughput/tokens_per_second" in metrics:
            parts.append(f"{metrics['throughput/tokens_per_second']:.0f} tokens/s")
    if "train/loss" in metrics:
        parts.append(f"loss {metrics['train/loss']:.4f}")
        parts.append(f"token accuracy {metrics['train/token_accuracy']:.1%}")
        parts.append(f"{metrics['time/step_seconds']:.2f} s")
    if "valid/loss" in metrics:
        parts.append(f"valid loss {metrics['valid/loss']:.4f}")
    if "valid/reward_mean" in metrics:
        low, high = metrics["valid/reward_low"], metrics["valid/reward_high"]
        parts.append(f"valid {metrics['valid/reward_mean']:.3f} [{low:.3f}, {high:.3f}]")
    if metrics.get("grade/ungraded_share"):
        parts.append(f"ungraded {metrics['grade/ungraded_share']:.0%}")
    if cost := metrics.get("grade/cost", 0) + metrics.get("valid/grade_cost", 0):
        parts.append(f"grading cost {cost:.4g}")
    for name, spent, unit in _SPENT:
        if f"budget/{name}" in metrics and spent in metrics:
            parts.append(f"{amount(metrics[spent])} of {amount(metrics[f'budget/{name}'])} {unit}")
    if seconds_left is not None and step < num_steps:
        parts.append(f"{_duration(seconds_left)} left")
    return "  ".join(parts)


class JsonDisplay:
    """One JSON object per line on standard output, for programs."""

    def __enter__(self) -> JsonDisplay:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def phase(self, text: str, total: int | None = None) -> None:
        """Told as an object of type ``phase``."""
        self._print({"type": "phase", "text": text, "total": total})

    def rollout(self) -> None:
        """Not told: too many."""

    def step(self, step: int, num_steps: int, metrics: Metrics) -> None:
        """Told as an object of type ``step`` with all metrics."""
        self._print({"type": "step", "step": step, "num_steps": num_steps, "metrics": metrics})

    def note(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """Told as an object of type ``note``."""
        self._print({"type": "note", "level": level, "message": message} | ({"data": data} if data else {}))

    def _print(self, row: dict[str, Any]) -> None:
        print(json.dumps(row, ensure_ascii=False), flush=True)


class LineDisplay:
    """Plain lines, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.clock = StepClock()

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def phase(self, text: str, total: int | None = None) -> None:
        """One line."""
        self._print(f"{text} …" if total is None else f"{text} … ({total} completions)")

    def rollout(self) -> None:
        """Not told."""

    def step(self, step: int, num_steps: int, metrics: Metrics) -> None:
        """One line."""
        self._print(step_line(step, num_steps, metrics, self.clock.left(step, num_steps)))

    def note(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """One line, marked unless it is mere information."""
        self._print(message if level == "info" else f"{level}: {message}")

    def _print(self, text: str) -> None:
        # Never as markup or control codes: messages quote graders and models.
        self.console.print(show_controls(text), markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(LineDisplay):
    """A live curve with a progress line below it, and the validation steps as lines that stay."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._phase, self._total, self._finished = "", 0, 0
        self._points: list[Any] = []
        self._last = ""
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._render)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()
        if self._points:
            self.console.print(self._curve())

    def phase(self, text: str, total: int | None = None) -> None:
        """Shown below the curve, with a bar where the total is known."""
        self._phase, self._total, self._finished = text, total or 0, 0

    def rollout(self) -> None:
        """Moves the bar."""
        self._finished += 1
        if self._total and self._finished > self._total:
            self._finished = 1

    def step(self, step: int, num_steps: int, metrics: Metrics) -> None:
        """A new point of the curve; a line that stays where there was a validation."""
        from openrft.evaluation.curve import CurvePoint
        from openrft.evaluation.statistics import Interval

        left = self.clock.left(step, num_steps)
        train, mean, interval = metrics.get("reward/mean"), metrics.get("valid/reward_mean"), None
        if mean is not None:
            interval = Interval(metrics["valid/reward_low"], metrics["valid/reward_high"])
        if "train/loss" in metrics or "valid/loss" in metrics:  # a score of the validation answers has its line alone
            train, mean, interval = metrics.get("train/loss"), metrics.get("valid/loss"), None
        self._points.append(CurvePoint(step=step, train_reward=train, valid_mean=mean, valid_interval=interval))
        self._last = step_line(step, num_steps, metrics, left)
        if mean is not None:
            self._print(self._last)
        self._phase, self._finished = "training", 0

    def _render(self) -> Group:
        lines: list[Any] = [self._curve()] if len(self._points) > 1 else []
        bar = ""
        if self._total:
            width = 24
            full = min(width, self._finished * width // self._total)
            bar = f"  {'█' * full}{'·' * (width - full)} {self._finished}/{self._total}"
        return Group(*lines, Text(self._last), Text(f"{self._phase}{bar}", style="dim"))

    def _curve(self) -> Text:
        from openrft.evaluation.curve import terminal_curve

        return Text(terminal_curve(self._points, width=min(76, self.console.width - 2), height=10))


class StepClock:
    """How long the rest will take, from the seconds between the latest steps."""

    def __init__(self) -> None:
        self._times: list[tuple[int, float]] = []

    def left(self, step: int, num_steps: int) -> float | None:
        """Seconds left after ``step``, or None while that cannot be said."""
        self._times = [*self._times[-20:], (step, time.monotonic())]
        (first, began), (last, now) = self._times[0], self._times[-1]
        if last <= first:
            return None
        return (now - began) / (last - first) * (num_steps - step)


def amount(value: float) -> str:
    """A quantity as people read it: digits that matter."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
