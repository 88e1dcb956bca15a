"""Whole steps of all sides, interleaved: sampling, grading, update."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.step.side import Process, Side, SideFailed, microbatch_of
from benchmarks.step.spread import ratios, summarize
from benchmarks.step.workload import ROWS, Workload, write_model, write_rows

Say = Callable[[str], None]


def prepare_files(
    folder: Path, workload: Workload, size: str, shape: dict[str, int], threads: int, *, rows: int = ROWS
) -> dict[str, Any]:
    """Write what the sides read and return the configuration that they share."""
    model = folder / f"model-{size}"
    if not (model / "config.json").is_file():
        write_model(model, shape)
    name = f"{workload.name}-{size}".replace(" ", "-")
    training, held_out = folder / f"{name}-{rows}.jsonl", folder / f"{name}-held-out.jsonl"
    write_rows(training, workload, shape["vocab_size"], rows=rows)
    write_rows(held_out, workload, shape["vocab_size"], rows=1)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "name": name,
        "model": str(model), "rows": str(training), "held_out": str(held_out),
        "prompts": workload.prompts, "samples": workload.samples, "tokens": workload.completion,
        "learning_rate": 1e-5, "warmup_steps": 0, "seed": 0, "threads": threads,
        "prompt": workload.prompt, "shape": shape, "microbatch": microbatch_of(workload, shape, memory),
    }  # fmt: skip


def measure(
    sides: Sequence[Side],
    workload: Workload,
    config: dict[str, Any],
    folder: Path,
    *,
    rounds: int,
    budget: float,
    say: Say,
) -> dict[str, Any]:
    """Rounds of all sides in turn after one to warm up: ``rounds``, or fewer once ``budget`` seconds have passed."""
    processes: list[Process] = []
    answers: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
    began = time.monotonic()
    try:
        for side in sides:
            processes.append(Process(side, config, folder))
        for number in range(rounds + 1):
            if number >= 2 and time.monotonic() - began > budget:
                break
            for process in processes:
                answer = process.ask(do="step")
                check_work(answer, workload, process.side.name)
                if number:
                    answers[process.side.name].append(answer)
                say(f"{config['name']} round {number} {process.side.name}: {answer['wall']:.2f} s")
        ready = {process.side.name: process.ready for process in processes}
    finally:
        for process in processes:
            process.close()
    return {
        "workload": vars(workload),
        "microbatch": config["microbatch"],
        "sides": {name: summarize(given) for name, given in answers.items()},
        "rounds": answers,
        "settings": {name: told["settings"] for name, told in ready.items() if "settings" in told},
        "prepare": {name: told["prepare"] for name, told in ready.items() if "prepare" in told},
    }


def compare(result: dict[str, Any], comparisons: dict[str, tuple[Side, Side]]) -> dict[str, Any]:
    """Ratios theirs / ours of wall seconds, CPU seconds and peak memory."""
    compared = {}
    for name, (ours, theirs) in comparisons.items():
        rounds = [result["rounds"][side.name] for side in (ours, theirs)]
        compared[name] = {
            "ours": ours.name,
            "theirs": theirs.name,
            **{unit: ratios(*([answer[unit] for answer in answers] for answers in rounds)) for unit in ("wall", "cpu")},
            "memory": result["sides"][theirs.name]["memory"] / result["sides"][ours.name]["memory"],
        }
    return compared


def check_work(answer: dict[str, Any], workload: Workload, side: str) -> None:
    """Raise :class:`SideFailed` unless the side did the workload's whole work."""
    expected = {"tokens": workload.tokens, "prompt_tokens": workload.sequences * workload.prompt}
    done = {name: answer[name] for name in expected}
    if done != expected:
        raise SideFailed(f"{side} did other work than {workload.name}: {done} where {expected} were expected")
