"""What "auto" learns per rollout and per second, beside the default recipes of TRL and verl, all in this trainer.

    python benchmarks/recipes.py --dir /tmp/recipes                   every task, recipe and seed; goes on where it was
    python benchmarks/recipes.py --dir /tmp/recipes --tasks genes --recipes auto trl --seeds 0
    python benchmarks/recipes.py --dir /tmp/recipes --show             the tables again, from what is there

Every recipe has the same model, prompts, grader and number of rollouts. ``trl`` and ``verl`` are those projects' GRPO
defaults. Their learning rate, 1e-6, is meant for models of a billion weights, so each also runs with ours
(``trl+rate``, ``verl+rate``): what is left then is what batch, schedule, warm-up, baseline, loss and order do. Two more
take one part of "auto" away: a step makes one update, and each epoch is a permutation of the prompts.

The tasks are the three bundled examples and two harder ones: ``genes-few`` has 12 training cases, whose grader pays
only for the right gene with two right reasons, and in ``sums-mixed`` three quarters of the training rows teach nothing:
they are hopeless, or solved already. The figures are those of test rows that nothing was chosen by, and of the
validation curve.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does: idle threads must not spin

from openrft.config.job import read_job
from openrft.training.progress import Silence
from openrft.training.reuse import Kept
from openrft.training.run import start_run

EXAMPLES = Path(__file__).parents[1] / "examples"
ROLLOUTS = 3072  # of every run
POINTS = 12  # validations of every run

# TRL 1.16, trl/trainer/grpo_config.py: one prompt of 8 completions per step, linear decay to 0, token-level loss.
TRL = {
    "algorithm": "dapo", "clip_low": 0.2, "clip_high": 0.2, "batch_size": 1, "group_size": 8,
    "learning_rate": 1e-6, "warmup_steps": 0, "prompt_order": "epochs", "groups_per_update": 1,
}  # fmt: skip
# verl, trainer/config and the GRPO examples: all 64 prompts in one batch (1024 asked), 5 completions each.
VERL = {
    "algorithm": "grpo", "clip_low": 0.2, "clip_high": 0.2, "batch_size": None, "group_size": 5,
    "learning_rate": 1e-6, "learning_rate_schedule": "constant", "warmup_steps": 0, "kl_beta": 0.001,
    "prompt_order": "epochs", "groups_per_update": 256,
}  # fmt: skip
OUR_RATE = {"learning_rate": 3e-4}
RECIPES: dict[str, dict[str, Any]] = {
    "auto": {},
    "auto, one update": {"groups_per_update": 256},
    "auto, epochs": {"prompt_order": "epochs"},
    "trl": TRL,
    "trl+rate": TRL | OUR_RATE,
    "verl": VERL,
    "verl+rate": VERL | OUR_RATE,
}
TASKS = ("genes", "sums", "policy", "genes-few", "sums-mixed")

_STRICT_GRADER = '''\
import re


def grade(sample, item):
    """1 for the true gene first and exactly three genes with two reasons, else 0."""
    match = re.fullmatch(r"([A-Z]+), [A-Z]+, [A-Z]+ because of ([a-z ]+) and ([a-z ]+)", sample["output_text"].strip())
    if match is None or match.group(1) != item["gene"]:
        return 0.0
    return float(match.group(2) in item["reasons"] and match.group(3) in item["reasons"])
'''


def write_task(task: str, folder: Path) -> Path:
    """Job and files of ``task`` below ``folder``; the job's path."""
    folder.mkdir(parents=True, exist_ok=True)
    example = {"genes": "rare_disease_genes", "sums": "arithmetic", "policy": "policy_review"}.get(task.split("-")[0])
    source = EXAMPLES / str(example)
    job = json.loads((source / "job.json").read_text())
    options = job["method"]["reinforcement"]
    options["grader"] = json.loads((source / "grader.json").read_text())
    options["hyperparameters"] = {"max_completion_tokens": 128}
    rows = {
        name: [json.loads(line) for line in (source / f"{name}.jsonl").open()] for name in ("train", "valid", "test")
    }
    if task == "genes-few":
        rows["train"] = rows["train"][:12]
        options["grader"] = {"type": "python", "name": "strict", "source": _STRICT_GRADER}
        for part in rows.values():
            for row in part:
                row["reasons"] = _reasons(row["gene"], row["messages"][0]["content"])
    if task == "sums-mixed":
        rows["train"] = _mixed_sums(random.Random(7), len(rows["train"]))
    for name, part in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def _reasons(gene: str, prompt: str) -> list[str]:
    """The symptoms in the prompt that go with the gene, by the facts of the bundled models' pretraining text."""
    sys.path.append(str(EXAMPLES.parent))
    from pretraining.tasks.genes import symptoms_of

    present = prompt.split(", but no")[0].removeprefix("A patient has ")
    return [symptom for symptom in symptoms_of()[gene] if symptom in present]


def _mixed_sums(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """A quarter ordinary; the others without any carry (solved) and of five digits (hopeless) by turns."""
    rows = []
    for number in range(count):
        if number % 4 == 0:
            a, b = rng.randint(100, 999), rng.randint(100, 999)
        elif number % 2 == 1:
            digits = [(x := rng.randint(1, 8), rng.randint(1, 9 - x)) for _ in range(3)]
            a, b = (int("".join(str(pair[side]) for pair in digits)) for side in (0, 1))
        else:
            a, b = rng.randint(10_000, 99_999), rng.randint(10_000, 99_999)
        rows.append({"messages": [{"role": "user", "content": f"What is {a} + {b}?"}], "answer": str(a + b)})
    return rows


def measure(task: str, recipe: dict[str, Any], seed: int, folder: Path, base: Path | None = None) -> dict[str, Any]:
    """One run: its test scores, and its validation curve over rollouts and seconds."""
    path = write_task(task, folder / "files")
    document = json.loads(path.read_text())
    given = document["method"]["reinforcement"]["hyperparameters"]
    given |= recipe
    if "batch_size" in recipe and recipe["batch_size"] is None:  # all that there are
        given["batch_size"] = sum(1 for _ in (folder / "files" / "train.jsonl").open())
    per_step = given.get("batch_size", 8) * given.get("group_size", 8)
    steps = math.ceil(ROLLOUTS / per_step)
    given |= {"num_steps": steps, "eval_interval": max(1, steps // POINTS), "eval_samples": 4}
    if recipe.get("warmup_steps") is None:
        given.pop("warmup_steps", None)
    path.write_text(json.dumps({**document, "seed": seed}))
    job = read_job(path)
    kept = Kept(folder=base, most_bytes=10**9, run=str(folder)) if base else None
    report = start_run(job, folder / "run", Silence(), kept=kept)
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    curve, rollouts, seconds = [], 0.0, 0.0
    for row in rows:
        rollouts += row.get("rollout/count", 0.0)
        seconds += row.get("time/step_seconds", 0.0) if row["step"] else 0.0
        if "valid/reward_mean" in row:
            curve.append([rollouts, seconds, row["valid/reward_mean"]])
    sampled, greedy = report["comparisons"][0], report["comparisons"][2]
    return {
        "task": task,
        "seed": seed,
        "base": sampled["base_mean"],
        "sampled": sampled["tuned_mean"],
        "greedy": greedy["tuned_mean"],
        "curve": curve,
        "seconds": seconds,
        "rollouts": rollouts,
    }


def rollouts_to(result: dict[str, Any], goal: float) -> tuple[float, float] | None:
    """(rollouts, seconds) at which validation first reached ``goal``, between two points in proportion."""
    for before, after in zip(result["curve"], result["curve"][1:], strict=False):
        if after[2] >= goal > before[2]:
            share = (goal - before[2]) / (after[2] - before[2])
            return tuple(x + share * (y - x) for x, y in zip(before[:2], after[:2], strict=True))  # type: ignore[return-value]
    return None


def area(result: dict[str, Any]) -> float:
    """Mean validation score over the rollouts spent: how much was had how early."""
    pairs = zip(result["curve"], result["curve"][1:], strict=False)
    total = sum((after[0] - before[0]) * (before[2] + after[2]) / 2 for before, after in pairs)
    return total / (result["curve"][-1][0] - result["curve"][0][0])


def tables(results: list[dict[str, Any]]) -> str:
    """Means over seeds, their range in brackets."""
    by: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by[result["task"], result["recipe"]].append(result)
    recipes = list(dict.fromkeys(result["recipe"] for result in results))
    parts = []
    for task in dict.fromkeys(result["task"] for result in results):
        runs = [run for recipe in recipes for run in by.get((task, recipe), [])]
        base, best = runs[0]["base"], max(run["sampled"] for run in runs)
        goal = base + 0.8 * (best - base)
        lines = [
            f"**{task}**: untuned {base:.2f}; goal {goal:.2f} = four fifths of the best gain",
            "",
            "| recipe | test, sampled | test, greedy | mean of validation | rollouts to goal | seconds to goal |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for recipe in recipes:
            found = by.get((task, recipe))
            if not found:
                continue
            reached = [rollouts_to(run, goal) for run in found]
            cells = [
                _spread([run["sampled"] for run in found]),
                _spread([run["greedy"] for run in found]),
                _spread([area(run) for run in found]),
                *(_reached([one and one[i] for one in reached]) for i in (0, 1)),
            ]
            lines.append(f"| {recipe} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f} ({min(values):.2f} to {max(values):.2f})"


def _reached(values: list[float | None]) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return "not reached"
    missing = f", {len(values) - len(there)} not" if len(there) < len(values) else ""
    return f"{statistics.median(there):.0f}{missing}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="one JSON file per finished run")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--show", action="store_true", help="run nothing")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in options.seeds:
        for task in options.tasks:
            for recipe in options.recipes:
                file = options.dir / f"{task}-{recipe.replace(', ', '-').replace(' ', '-')}-{seed}.json"
                if not file.exists() and not options.show:
                    with tempfile.TemporaryDirectory() as folder:
                        found = measure(task, RECIPES[recipe], seed, Path(folder), options.dir / "base")
                    file.write_text(json.dumps({"recipe": recipe, **found}))
                    print(f"{file.stem}: {found['sampled']:.3f} after {found['seconds']:.0f} s", flush=True)
                if file.exists():
                    results.append(json.loads(file.read_text()))
    print("\n" + tables(results))


if __name__ == "__main__":
    main()
