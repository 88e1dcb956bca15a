"""openrft beside TRL: whole steps, time to quality, distance from the limit, growth, generation alone.

    make bench                                                   everything, about 40 minutes on two quiet cores
    make bench ARGS=--quick                                      a few minutes: W1 to W3 at 1M, fewer rounds
    scripts/bench --only step limits --workloads W1 --sizes 1M   parts of it

Tables, JSON and pictures go to runs/bench/<date>. README.md beside this folder says what is fair here and what is not.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.step import growth, quality, whole_step
from benchmarks.step.plots import draw_all
from benchmarks.step.report import render
from benchmarks.step.side import COMPARISONS, LIMITS, PEERS, ROOT, TRL_FLOAT32, TRL_PYTHON, environment, sides_of
from benchmarks.step.spread import ratios
from benchmarks.step.workload import WORKLOADS, shape_of

PARTS = ("step", "limits", "quality", "growth", "generation")
SIZES = {"W1": ("1M", "10M"), "W2": ("1M", "10M", "100M"), "W3": ("1M", "10M")}
MOST_LOAD = 0.5  # per core, above which others disturb what is measured


def main() -> None:
    """Measure what was asked for; after every part the results so far are written."""
    options = _parse()
    folder = options.out or ROOT / "runs" / "bench" / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"options": {k: str(v) for k, v in vars(options).items()}, "machine": _machine(options)}
    say(f"load {results['machine']['load']:.2f} per core; results go to {folder}")
    if results["machine"]["warning"]:
        say(results["machine"]["warning"])
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="openrft-bench-") as scratch:
        parts = {"step": _step, "quality": _quality, "growth": _growth, "generation": _generation}
        for name, part in parts.items():
            if name in options.only or (name == "step" and "limits" in options.only):
                part(results, Path(scratch), options)
                results["seconds"] = time.monotonic() - began
                (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                (folder / "report.md").write_text(render(results), encoding="utf-8")
                draw_all(results, folder)
    print(render(results))
    print(f"{folder}/report.md, results.json and pictures, after {results['seconds'] / 60:.0f} minutes")


def say(words: str) -> None:
    """Progress, on stderr."""
    print(f"bench: {words}", file=sys.stderr, flush=True)


def _step(results: dict[str, Any], scratch: Path, options: argparse.Namespace) -> None:
    sides = sides_of(COMPARISONS) + (LIMITS if "limits" in options.only else [])
    results["step"] = {}
    for name in options.workloads:
        for size in SIZES[name]:
            if size not in options.sizes:
                continue
            workload = WORKLOADS[name]
            config = whole_step.prepare_files(scratch, workload, size, shape_of(size), options.threads)
            measured = whole_step.measure(
                sides, workload, config, scratch, rounds=options.rounds, budget=options.budget, say=say
            )
            measured["compared"] = whole_step.compare(measured, COMPARISONS)
            if "limits" in options.only:
                measured["limits"] = _shares(measured)
            results["step"][f"{name}, {size}"] = measured


def _shares(measured: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the bare products, and what share of each side's seconds they are."""
    limits = [limit.name for limit in LIMITS]
    bare = {name: measured["sides"].pop(name) for name in limits}
    spent = {
        unit: {name: [answer[unit] for answer in given] for name, given in measured["rounds"].items()}
        for unit in ("wall", "cpu")
    }
    return {
        "seconds": {name: side["wall"]["median"] for name, side in bare.items()},
        "phases": {name: side["phases"] for name, side in bare.items()},
        "shares": {
            side: {
                name: {unit: ratios(spent[unit][side], spent[unit][name]) for unit in ("wall", "cpu")}
                for name in limits
            }
            for side in measured["sides"]
        },
    }


def _quality(results: dict[str, Any], scratch: Path, options: argparse.Namespace) -> None:
    seeds, grid = (options.seeds[:1], quality.GRID[1:3]) if options.quick else (options.seeds, quality.GRID)
    sides = [*COMPARISONS["as it comes"], TRL_FLOAT32]
    results["quality"] = quality.measure(sides, scratch, threads=options.threads, seeds=seeds, grid=grid, say=say)


def _growth(results: dict[str, Any], scratch: Path, options: argparse.Namespace) -> None:
    pair = COMPARISONS["as it comes"]
    sides = list(pair) if options.peers else [pair[0]]
    results["growth"] = growth.measure_all(
        sides, scratch, threads=options.threads, rounds=2 if options.quick else 5,
        quantities=list(growth.QUANTITIES)[:: 2 if options.quick else 1], say=say,
    )  # fmt: skip


def _generation(results: dict[str, Any], scratch: Path, options: argparse.Namespace) -> None:
    path = scratch / "generation.json"
    sizes = [size for size in ("1M", "10M") if size in options.sizes]
    command = [sys.executable, "-m", "benchmarks.generation", "--equal", "--sizes", *sizes, "--json", str(path)]
    command += ["--threads", str(options.threads), "--rounds", str(options.rounds)]
    peer = PEERS / "ctranslate2"
    command += ["--ctranslate2", str(peer)] if peer.is_dir() else []
    say("generation alone")
    subprocess.run(command, cwd=ROOT, env=environment(options.threads, is_ours=False), check=True, stdout=sys.stderr)
    results["generation"] = json.loads(path.read_text(encoding="utf-8"))


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] / cores
    warning = f"Others were computing: {load:.2f} per core. Only CPU seconds and ratios mean something here."
    script = "import trl, torch, transformers as t; print(trl.__version__, torch.__version__, t.__version__)"
    told = subprocess.run([TRL_PYTHON, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    return {
        "cpu": _cpu_name(), "cores": cores, "threads": options.threads, "python": platform.python_version(),
        "load": load, "warning": warning if load > MOST_LOAD else "",
        "versions": {
            **{name: importlib.metadata.version(name) for name in ("openrft", "torch", "transformers")},
            **dict(zip(("trl", "its torch", "its transformers"), told, strict=True)),
        },
    }  # fmt: skip


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure")
    parser.add_argument("--workloads", nargs="+", choices=sorted(WORKLOADS), default=sorted(WORKLOADS))
    parser.add_argument("--sizes", nargs="+", choices=("1M", "10M", "100M"), help="default: all, with --quick 1M")
    parser.add_argument("--rounds", type=int, help="after one to warm up; default 7, with --quick 3")
    parser.add_argument("--budget", type=float, default=240, help="seconds after which a case takes no further round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of time to quality")
    parser.add_argument("--peers", action="store_true", help="the growth of TRL too")
    parser.add_argument("--quick", action="store_true", help="a few minutes' version")
    parser.add_argument("--out", type=Path, help="where the results go")
    options = parser.parse_args()
    options.sizes = options.sizes or (["1M"] if options.quick else ["1M", "10M", "100M"])
    options.rounds = options.rounds or (3 if options.quick else 7)
    return options


if __name__ == "__main__":
    main()
