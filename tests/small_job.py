"""The genes example, cut down to seconds: for tests that compare whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openrft.config.job import Job, read_job


def small_job(repository: Path, *, seed: int = 0, num_steps: int = 3, **hyperparameters: Any) -> Job:
    """A job of ``num_steps`` steps on the bundled tiny model, validated at its end."""
    job = read_job(repository / "examples/rare_disease_genes/job.json").model_dump(mode="json")
    asked = job["method"]["reinforcement"]["hyperparameters"]
    asked |= {
        "n_epochs": "auto", "num_steps": num_steps, "batch_size": 4, "group_size": 8, "max_completion_tokens": 96,
        "eval_interval": num_steps, "eval_samples": 1, **hyperparameters,
    }  # fmt: skip
    return Job.model_validate({**job, "seed": seed, "test_file": None})


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Metrics of the steps of the run in ``folder``, the base's evaluation first."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
