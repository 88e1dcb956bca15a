"""What `openrft plan` says of the bundled examples, beside what their runs took.

    python benchmarks/plan_accuracy.py [--seed 0] [--examples arithmetic …] [--out FILE]

For each example: a plan, then the run, each in a process of its own with a home of its own, so that no run finds the
evaluation of the base that another left. Prints predicted / actual for time, answers, tokens, memory and grades, and
with --out writes the same as JSON. Time is the run's wall time with the loading of the model, but without Python's
own start and the import of torch, which the plan does not count either.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ("arithmetic", "policy_review", "rare_disease_genes")


def openrft(*arguments: str, home: Path) -> list[dict[str, Any]]:
    """The JSON lines that a command prints."""
    command = [sys.executable, "-m", "openrft", *arguments]
    environment = {**os.environ, "OPENRFT_HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def planned(job: Path, seed: int, home: Path) -> dict[str, Any]:
    """What the plan expects, low and high where it has a range."""
    [plan] = openrft("plan", str(job), "--json", "--seed", str(seed), home=home)
    return {
        "seconds": {**plan["seconds"], "phases": plan["phases"]},
        "answers": plan["rollouts"] + plan["evaluation_answers"],
        "tokens": plan["tokens_sampled"],
        "tokens trained": plan["tokens_trained"],
        "peak bytes": plan["peak_bytes"],
        "grades": plan["grader_calls"],
        "probe seconds": plan["probe"]["seconds"],
        "loading": plan["phases"]["loading"]["expected"],
    }


def ran(job: Path, seed: int, home: Path, folder: Path) -> dict[str, Any]:
    """What the run took, by its own records."""
    [*_, last] = openrft("run", str(job), "--json", "--seed", str(seed), "--dir", str(folder), home=home)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    passes = [json.loads(path.read_text()) for path in (folder / "evaluations").glob("step-*.json")]
    evaluated = [length for one in passes for row in one["rows"] for length in row["completion_tokens"]]
    steps = [row for row in rows if row["step"] > 0]
    rollouts = [
        json.loads(line) for path in (folder / "rollouts").glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    spent = last["report"]["time_spent"]
    return {
        "seconds": spent["seconds"],
        "answers": len(rollouts) + len(evaluated),
        "tokens": sum(len(one["token_ids"]) for one in rollouts) + sum(evaluated),
        "tokens trained": sum(len(one["token_ids"]) for one in rollouts if one["left_out"] is None),
        "peak bytes": max(row["memory/peak_bytes"] for row in steps),
        "grades": len(rollouts) + len(evaluated),
        "phases": {phase["name"]: round(phase["seconds"], 2) for phase in spent["phases"]},
    }


def main() -> None:
    """Plan and run each example, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", nargs="+", default=EXAMPLES, choices=EXAMPLES)
    parser.add_argument("--out", type=Path, help="write everything as JSON")
    asked = parser.parse_args()
    found = {}
    print(f"{'example':<20}{'figure':<16}{'predicted':>12}{'actual':>12}{'ratio':>8}  range")
    for name in asked.examples:
        job = ROOT / "examples" / name / "job.json"
        with tempfile.TemporaryDirectory() as kept:
            home = Path(kept) / "home"
            before, load = planned(job, asked.seed, home), os.getloadavg()[0]
            after = ran(job, asked.seed, home, Path(kept) / "run")
        found[name] = {"planned": before, "ran": after, "load": [load, os.getloadavg()[0]]}
        after["seconds"] += before["loading"]  # the run's own clock begins when it is loaded
        for figure in ("seconds", "answers", "tokens", "tokens trained", "peak bytes", "grades"):
            told, actual = before[figure], after[figure]
            expected = told["expected"] if isinstance(told, dict) else told
            span = f"[{told['low']:,.0f} … {told['high']:,.0f}]" if isinstance(told, dict) else ""
            print(f"{name:<20}{figure:<16}{expected:>12,.0f}{actual:>12,.0f}{expected / actual:>8.2f}  {span}")
        print(f"{name:<20}{'(the probe)':<16}{before['probe seconds']:>12.1f} s", flush=True)
    if asked.out is not None:
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
