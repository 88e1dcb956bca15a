"""Growth: one quantity at a time at one, two, four and eight times a base, seconds and memory of a step."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

from benchmarks.step.side import Side
from benchmarks.step.whole_step import Say, measure, prepare_files
from benchmarks.step.workload import Workload, shape_of

BASE = Workload("base", prompt=48, completion=32, prompts=4, samples=4)
FACTORS = (1, 2, 4, 8)
ROWS = 64
QUANTITIES = {
    "samples": "group size", "prompts": "prompts", "completion": "completion length", "prompt": "prompt length",
    "layers": "model size", "rows": "training rows",
}  # fmt: skip


def case(quantity: str, factor: int) -> tuple[Workload, dict[str, int], int]:
    """(workload, shape, training rows) with ``factor`` times the base's amount of one quantity."""
    workload, shape, rows = BASE, shape_of("1M"), ROWS
    if quantity == "layers":
        shape = shape | {"num_hidden_layers": shape["num_hidden_layers"] * factor}
    elif quantity == "rows":
        rows = ROWS * factor
    else:
        workload = BASE.times(quantity, factor)
    return workload, shape, rows


def measure_all(
    sides: Sequence[Side], folder: Path, *, threads: int, rounds: int, quantities: Sequence[str], say: Say
) -> dict[str, Any]:
    """By quantity a point for each factor: seconds and memory of every side, and seconds of preparing for ours."""
    result: dict[str, Any] = {}
    for quantity in quantities:
        result[quantity] = []
        for factor in FACTORS:
            workload, shape, rows = case(quantity, factor)
            layers = shape["num_hidden_layers"]
            config = prepare_files(folder, workload, f"{layers}layers", shape, threads, rows=rows)
            measured = measure(sides, workload, config, folder, rounds=rounds, budget=120, say=say)
            point = {
                name: {"wall": side["wall"], "cpu": side["cpu"], "memory": side["memory"]}
                for name, side in measured["sides"].items()
            }
            result[quantity].append({"factor": factor, "sides": point, "prepare": measured["prepare"]})
    return result


def exponent(points: Sequence[dict[str, Any]], side: str, unit: str) -> float:
    """How cost grows from the smallest to the largest factor: 1 is in proportion, 0 not at all.

    ``unit`` is "wall" or "cpu", of which the median counts, or "memory".
    """

    def cost(point: dict[str, Any]) -> float:
        value = point["sides"][side][unit]
        return float(value if unit == "memory" else value["median"])

    return log(cost(points[-1]) / cost(points[0])) / log(points[-1]["factor"] / points[0]["factor"])
