"""The results as pictures, each as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from benchmarks.step.growth import QUANTITIES
from benchmarks.step.quality import MARKS
from benchmarks.step.report import PHASES
from matplotlib import pyplot

COLOURS = pyplot.get_cmap("tab10").colors


def draw_all(results: dict[str, Any], folder: Path) -> None:
    """Draw whatever was measured."""
    if steps := results.get("step"):
        _ratios(steps, folder)
        _phases(steps, folder)
    if quality := results.get("quality"):
        _quality(quality, folder)
    if growth := results.get("growth"):
        _growth(growth, folder)


def _ratios(steps: dict[str, Any], folder: Path) -> None:
    names = list(next(iter(steps.values()))["compared"])
    figure, axes = pyplot.subplots(figsize=(1.6 + 1.3 * len(steps), 4))
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        values = [one["compared"][name]["wall"] for one in steps.values()]
        medians = [value["median"] for value in values]
        below = [value["median"] - value["min"] for value in values]
        above = [value["max"] - value["median"] for value in values]
        places = [number + place * width for number in range(len(steps))]
        axes.bar(places, medians, width, yerr=[below, above], capsize=3, label=name, color=COLOURS[place])
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks([number + 0.4 - width / 2 for number in range(len(steps))], list(steps))
    axes.set_ylabel("TRL's seconds / openrft's")
    axes.legend(frameon=False)
    _save(figure, folder, "ratios")


def _phases(steps: dict[str, Any], folder: Path) -> None:
    bars = [(case, name, side["phases"]) for case, one in steps.items() for name, side in one["sides"].items()]
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.32 * len(bars)))
    for row, (_, _, phases) in enumerate(bars):
        total, left = sum(phases.values()), 0.0
        for number, phase in enumerate(PHASES):
            share = phases.get(phase, 0.0) / total
            axes.barh(row, share, left=left, color=COLOURS[number], label=phase if row == 0 else None)
            left += share
    axes.set_yticks(range(len(bars)), [f"{case} {name}" for case, name, _ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("share of the step")
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    _save(figure, folder, "phases")


def _quality(quality: dict[str, Any], folder: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for number, (side, setting) in enumerate(quality["best"].items()):
        mine = [run for run in quality["runs"] if run["side"] == side and run["setting"] == setting]
        for place, run in enumerate(mine):
            seconds = [0.0] + [point["wall"] for point in run["curve"]]
            accuracy = [quality["base_accuracy"]] + [point["accuracy"] for point in run["curve"]]
            label = f"{side} ({setting})" if place == 0 else None
            axes.plot(seconds, accuracy, color=COLOURS[number], alpha=0.8, label=label)
    for mark in MARKS:
        axes.axhline(mark, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("held-out accuracy")
    axes.legend(frameon=False)
    _save(figure, folder, "quality")


def _growth(growth: dict[str, Any], folder: Path) -> None:
    figure, grid = pyplot.subplots(2, len(growth), figsize=(3 * len(growth), 5.5), squeeze=False, sharex=True)
    for column, (quantity, points) in enumerate(growth.items()):
        factors = [point["factor"] for point in points]
        for row, unit in enumerate(("seconds", "memory")):
            axes = grid[row][column]
            for number, side in enumerate(points[0]["sides"]):
                values = [_amount(point["sides"][side], unit) for point in points]
                axes.loglog(factors, values, "o-", color=COLOURS[number], label=side)
                if row == 0:
                    line = [values[0] * factor for factor in factors]
                    axes.loglog(factors, line, ":", color=COLOURS[number], linewidth=0.8)
            axes.set_xticks(factors, [f"{factor}x" for factor in factors])
            axes.minorticks_off()
            if column == 0:
                axes.set_ylabel("seconds a step" if row == 0 else "peak memory, MB")
        grid[0][column].set_title(QUANTITIES[quantity])
    grid[0][0].legend(frameon=False)
    _save(figure, folder, "growth")


def _amount(side: dict[str, Any], unit: str) -> float:
    return float(side["wall"]["median"] if unit == "seconds" else side["memory"] / 1e6)


def _save(figure: Any, folder: Path, name: str) -> None:
    figure.tight_layout()
    for ending in ("png", "svg"):
        figure.savefig(folder / f"{name}.{ending}", dpi=150)
    pyplot.close(figure)
