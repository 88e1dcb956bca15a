"""``/v1/fine_tuning/jobs/{id}/alarms``, ours: what goes wrong while the job trains, with rollouts that show it."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter

from openrft.api.access import Platforms, Reader
from openrft.errors import NotFound

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}", tags=["observability"])


@router.get("/alarms")
def list_alarms(caller: Reader, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """Everything that was noticed so far, in the order of the steps; ``ended_step`` is null while it is still so."""
    platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    try:
        with platform.store.artifacts.open(f"jobs/{fine_tuning_job_id}/documents/alarms.json") as file:
            alarms = json.loads(file.read())["alarms"]
    except NotFound:  # it is written when there is something to write
        alarms = []
    return {"object": "list", "data": [alarm_object(alarm) for alarm in alarms], "has_more": False}


def alarm_object(alarm: dict[str, Any]) -> dict[str, Any]:
    """An alarm on the wire."""
    return {"object": "fine_tuning.job.alarm", **alarm}
