"""The learning curve: as a picture for reports and as text for the terminal.

Training reward is drawn twice, raw and faint and as a de-biased moving average, because one step's batch says little.
Validation is never smoothed: dots with their intervals, joined. A dashed line marks the untouched base model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openrft.evaluation.statistics import Interval
from openrft.evaluation.untrusted import show_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMOOTHING = 0.6

Quantity = Literal["reward", "loss"]

_TRAIN, _VALID, _BASE = "#4c78a8", "#d55e00", "#666666"  # tell apart for the colour-blind and in grey
_BLOCKS = "▁▂▃▄▅▆▇█"
_BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] of a 2 × 4 cell


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """What is known about one step; None where nothing was measured. Step 0 is the untouched base model."""

    step: int
    train_reward: float | None = None
    valid_mean: float | None = None
    valid_interval: Interval | None = None
    is_kept: bool = False  # its checkpoint is still there
    is_chosen: bool = False  # its checkpoint ships

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CurvePoint:
        """The point that ``dataclasses.asdict`` wrote."""
        interval = data["valid_interval"]
        return cls(**{**data, "valid_interval": None if interval is None else Interval(**interval)})


def debiased_ema(values: Sequence[float], smoothing: float = SMOOTHING) -> list[float]:
    """Exponential moving average divided by the weight it has seen, so that it does not start out from zero."""
    average, weight, smoothed = 0.0, 0.0, []
    for value in values:
        average = smoothing * average + (1.0 - smoothing) * value
        weight = smoothing * weight + (1.0 - smoothing)
        smoothed.append(average / weight)
    return smoothed


def draw_curve(
    points: Sequence[CurvePoint],
    path: Path,
    *,
    title: str = "",
    quantity: Quantity = "reward",
    smoothing: float = SMOOTHING,
) -> None:
    """Write the curve as SVG or PNG, by the ending of ``path``; equal points give equal files.

    ``quantity``: what the points are of.
    """
    import warnings

    import matplotlib
    from matplotlib.figure import Figure

    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"a curve is written as .svg or .png, not as {path.name!r}")
    # Settings of the user's own matplotlibrc would make the file differ between machines.
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that the bundled font lacks shows as boxes; that is no reason to disturb the job.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "openrft"
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        axes = figure.add_subplot()
        _draw_train(axes, points, smoothing, quantity)
        _draw_valid(axes, points)
        _dress(axes, points, title, quantity)
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=120, metadata=metadata)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """A curve in one line of text: means of ``width`` buckets, from the lowest to the highest value seen."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    buckets = [math.fsum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(buckets), max(buckets)
    if high - low <= 1e-12:
        return _BLOCKS[3] * count
    return "".join(_BLOCKS[round((value - low) / (high - low) * 7)] for value in buckets)


def terminal_curve(points: Sequence[CurvePoint], width: int = 60, height: int = 13) -> str:
    """The curve as text of at most ``height`` lines and ``width`` columns, axes included.

    Braille dots: smoothed training reward; ``●`` validation, ``★`` the chosen checkpoint; ``╌`` the base model.
    """
    width, height = max(24, width), max(5, height)
    columns, rows = width - 7, height - 2 - (height - 1) % 2  # an odd number has a middle line to label
    if not points:
        return "no step yet"
    low, high = _value_range(points)
    last = max(1, *(point.step for point in points))
    canvas = [[" "] * columns for _ in range(rows)]

    def cell(step: float, value: float) -> tuple[int, int]:
        share = (value - low) / (high - low)
        row = rows - 1 - round(min(1.0, max(0.0, share)) * (rows - 1))
        return row, round(step / last * (columns - 1))

    base = _base_mean(points)
    if base is not None:
        canvas[cell(0, base)[0]] = ["╌"] * columns
    _plot_braille(canvas, points, low, high, last)
    for point in points:
        if point.valid_mean is not None:
            row, column = cell(point.step, point.valid_mean)
            if canvas[row][column] != "★":
                canvas[row][column] = "★" if point.is_chosen else "●"
    labels = {0: f"{high:.2f}", rows // 2: f"{(high + low) / 2:.2f}", rows - 1: f"{low:.2f}"}
    lines = [f"{labels.get(row, ''):>5} ┤{''.join(canvas[row])}".rstrip() for row in range(rows)]
    lines.append(" " * 6 + "└" + "─" * columns)
    end = str(last)
    lines.append(f"{'':7}0{'step':^{columns - 1 - len(end)}}{end}")
    return "\n".join(lines)


def _plot_braille(canvas: list[list[str]], points: Sequence[CurvePoint], low: float, high: float, last: int) -> None:
    """Join the smoothed training rewards with dots, four rows and two columns of them to a character."""
    dots_high, dots_wide = len(canvas) * 4, len(canvas[0]) * 2
    steps, rewards = _train_series(points)
    places = [
        (
            step / last * (dots_wide - 1),
            (1.0 - min(1.0, max(0.0, (value - low) / (high - low)))) * (dots_high - 1),
        )
        for step, value in zip(steps, debiased_ema(rewards), strict=True)
    ]
    for (x0, y0), (x1, y1) in zip(places, places[1:] or places, strict=False):
        length = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0))))
        for i in range(length + 1):
            x, y = round(x0 + (x1 - x0) * i / length), round(y0 + (y1 - y0) * i / length)
            before = canvas[y // 4][x // 2]
            bits = ord(before) - 0x2800 if "\u2800" <= before <= "\u28ff" else 0
            canvas[y // 4][x // 2] = chr(0x2800 + (bits | _BRAILLE_BITS[y % 4][x % 2]))


def _train_series(points: Sequence[CurvePoint]) -> tuple[list[int], list[float]]:
    measured = [(point.step, point.train_reward) for point in points if point.train_reward is not None]
    return [step for step, _ in measured], [reward for _, reward in measured]


def _base_mean(points: Sequence[CurvePoint]) -> float | None:
    return next((point.valid_mean for point in points if point.step == 0), None)


def _value_range(points: Sequence[CurvePoint]) -> tuple[float, float]:
    """0…1 for scores that keep to it, so that curves of different jobs compare; else what was seen and a margin."""
    values = [point.train_reward for point in points if point.train_reward is not None]
    values += [point.valid_mean for point in points if point.valid_mean is not None]
    for point in points:
        if point.valid_interval is not None:
            values += [point.valid_interval.low, point.valid_interval.high]
    if all(-1e-9 <= value <= 1.0 + 1e-9 for value in values):
        return 0.0, 1.0
    margin = 0.05 * (max(values) - min(values)) or 0.5
    return min(values) - margin, max(values) + margin


def _draw_train(axes: Axes, points: Sequence[CurvePoint], smoothing: float, quantity: Quantity) -> None:
    steps, rewards = _train_series(points)
    if not steps:
        return
    axes.plot(steps, rewards, color=_TRAIN, alpha=0.35, linewidth=1.0)
    label = f"training {quantity} (moving average {smoothing:g}; faint: each step)"
    axes.plot(steps, debiased_ema(rewards, smoothing), color=_TRAIN, linewidth=1.8, label=label)


def _draw_valid(axes: Axes, points: Sequence[CurvePoint]) -> None:
    measured = [(point, point.valid_mean) for point in points if point.valid_mean is not None]
    steps, means = [point.step for point, _ in measured], [mean for _, mean in measured]
    base = _base_mean(points)
    if base is not None:
        axes.axhline(base, color=_BASE, linestyle="--", linewidth=1.2, label="base model")
    if not measured:
        return
    intervals = [point.valid_interval or Interval(mean, mean) for point, mean in measured]
    # An interval on the other side of its mean would be a bug elsewhere; matplotlib refuses negative bars.
    below = [max(0.0, mean - interval.low) for mean, interval in zip(means, intervals, strict=True)]
    above = [max(0.0, interval.high - mean) for mean, interval in zip(means, intervals, strict=True)]
    label = "validation mean, 95 % interval"
    axes.errorbar(
        steps, means, yerr=[below, above], color=_VALID, fmt="o-", markersize=4, linewidth=1.2, capsize=3, label=label
    )
    for chosen, marker, size, label in ((False, "o", 9, "checkpoint kept"), (True, "*", 16, "checkpoint chosen")):
        marked = [(p.step, mean) for p, mean in measured if (p.is_chosen if chosen else p.is_kept and not p.is_chosen)]
        if marked:
            axes.plot(
                [step for step, _ in marked],
                [mean for _, mean in marked],
                linestyle="none",
                marker=marker,
                markersize=size,
                markerfacecolor=_VALID if chosen else "none",
                markeredgecolor="black" if chosen else _VALID,
                label=label,
                zorder=5,
            )


def _dress(axes: Axes, points: Sequence[CurvePoint], title: str, quantity: Quantity) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = _value_range(points)
    # Marks on the very edge stay whole.
    edge = 0.02 * (high - low)
    axes.set_ylim(low - edge, high + edge)
    axes.set_xlabel("step")
    axes.set_ylabel(quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, alpha=0.25, linewidth=0.6)
    if title:
        # A dollar sign in a model's name is not a formula.
        axes.set_title(show_controls(title), parse_math=False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize="small", framealpha=0.9)
