"""``/v1/fine_tuning/jobs/{id}/alarms``, ours: what goes wrong while the job trains, with rollouts that show it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from openrft.api.access import Platforms, Reader
from openrft.api.platform import Platform
from openrft.api.stored_json import read_json
from openrft.errors import NotFound

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}", tags=["observability"])


@router.get("/alarms")
def list_alarms(caller: Reader, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """Everything that was noticed so far, in the order of the steps; ``ended_step`` is null while it is still so."""
    platform.store.jobs.get(caller.project_id, fine_tuning_job_id)
    alarms = read_alarms(platform, fine_tuning_job_id)
    return {"object": "list", "data": [alarm_object(alarm) for alarm in alarms], "has_more": False}


def read_alarms(platform: Platform, job_id: str) -> list[dict[str, Any]]:
    """The alarms as the job has written them. Whether the caller may see the job is checked before."""
    try:
        with platform.store.artifacts.open(f"jobs/{job_id}/documents/alarms.json") as file:
            alarms: list[dict[str, Any]] = read_json(file.read())["alarms"]
            return alarms
    except NotFound:  # it is written when there is something to write
        return []


def alarm_object(alarm: dict[str, Any]) -> dict[str, Any]:
    """An alarm on the wire."""
    return {"object": "fine_tuning.job.alarm", **alarm}
