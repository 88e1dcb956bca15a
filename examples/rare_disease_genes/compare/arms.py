"""Run one arm of the comparison: train, then grade what ships on the test cases."""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does: idle threads must not spin

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent
MOST_TOKENS = 128
SFT_RATES = (0.3, 1.0, 3.0)  # times the learning rate of "auto"


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_job(arm: str, size: int, seed: int, folder: Path, rate: float) -> Path:
    """The arm's job and its training and validation files below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = random.Random(f"cases {seed}").sample(read_lines(HERE / "cases.jsonl"), size)
    valid = read_lines(EXAMPLE / "valid.jsonl")
    answers = {row["prompt"]: row["answer"] for row in read_lines(HERE / "valid-answers.jsonl")}
    grader: dict[str, Any] = json.loads((EXAMPLE / "grader.json").read_text())
    hyperparameters: dict[str, Any] = {"max_completion_tokens": MOST_TOKENS}
    if rate != 1.0:
        hyperparameters["learning_rate_multiplier"] = rate
    options: dict[str, Any] = {"grader": grader, "hyperparameters": hyperparameters}
    rows = {"train": [], "valid": []}
    for case in cases:
        rows["train"].append(as_row(case["prompt"], case["gene"], case["answer"] if arm == "sft" else None))
    for row in valid:
        prompt = row["messages"][0]["content"]
        rows["valid"].append(as_row(prompt, row["gene"], answers[prompt] if arm == "sft" else None))
    for name, part in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    if arm == "chance":
        options["grader"] = {"type": "random", "seed": seed}
    kind = "supervised" if arm == "sft" else "reinforcement"
    job = {
        "model": "openrft-tiny",
        "training_file": "train.jsonl",
        "validation_file": "valid.jsonl",
        "seed": seed,
        "method": {"type": kind, kind: options},
    }
    (folder / "job.json").write_text(json.dumps(job, indent=2), encoding="utf-8")
    return folder / "job.json"


def as_row(prompt: str, gene: str, answer: str | None) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages, "gene": gene}


def run_arm(arm: str, size: int, seed: int, file: Path) -> None:
    """Train one arm, evaluate what it ships on the test cases, and leave the scores in ``file``.

    SFT is trained with three learning rates, of which the graded validation cases choose one: its rival has grades.
    """
    with tempfile.TemporaryDirectory() as name:
        tries = [
            train(write_job(arm, size, seed, Path(name) / str(rate), rate), Path(name) / str(rate) / "run")
            for rate in (SFT_RATES if arm == "sft" else (1.0,))
        ]
        best = max(tries, key=lambda one: one["valid"])
        found = {
            "arm": arm,
            "size": size,
            "seed": seed,
            "steps": best["steps"],
            "shipped_step": best["shipped_step"],
            "seconds": round(sum(one["seconds"] for one in tries), 1),
            "rollouts": sum(one["rollouts"] for one in tries),
            **scores_of(best["model"]),
        }
    write_whole(file, found)


def train(job: Path, folder: Path) -> dict[str, Any]:
    """What came of a job: where its model is, and how it did on the validation cases."""
    from openrft.config.job import read_job
    from openrft.training.progress import Silence
    from openrft.training.run import start_run

    started = time.perf_counter()
    report = start_run(read_job(job), folder, Silence())
    steps = read_lines(folder / "metrics.jsonl")
    shipped = report["shipped_step"]
    return {
        "model": str(folder / "model"),
        "shipped_step": shipped,
        "valid": next(row["valid/reward_mean"] for row in steps if row["step"] == shipped),
        "steps": len(steps) - 1,
        "rollouts": sum(row.get("rollout/count", 0) for row in steps),
        "seconds": time.perf_counter() - started,
    }


def run_base(arm: str, file: Path) -> None:
    write_whole(file, {"arm": arm, **scores_of(f"openrft-{arm}")})


def scores_of(model: str) -> dict[str, Any]:
    """Scores of the test cases' four sampled answers and of the greedy one; the same noise for every model."""
    from openrft.config.graders import parse_grader
    from openrft.training.compare import evaluate_model
    from openrft.training.progress import Silence
    from openrft.types import SamplingParams

    sampled, greedy = evaluate_model(
        model,
        EXAMPLE / "test.jsonl",
        parse_grader(json.loads((EXAMPLE / "grader.json").read_text())),
        num_samples=4,
        sampling=SamplingParams(max_tokens=MOST_TOKENS),
        seed=0,
        progress=Silence(),
    )
    return {"sampled": [row.scores for row in sampled.rows], "greedy": [row.scores[0] for row in greedy.rows]}


def write_whole(file: Path, document: dict[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(file)
