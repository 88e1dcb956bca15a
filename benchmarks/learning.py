"""What each example teaches the tiny model, over seeds, with the control arm: the table of the README.

    python benchmarks/learning.py                       every example, seeds 0 1 2, and prints Markdown
    python benchmarks/learning.py --examples arithmetic --seeds 0 --json results.json

Each row is one `openrft run` of the example's job. Pass rates are shares of answers with a full score on test rows that
nothing was chosen by; "RL seconds" is sampling, grading, updates and validations, without loading and the final report.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does: idle threads must not spin

from openrft.config.job import read_job
from openrft.training.progress import Silence
from openrft.training.run import start_run

EXAMPLES = ("rare_disease_genes", "arithmetic", "policy_review", "random_rewards")


def measure(example: str, seed: int, folder: Path) -> dict[str, Any]:
    job = read_job(Path(__file__).parents[1] / "examples" / example / "job.json").model_copy(update={"seed": seed})
    started = time.monotonic()
    report = start_run(job, folder, Silence())
    seconds = time.monotonic() - started
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rates = {(c["mode"], arm): c[f"{arm}_mean"] for c in report["comparisons"][1::2] for arm in ("base", "tuned")}
    primary = report["comparisons"][0]["paired"]
    return {
        "example": example,
        "seed": seed,
        "base_sampled": rates["sampled", "base"],
        "base_greedy": rates["greedy", "base"],
        "tuned_sampled": rates["sampled", "tuned"],
        "tuned_greedy": rates["greedy", "tuned"],
        "gain": primary["mean"],
        "gain_interval": [primary["interval"]["low"], primary["interval"]["high"]],
        "outcome": report["outcome"],
        "rl_seconds": sum(row["time/step_seconds"] for row in steps if row["step"] > 0),
        "total_seconds": seconds,
    }


def as_markdown(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| example | seed | base sampled | base greedy | tuned sampled | tuned greedy | gain in mean score | RL s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = row["gain_interval"]
        lines.append(
            f"| {row['example']} | {row['seed']} | {row['base_sampled']:.1%} | {row['base_greedy']:.1%} "
            f"| {row['tuned_sampled']:.1%} | {row['tuned_greedy']:.1%} "
            f"| {row['gain']:+.3f} [{low:.3f}, {high:.3f}] {'' if row['outcome'] == 'better' else row['outcome']} "
            f"| {row['rl_seconds']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", nargs="+", choices=EXAMPLES, default=EXAMPLES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for example in options.examples:
            for seed in options.seeds:
                rows.append(measure(example, seed, Path(folder) / f"{example}-{seed}"))
                print(as_markdown(rows[-1:]).splitlines()[-1], flush=True)
    print("\n" + as_markdown(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
