"""The results as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.step.growth import QUANTITIES, exponent

PHASES = ("sampling", "grading", "waiting", "forward", "backward", "optimizer", "update", "other")


def render(results: dict[str, Any]) -> str:
    """The whole report."""
    parts = ["# openrft beside TRL", _machine(results["machine"])]
    if steps := results.get("step"):
        parts += [_summary(results), _ratios(steps), _phases(steps)]
        if all("limits" in one for one in steps.values()):
            parts.append(_limits(steps))
    if quality := results.get("quality"):
        parts.append(_quality(quality))
    if growth := results.get("growth"):
        parts.append(_growth(growth))
    if generation := results.get("generation"):
        parts.append(_generation(generation))
    return "\n\n".join(parts) + "\n"


def ranged(values: dict[str, float], digits: int = 2) -> str:
    """``1.85 (1.80 to 1.91)``."""
    low, high = values["min"], values["max"]
    return f"{values.get('median', values.get('mean', 0.0)):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    words = f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads for each side; {versions}. "
    words += f"Load when it began: {machine['load']:.2f} per core."
    return words + (f"\n\n**{machine['warning']}**" if machine.get("warning") else "")


def _summary(results: dict[str, Any]) -> str:
    """What the benchmark is judged by: the ratios of wall seconds, medians over the rounds."""
    steps, rows = results["step"], []
    names = list(next(iter(steps.values()))["compared"])
    for case, one in steps.items():
        rows.append([f"whole step, {case}", *(_ratio(one["compared"].get(name)) for name in names)])
    for case, one in steps.items():
        if case.startswith("W2"):
            rows.append([f"peak memory, {case}", *(f"{one['compared'][name]['memory']:.2f}" for name in names)])
    if quality := results.get("quality"):
        for mark in next(iter(quality["times"].values())):
            rows.append([f"time to {float(mark):.0%}", *(_time_ratio(quality, mark, steps, name) for name in names)])
    words = "Times of TRL divided by openrft's: above 1, openrft is faster (or smaller). Medians of wall seconds."
    return f"## In short\n\n{words}\n\n" + table(["", *(f"against TRL, {name}" for name in names)], rows)


def _ratio(compared: dict[str, Any] | None) -> str:
    return "" if compared is None else ranged(compared["wall"])


def _time_ratio(quality: dict[str, Any], mark: str, steps: dict[str, Any], name: str) -> str:
    pair = next(iter(steps.values()))["compared"][name]
    ours, theirs = (quality["times"].get(pair[who], {}).get(mark) for who in ("ours", "theirs"))
    return f"{theirs['wall']['mean'] / ours['wall']['mean']:.2f}" if ours and theirs else ""


def _ratios(steps: dict[str, Any]) -> str:
    rows = [
        [case, f"{name} ({compared['theirs']} / {compared['ours']})", ranged(compared["wall"]), ranged(compared["cpu"]),
         f"{compared['memory']:.2f}", compared["wall"]["rounds"]]
        for case, one in steps.items()
        for name, compared in one["compared"].items()
    ]  # fmt: skip
    head = ["", "TRL / openrft", "wall seconds (range)", "CPU seconds (range)", "peak memory", "rounds"]
    return "## Ratios\n\n" + table(head, rows)


def _phases(steps: dict[str, Any]) -> str:
    rows = []
    for case, one in steps.items():
        for name, side in one["sides"].items():
            spent = [f"{side['phases'][phase]:.3f}" if phase in side["phases"] else "" for phase in PHASES]
            memory = f"{side['memory'] / 1e6:.0f}"
            rows.append([case, name, ranged(side["wall"], 3), f"{side['cpu']['median']:.3f}", *spent, memory])
    head = ["", "side", "wall s (range)", "CPU s", *PHASES, "peak MB"]
    return "## Where the seconds go\n\nMedians of wall seconds.\n\n" + table(head, rows)


def _limits(steps: dict[str, Any]) -> str:
    rows = []
    for case, one in steps.items():
        for name, shares in one["limits"]["shares"].items():
            seconds = [f"{limit:.3f}" for limit in one["limits"]["seconds"].values()]
            rows.append([case, name, *seconds, *(share(limit) for limit in shares.values())])
    names = list(next(iter(steps.values()))["limits"]["seconds"])
    head = ["", "side", *(f"{name}, wall s" for name in names), *(f"share of {name}" for name in names)]
    words = "The bare matrix products of the same step, and what share of a side's seconds they are: wall (CPU)."
    return f"## Distance from the limit\n\n{words}\n\n" + table(head, rows)


def share(limit: dict[str, dict[str, float]]) -> str:
    """``38% (41%)``: by wall and by CPU seconds, medians over the rounds."""
    return f"{limit['wall']['median']:.0%} ({limit['cpu']['median']:.0%})"


def _quality(quality: dict[str, Any]) -> str:
    rows = []
    for side, marks in quality["times"].items():
        for mark, reached in marks.items():
            cells = ["never"] if reached is None else [ranged(reached[unit], 1) for unit in ("wall", "cpu", "steps")]
            rows.append([side, quality["best"][side], f"{float(mark):.0%}", *cells])
    grid = "; ".join(f"{one['learning_rate']:g}, {one['prompts']} x {one['samples']}" for one in quality["grid"])
    words = (
        f"Seconds of training until held-out accuracy first passes the mark, from {quality['base_accuracy']:.0%}: mean "
        f"and range over the seeds, at the setting of the grid that was soonest with the first seed. Grid (learning "
        f"rate, prompts x samples): {grid}."
    )
    head = ["side", "best setting", "mark", "wall s (range)", "CPU s (range)", "steps (range)"]
    return f"## Time to quality\n\n{words}\n\n" + table(head, rows)


def _growth(growth: dict[str, Any]) -> str:
    rows = []
    for quantity, points in growth.items():
        for side in points[0]["sides"]:
            seconds = [f"{point['sides'][side]['wall']['median']:.3f}" for point in points]
            memory = " / ".join(f"{point['sides'][side]['memory'] / 1e6:.0f}" for point in points)
            prepare = " / ".join(f"{point['prepare'][side]:.2f}" for point in points if side in point["prepare"])
            powers = [f"{exponent(points, side, unit):.2f}" for unit in ("wall", "memory")]
            rows.append([QUANTITIES[quantity], side, *seconds, powers[0], memory, powers[1], prepare])
    factors = [f"{point['factor']}x, s" for point in next(iter(growth.values()))]
    head = ["", "side", *factors, "power", "peak MB", "power", "s to prepare"]
    words = "One quantity at a time. Power: 1 is in proportion, less is better than that."
    return f"## Growth\n\n{words}\n\n" + table(head, rows)


def _generation(generation: dict[str, Any]) -> str:
    rows = []
    for result in generation["results"]:
        for name, seconds in result["wall_seconds_per_token"].items():
            ratio = result["ratios"].get(name)
            rows.append([result["size"], name, f"{seconds['median'] * 1e6:.1f}",
                         f"{result['cpu_seconds_per_token'][name]['median'] * 1e6:.1f}",
                         ranged(ratio) if ratio else ""])  # fmt: skip
    head = ["", "engine", "wall µs/token", "CPU µs/token", "CPU time / openrft's (range)"]
    return "## Generation alone\n\n8 prompts x 8 samples x 64 tokens.\n\n" + table(head, rows)
