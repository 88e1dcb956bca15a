"""Where a run's time went: seconds and shares by phase, from the metrics of its steps; as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]

# What the seconds of a step are made of, in the order in which they are spent; what a step's sum lacks is an outage.
STEP_PHASES = {
    "sampling": "time/sampling_seconds",
    "grading in the loop": "time/grading_seconds",
    "waiting for grades": "time/waiting_seconds",
    "update": "time/update_seconds",
    "rest of the step": "time/other_seconds",
}
OUTAGE = "grader out of reach"
AFTER_STEPS = {"validation": "time/evaluation_seconds", "records and checkpoints": "time/record_seconds"}
REMAINDER = "test rows and all else"

_COLOURS = ("#4c78a8", "#72b7b2", "#eeca3b", "#d55e00", "#bab0ac", "#b279a2")  # STEP_PHASES and OUTAGE


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseTime:
    """One phase of a run."""

    name: str
    seconds: float
    share: float  # of the whole run


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSpent:
    """Phases that add up to ``seconds``, and completion tokens per second; None where there was nothing to count."""

    seconds: float
    phases: list[PhaseTime]
    sampled_tokens_per_second: float | None  # while sampling
    trained_tokens_per_second: float | None  # while updating; tokens of rollouts that were left out do not count
    tokens_per_second: float | None  # over whole steps

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TimeSpent:
        """What ``dataclasses.asdict`` wrote."""
        return cls(**{**data, "phases": [PhaseTime(**phase) for phase in data["phases"]]})


def time_spent(rows: Sequence[Row], seconds: float) -> TimeSpent:
    """Of a run that took ``seconds``; ``rows`` are its steps' metrics (docs/training.md), step 0 among them."""
    steps = [row for row in rows if "time/sampling_seconds" in row]
    found = {name: _total(steps, metric) for name, metric in STEP_PHASES.items()}
    found[OUTAGE] = sum(_outage(row) for row in steps)
    found |= {name: _total(rows, metric) for name, metric in AFTER_STEPS.items()}
    # Attempts that were cut off have left seconds that no step tells of, and steps that were done again.
    whole = max(seconds, sum(found.values()))
    found[REMAINDER] = whole - sum(found.values())
    sampled = sum(row.get("throughput/sampled_tokens_per_second", 0) * row["time/sampling_seconds"] for row in steps)
    trained = sum(row.get("throughput/trained_tokens_per_second", 0) * row["time/update_seconds"] for row in steps)
    return TimeSpent(
        seconds=whole,
        phases=[
            PhaseTime(name=name, seconds=spent, share=spent / whole if whole else 0.0) for name, spent in found.items()
        ],
        sampled_tokens_per_second=_rate(sampled, found["sampling"]),
        trained_tokens_per_second=_rate(trained, found["update"]),
        tokens_per_second=_rate(sampled, _total(steps, "time/step_seconds")),
    )


def table(spent: TimeSpent) -> list[tuple[str, str, str]]:
    """(phase, seconds, share) as text, the whole last; phases that took no time are left out."""
    rows = [(phase.name, phase.seconds, phase.share) for phase in spent.phases if phase.share >= 0.0005]
    return [(name, f"{seconds:.1f}", f"{share:.1%}") for name, seconds, share in [*rows, ("run", spent.seconds, 1.0)]]


def speed_text(spent: TimeSpent) -> str:
    """Tokens per second in words; empty where nothing was sampled."""
    speeds = {
        "while sampling": spent.sampled_tokens_per_second,
        "while updating": spent.trained_tokens_per_second,
        "over whole steps": spent.tokens_per_second,
    }
    told = [f"{speed:,.0f} {when}" for when, speed in speeds.items() if speed is not None]
    return f"Completion tokens per second: {', '.join(told)}." if told else ""


def draw_steps(rows: Sequence[Row], path: Path) -> None:
    """Write a picture of the seconds of every step by phase, stacked, as SVG or PNG by the ending of ``path``."""
    import matplotlib
    from matplotlib.figure import Figure

    # Settings of the user's own matplotlibrc would make the file differ between machines.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "openrft"
        figure = Figure(figsize=(8.0, 4.0), layout="constrained")
        _draw_steps(figure.add_subplot(), [row for row in rows if "time/sampling_seconds" in row])
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=120, metadata=metadata)


def _draw_steps(axes: Axes, steps: Sequence[Row]) -> None:
    from matplotlib.ticker import MaxNLocator

    numbers = [row["step"] for row in steps]
    below = [0.0] * len(steps)
    series = {name: [row.get(metric, 0.0) for row in steps] for name, metric in STEP_PHASES.items()}
    series[OUTAGE] = [_outage(row) for row in steps]
    for (name, values), colour in zip(series.items(), _COLOURS, strict=True):
        if sum(values) >= 0.0005 * sum(row["time/step_seconds"] for row in steps):
            axes.bar(numbers, values, bottom=below, color=colour, width=0.9, label=name)
        below = [low + value for low, value in zip(below, values, strict=True)]
    axes.set_xlabel("step")
    axes.set_ylabel("seconds")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, axis="y", alpha=0.25, linewidth=0.6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize="small", framealpha=0.9)


def _total(rows: Sequence[Row], metric: str) -> float:
    return float(sum(row.get(metric, 0.0) for row in rows))


def _outage(row: Row) -> float:
    """Seconds of a step in which its grader was away: those that no phase has."""
    parts = sum(float(row.get(metric, 0.0)) for metric in STEP_PHASES.values())
    return max(0.0, float(row["time/step_seconds"]) - parts)


def _rate(tokens: float, seconds: float) -> float | None:
    return tokens / seconds if tokens and seconds else None
