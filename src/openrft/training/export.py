"""Export a checkpoint of a run that is done or still has steps to go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openrft.config.job import Job
from openrft.config.spec import parse_spec, read_json
from openrft.errors import InvalidRequest
from openrft.models.checkpoint import checkpoint_path, list_checkpoints, load_checkpoint
from openrft.models.export import check_target, export_policy, model_card
from openrft.models.load import load_policy


def export_checkpoint(run: Path, to: Path, *, step: int | None = None, overwrite: bool = False) -> tuple[Path, int]:
    """Write the checkpoint after ``step`` steps to the folder ``to``; returns (path, step).

    Without ``step``: the one that the report says ships, or the last one while there is no report. Raises
    :class:`~openrft.errors.InvalidRequest` that lists the checkpoints when there is none of that step.
    """
    check_target(to.absolute(), overwrite=overwrite)
    job: Job = parse_spec(Job, read_json(run / "job.json", what="the run's"), where="job")
    hyperparameters = read_json(run / "config.json", what="the run's")["hyperparameters"]
    there = [number for number, _ in list_checkpoints(run / "checkpoints")]
    if not there:
        raise InvalidRequest(f"{run} has no checkpoint yet", param="run")
    report: dict[str, Any] | None = None
    if (run / "report.json").exists():
        report = read_json(run / "report.json", what="the run's")
    if step is None:
        step = report["shipped_step"] if report is not None else there[-1]
    if step not in there:
        raise InvalidRequest(
            f"{run} has no checkpoint of step {step}; it has {', '.join(map(str, there))}", param="step"
        )
    policy = load_policy(
        job.model, weights=hyperparameters["weights"], lora_rank=hyperparameters["lora_rank"], seed=job.seed
    )
    load_checkpoint(checkpoint_path(run / "checkpoints", step), policy=policy)
    is_reported = report is not None and report["shipped_step"] == step
    grader = job.method.options.grader
    card = model_card(
        policy=policy,
        title=f"{job.suffix or Path(job.model).name}-step-{step}",
        grader=None if grader is None else grader.model_dump(mode="json", exclude_none=True),
        method=job.method.type,
        report=str(report["sentence"])
        if report is not None and is_reported
        else "This checkpoint has not been reported on.",
        metrics={},
        how=f"`{job.model}` after {step} steps of {job.method.type} fine-tuning with openrft (seed {job.seed}).",
    )
    return export_policy(policy, to, card=card, overwrite=overwrite), step
