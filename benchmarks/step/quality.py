"""Time to quality: seconds of training until held-out accuracy passes a mark, each side at its best setting."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.step.side import ROOT, Process, Side
from benchmarks.step.whole_step import Say

from openrft.models.catalog import locate_model

EXAMPLE = ROOT / "examples" / "rare_disease_genes"
MARKS = (0.8, 0.9)
EVERY = 2  # steps between two looks at the held-out rows
MOST_STEPS = 48  # as many as the example's own job takes
WARMUP_STEPS = 4


@dataclass(frozen=True)
class Setting:
    """One point of the grid, the same for both sides."""

    learning_rate: float
    prompts: int
    samples: int

    def __str__(self) -> str:
        return f"{self.learning_rate:.0e}, {self.prompts} x {self.samples}"


GRID = [Setting(rate, prompts, 8) for prompts in (8, 16) for rate in (3e-4, 6e-4, 1e-3)]


def measure(
    sides: Sequence[Side], folder: Path, *, threads: int, seeds: Sequence[int], grid: Sequence[Setting], say: Say
) -> dict[str, Any]:
    """The whole grid with the first seed, then each side's best setting with the others."""
    judge = Process(
        Side("evaluator", "evaluator", {"precision": "float32"}),
        _config(grid[0], 0, threads) | {"name": "judge", "held_out": str(EXAMPLE / "test.jsonl")},
        folder,
    )
    runs: list[dict[str, Any]] = []
    try:
        base = judge.ask(weights=None, step=0)["accuracy"]
        say(f"untrained: {base:.1%}")
        for setting in grid:
            runs += _run(sides, [setting] * len(sides), seeds[0], judge, folder, threads, say)
        best = {side.name: best_setting([run for run in runs if run["side"] == side.name]) for side in sides}
        chosen = [next(setting for setting in grid if str(setting) == best[side.name]) for side in sides]
        for seed in seeds[1:]:
            runs += _run(sides, chosen, seed, judge, folder, threads, say)
    finally:
        judge.close()
    return {"base_accuracy": base, "grid": [asdict(setting) for setting in grid], "best": best, "runs": runs,
            "times": {side.name: times(runs, side.name, best[side.name]) for side in sides}}  # fmt: skip


def best_setting(runs: Sequence[dict[str, Any]]) -> str:
    """The setting that passed the first mark soonest, the later marks deciding among those that never did."""

    def order(run: dict[str, Any]) -> tuple[float, float, float]:
        reached = [run["reached"][str(mark)]["wall"] if run["reached"][str(mark)] else float("inf") for mark in MARKS]
        return reached[0], reached[1], -max(point["accuracy"] for point in run["curve"])

    return str(min(runs, key=order)["setting"])


def times(runs: Sequence[dict[str, Any]], side: str, setting: str) -> dict[str, Any]:
    """Mean and range over the seeds of the time to each mark, by wall and by CPU; None where a seed never passed it."""
    mine = [run for run in runs if run["side"] == side and run["setting"] == setting]
    result: dict[str, Any] = {}
    for mark in MARKS:
        reached = [run["reached"][str(mark)] for run in mine]
        if any(one is None for one in reached):
            result[str(mark)] = None
            continue
        result[str(mark)] = {
            unit: {"mean": statistics.mean(values), "min": min(values), "max": max(values), "seeds": len(values)}
            for unit in ("wall", "cpu", "steps")
            for values in [[one[unit] for one in reached]]
        }
    return result


def first_crossings(curve: Sequence[dict[str, float]]) -> dict[str, dict[str, float] | None]:
    """Of a curve of accuracy over seconds the first point at or above each mark."""
    return {str(mark): next((point for point in curve if point["accuracy"] >= mark), None) for mark in MARKS}


def _config(setting: Setting, seed: int, threads: int) -> dict[str, Any]:
    job = json.loads((EXAMPLE / "job.json").read_text(encoding="utf-8"))
    row = json.loads((EXAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    options = job["method"]["reinforcement"]["hyperparameters"]
    return {
        "model": locate_model(job["model"]),
        "rows": str(EXAMPLE / "train.jsonl"), "held_out": str(EXAMPLE / "valid.jsonl"),
        "grader": json.loads((EXAMPLE / "grader.json").read_text(encoding="utf-8")),
        "columns": [name for name in row if name != "messages"],
        "prompts": setting.prompts, "samples": setting.samples, "tokens": options["max_completion_tokens"],
        "learning_rate": setting.learning_rate, "warmup_steps": WARMUP_STEPS, "seed": seed, "threads": threads,
        "name": f"genes-{setting.learning_rate:g}-{setting.prompts}x{setting.samples}-{seed}",
    }  # fmt: skip


def _run(
    sides: Sequence[Side], settings: Sequence[Setting], seed: int, judge: Process, folder: Path, threads: int, say: Say
) -> list[dict[str, Any]]:
    """One run of every side, a step of each in turn, until it has passed the last mark or taken too many steps."""
    runs: list[dict[str, Any]] = []
    processes = []
    try:
        for side, setting in zip(sides, settings, strict=True):
            processes.append(Process(side, _config(setting, seed, threads), folder))
            runs.append({"side": side.name, "setting": str(setting), "seed": seed, "curve": []})
            runs[-1] |= {"wall": 0.0, "cpu": 0.0}
        for step in range(1, MOST_STEPS + 1):
            if all(_is_done(run) for run in runs):
                break
            if step % 10 == 0:
                say(f"seed {seed}, step {step}: " + ", ".join(_where(run) for run in runs))
            for process, run in zip(processes, runs, strict=True):
                if _is_done(run):
                    continue
                answer = process.ask(do="step")
                run["wall"] += answer["wall"]
                run["cpu"] += answer["cpu"]
                if step % EVERY == 0:
                    weights = str(folder / "weights.safetensors")
                    process.ask(do="save", path=weights)
                    accuracy = judge.ask(weights=weights, step=step)["accuracy"]
                    point = {"steps": step, "wall": run["wall"], "cpu": run["cpu"], "accuracy": accuracy}
                    run["curve"].append(point | {"reward": answer["reward"]})
    finally:
        for process in processes:
            process.close()
    for run in runs:
        run["reached"] = first_crossings(run["curve"])
        told = [f"{mark} at {one['wall']:.1f} s" if one else f"{mark} never" for mark, one in run["reached"].items()]
        say(f"{run['side']} ({run['setting']}) seed {run['seed']}: {', '.join(told)}")
    return runs


def _is_done(run: dict[str, Any]) -> bool:
    return any(point["accuracy"] >= MARKS[-1] for point in run["curve"])


def _where(run: dict[str, Any]) -> str:
    return f"{run['side']} {run['curve'][-1]['accuracy']:.0%} after {run['wall']:.1f} s"
