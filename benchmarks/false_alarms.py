"""How often a healthy run raises an alarm: the examples with small variations of their settings, over seeds.

    python benchmarks/false_alarms.py runs.json                 50 runs; goes on where it was stopped
    python benchmarks/false_alarms.py runs.json --runs 3
    python benchmarks/false_alarms.py runs.json --runs 0        only the table

The last of the variations is random rewards: data without a fault, a grader that knows nothing. Nothing should be told
there either, since nothing is exploited and nothing collapses; the report says that the model did not get better.

Whatever is told counts as a false alarm; its sentence is printed, and what became of the score, for people to judge.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does: idle threads must not spin

from openrft.config.job import Job, read_job
from openrft.evaluation.statistics import mean_interval
from openrft.training.alarms import diagnose
from openrft.training.progress import Silence
from openrft.training.run import start_run

VARIATIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("as it is", "rare_disease_genes", {}),
    ("as it is", "arithmetic", {}),
    ("as it is", "policy_review", {}),
    ("half the learning rate", "rare_disease_genes", {"learning_rate_multiplier": 0.5}),
    ("half the learning rate", "arithmetic", {"learning_rate_multiplier": 0.5}),
    ("small batches", "arithmetic", {"batch_size": 4, "n_epochs": 3}),
    ("small groups", "policy_review", {"group_size": 4}),
    ("validated often", "rare_disease_genes", {"eval_interval": 4, "eval_samples": 1}),
    ("validated often", "policy_review", {"eval_interval": 4, "eval_samples": 1}),
    ("another algorithm", "arithmetic", {"algorithm": "grpo"}),
    ("adapters", "arithmetic", {"weights": "lora"}),
    ("twice as long", "policy_review", {"n_epochs": 12}),
    ("random rewards", "random_rewards", {}),
)


def job_of(example: str, changes: dict[str, Any], seed: int) -> Job:
    """The example's job with other hyperparameters; without its test file, which no rule looks at."""
    path = Path(__file__).parents[1] / "examples" / example / "job.json"
    document = read_job(path).model_dump(mode="json")
    document["method"]["reinforcement"]["hyperparameters"] |= changes
    return Job.model_validate({**document, "seed": seed, "test_file": None})


def measure(number: int) -> dict[str, Any]:
    """One run and what was noticed in it."""
    name, example, changes = VARIATIONS[number % len(VARIATIONS)]
    seed = number // len(VARIATIONS)
    with tempfile.TemporaryDirectory() as folder:
        report = start_run(job_of(example, changes, seed), Path(folder) / "run", Silence())
        alarms = diagnose(Path(folder) / "run")
    primary = report["comparisons"][0]
    return {
        "number": number,
        "variation": name,
        "example": example,
        "seed": seed,
        "base": primary["base_mean"],
        "tuned": primary["tuned_mean"],
        "alarms": [{"code": one.code, "step": one.step, "sentence": one.sentence} for one in alarms],
    }


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Alarms by variation, and the rate over all runs."""
    lines = ["| variation | example | runs | runs with an alarm | alarms |", "| --- | --- | ---: | ---: | --- |"]
    for name, example, _ in VARIATIONS:
        those = [row for row in rows if (row["variation"], row["example"]) == (name, example)]
        codes = Counter(alarm["code"] for row in those for alarm in row["alarms"])
        told = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        lines.append(f"| {name} | {example} | {len(those)} | {sum(bool(row['alarms']) for row in those)} | {told} |")
    if rows:
        false = [float(bool(row["alarms"])) for row in rows]
        rate = mean_interval(false, num_samples=1)
        lines += ["", f"{sum(false):.0f} of {len(rows)} runs: {sum(false) / len(rows):.1%} "
                  f"[{rate.low:.1%}, {rate.high:.1%}] (95 %, Wilson)"]  # fmt: skip
    for row in rows:
        for alarm in row["alarms"]:
            lines.append(f"- {row['example']}, {row['variation']}, seed {row['seed']}, step {alarm['step']}: "
                         f"{alarm['code']}: {alarm['sentence']}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="where each run's outcome is kept, as JSON")
    parser.add_argument("--runs", type=int, default=50, help="how many runs there are to be in all")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(options.file.read_text()) if options.file.exists() else []
    for number in range(len(rows), options.runs):
        rows.append(measure(number))
        partial = options.file.with_suffix(".partial")
        partial.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        partial.replace(options.file)
        row = rows[-1]
        told = ", ".join(alarm["code"] for alarm in row["alarms"]) or "silent"
        print(f"{number + 1:>3}  {row['example']}, {row['variation']}, seed {row['seed']}: "
              f"{row['base']:.2f} → {row['tuned']:.2f}  {told}", flush=True)  # fmt: skip
    print("\n" + as_markdown(rows))


if __name__ == "__main__":
    main()
