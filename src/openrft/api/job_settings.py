"""``GET /v1/fine_tuning/jobs/{id}/settings``: ours. What was asked, what "auto" became and why, and on what it ran."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter

from openrft.api.access import Platforms, Reader
from openrft.api.platform import Platform
from openrft.config.web import masked
from openrft.errors import NotFound
from openrft.store.rows import JobRow

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}", tags=["observability"])

_CONFIG = "documents/config.json"
_RESOLVED = ("hyperparameters", "reasons")


@router.get("/settings")
def get_settings(caller: Reader, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """Hyperparameters as asked and as resolved, the reason for each "auto", and the provenance of the numbers."""
    job = platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    method = job.spec.get("request", {}).get("method") or {}
    asked = method.get(method.get("type"), {}).get("hyperparameters", {})
    config = _config(platform, job)
    resolved = job.resolved or {key: config[key] for key in _RESOLVED if key in config}
    provenance = {name: value for name, value in config.items() if name not in _RESOLVED}
    return {
        "object": "fine_tuning.job.settings",
        "fine_tuning_job_id": job.id,
        "asked": asked,
        "resolved": resolved.get("hyperparameters"),
        "reasons": resolved.get("reasons", {}),
        "provenance": provenance or None,
    }


def _config(platform: Platform, job: JobRow) -> dict[str, Any]:
    """The run's ``config.json``; empty until a worker has begun with it."""
    try:
        with platform.store.artifacts.open(f"jobs/{job.id}/{_CONFIG}") as file:
            found: dict[str, Any] = masked(json.load(file))
    except NotFound:
        return {}
    return found
