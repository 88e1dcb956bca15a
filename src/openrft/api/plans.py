"""``POST /v1/fine_tuning/plans``: what a job would take, before it is created. Ours."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from openrft.api.access import Platforms, Writer
from openrft.api.bodies import JsonBody, takes
from openrft.api.job_request import JobRequest
from openrft.api.probing import probe

router = APIRouter(prefix="/fine_tuning/plans", tags=["fine-tuning"])

Seconds = Annotated[float, Query(ge=1, le=120, description="how long the job is probed; at least one prompt is")]


@router.post("", openapi_extra=takes(JobRequest))
def plan_job(caller: Writer, platform: Platforms, body: JsonBody, seconds: Seconds = 30.0) -> dict[str, Any]:
    """Probe the job that this body would create, and say what it would take. Nothing is trained, nothing is kept."""
    return probe(platform, caller.project_id, body, "plan", seconds=seconds)
