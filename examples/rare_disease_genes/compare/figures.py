"""Table and plot of the comparison, with intervals over seeds and cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BASES = {"tiny": "tiny base", "small": "small base"}
TRAINED = {"sft": "tiny + SFT", "rft": "tiny + RFT", "chance": "tiny + chance"}
DRAWS = 10_000


def interval(runs: list[list[float]]) -> tuple[float, float, float]:
    """(mean, low, high) of values[seed][case]: a 95 % interval over both seeds and cases, by resampling both.

    10,000 draws of as many seeds and as many cases, with replacement. An arm without training has one seed.
    """
    values = np.array(runs)
    generator = np.random.default_rng(20_240_229)
    seeds = generator.integers(0, values.shape[0], (DRAWS, values.shape[0]))
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        cases = generator.integers(0, values.shape[1], values.shape[1])
        means[draw] = values[seeds[draw]][:, cases].mean()
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


MEASURES: dict[str, Callable[[float], float]] = {
    "top-1": lambda score: float(score >= 1.0),
    "top-5": lambda score: float(score > 0.0),
    "mean score": lambda score: score,
}


def per_case(run: dict[str, Any], measure: str, mode: str) -> list[float]:
    """The measure of each test case: the mean over its answers."""
    rows = run["sampled"] if mode == "sampled" else [[score] for score in run["greedy"]]
    return [sum(MEASURES[measure](score) for score in scores) / len(scores) for scores in rows]


def as_table(runs: list[dict[str, Any]], mode: str) -> str:
    lines = [f"| {mode} answers | cases | top-1 | top-5 | mean score |", "| --- | ---: | --- | --- | --- |"]
    for label, size, found in arms_of(runs):
        cells = []
        for measure in MEASURES:
            mean, low, high = interval([per_case(run, measure, mode) for run in found])
            cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
        lines.append(f"| {label} | {size or '–'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def arms_of(runs: list[dict[str, Any]]) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    for arm, label in (BASES | TRAINED).items():
        of_arm = [run for run in runs if run["arm"] == arm]
        for size in sorted({run.get("size", 0) for run in of_arm}):
            yield label, size, [run for run in of_arm if run.get("size", 0) == size]


def differences(runs: list[dict[str, Any]]) -> str:
    """The claims, paired by case (and by seed, where both arms have seeds)."""
    lines = ["| mean score, sampled | cases | difference |", "| --- | ---: | --- |"]
    small = next((run for run in runs if run["arm"] == "small"), None)
    by = {(run["arm"], run["size"], run["seed"]): run for run in runs if "size" in run}
    for size in sorted({size for _, size, _ in by}):
        seeds = sorted({seed for arm, of_size, seed in by if (arm, of_size) == ("rft", size)})
        for other, label in (("small", "tiny + RFT − small base"), ("sft", "tiny + RFT − tiny + SFT")):
            pairs = [
                (by["rft", size, seed], small if other == "small" else by.get((other, size, seed))) for seed in seeds
            ]
            found = [
                [a - b for a, b in zip(*(per_case(run, "mean score", "sampled") for run in pair), strict=True)]
                for pair in pairs
                if None not in pair
            ]
            if found:
                mean, low, high = interval(found)
                lines.append(f"| {label} | {size} | {mean:+.2f} [{low:+.2f}, {high:+.2f}] |")
    return "\n".join(lines)


def draw(runs: list[dict[str, Any]], file: Path) -> None:
    """Mean score over the number of training cases, with intervals; the untuned models as lines across."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    colors = {"tiny base": "#888888", "small base": "#444444", "tiny + SFT": "#d95f02", "tiny + RFT": "#1b6fd0"}
    colors["tiny + chance"] = "#7a9a3a"
    curves: dict[str, list[tuple[int, float, float, float]]] = {}
    for label, size, found in arms_of(runs):
        curves.setdefault(label, []).append(
            (size, *interval([per_case(run, "mean score", "sampled") for run in found]))
        )
    for label, points in curves.items():
        color = colors[label]
        if points[0][0] == 0:
            _, mean, low, high = points[0]
            axes.axhline(mean, color=color, linestyle="--", linewidth=1.2, label=label)
            axes.axhspan(low, high, color=color, alpha=0.12, linewidth=0)
        else:
            at, means, lows, highs = zip(*points, strict=True)
            axes.plot(at, means, marker="o", color=color, label=label)
            axes.fill_between(at, lows, highs, color=color, alpha=0.18, linewidth=0)
    axes.set_xscale("log", base=2)
    sizes = sorted({run["size"] for run in runs if "size" in run})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("training cases")
    axes.set_ylabel("mean score on 240 test cases")
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="center", bbox_to_anchor=(0.5, 0.74), ncols=3)  # between the curves
    figure.savefig(file)
