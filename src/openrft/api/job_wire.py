"""A job as OpenAI's job object, key for key, with the extras that its server sends and its client keeps.

A wish is shown at once: ``cancelled`` or ``paused`` while the worker is still winding down, as OpenAI's answers have
it. Cancelling is for good, whatever the worker was about to finish with, so nothing that waits for an end is misled; a
pause that came too late shows as the end that was faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openrft.config.web import masked
from openrft.store.rows import JobRow, JobStatus

_ORDINARY_GROUP = 8  # completions per prompt at a compute_multiplier of 1


def job_object(job: JobRow, *, organization: str, eval_id: str | None) -> dict[str, Any]:
    """The job on the wire. ``eval_id`` names the eval of its validation runs, once there is one."""
    request = job.spec.get("request", {})
    method = _method(request.get("method"), job)
    return {
        "object": "fine_tuning.job",
        "id": job.id,
        "model": job.model,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "fine_tuned_model": job.fine_tuned_model,
        "organization_id": organization,
        "result_files": list(job.result_files),
        "status": shown_status(job),
        "validation_file": job.validation_file,
        "training_file": job.training_file,
        "trained_tokens": job.trained_tokens,
        "error": {} if job.error is None else _error(job),
        "user_provided_suffix": job.suffix,
        "seed": job.seed,
        "estimated_finish": job.estimated_finish if shown_status(job) == "running" else None,
        "integrations": [_integration(one, job) for one in request.get("integrations", [])],
        "method": method,
        "metadata": job.metadata,
        "usage_metrics": None,
        "shared_with_openai": False,
        "eval_id": eval_id,
        **_at_the_top(method),
    }


def _integration(asked: Mapping[str, Any], job: JobRow) -> dict[str, Any]:
    """As it was asked for; what goes to W&B with the id of the run there, which is the job's."""
    if asked["type"] != "wandb":
        return dict(asked)
    return {**asked, "wandb": {**asked["wandb"], "run_id": job.id}}


def shown_status(job: JobRow) -> JobStatus:
    """The job's status, or the one that somebody has asked for and that its worker is about to reach."""
    if job.status == "running" and job.cancel_requested:
        return "cancelled"
    if job.status == "running" and job.pause_requested:
        return "paused"
    return job.status


def _error(job: JobRow) -> dict[str, Any]:
    assert job.error is not None
    return {"code": job.error.code, "message": job.error.message, "param": job.error.param}


def _method(method: Mapping[str, Any] | None, job: JobRow) -> dict[str, Any] | None:
    if method is None:
        return None
    kind = method["type"]
    options = dict(method[kind])
    options["hyperparameters"] = _with_resolved(options["hyperparameters"], job.resolved)
    for name in ("grader", "monitor_grader"):
        if name in options:
            options[name] = masked(options[name])
    return {**method, kind: options}


def _at_the_top(method: Mapping[str, Any] | None) -> dict[str, Any]:
    """OpenAI's older place for hyperparameters: of supervised jobs only, and absent from all others."""
    if method is None or method["type"] != "supervised":
        return {}
    return {"hyperparameters": method["supervised"]["hyperparameters"]}


def _with_resolved(asked: Mapping[str, Any], resolved: Mapping[str, Any] | None) -> dict[str, Any]:
    """``asked`` with a number in place of each "auto", once the worker has chosen them."""
    chosen = dict((resolved or {}).get("hyperparameters", {}))
    if "group_size" in chosen:
        chosen["compute_multiplier"] = chosen["group_size"] / _ORDINARY_GROUP
    if chosen and asked.get("learning_rate", "auto") == "auto":
        chosen["learning_rate_multiplier"] = 1.0
    if isinstance(epochs := chosen.get("n_epochs"), float):
        chosen["n_epochs"] = int(epochs) if epochs.is_integer() else round(epochs, 3)
    return {name: chosen.get(name, value) if value == "auto" else value for name, value in asked.items()}
