"""``POST /v1/fine_tuning/rehearsals``: whether a job can learn, before it is created. Ours."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from openrft.api.access import Platforms, Writer
from openrft.api.bodies import JsonBody, takes
from openrft.api.job_request import JobRequest
from openrft.api.probing import probe

router = APIRouter(prefix="/fine_tuning/rehearsals", tags=["fine-tuning"])

# The bounds keep an ordinary rehearsal of a small model on a CPU within about a minute.
Rows = Annotated[int, Query(ge=1, le=20, description="training rows to try, or all of fewer")]
Samples = Annotated[int, Query(ge=2, le=8, description="answers per row")]


@router.post("", openapi_extra=takes(JobRequest))
def rehearse_job(
    caller: Writer, platform: Platforms, body: JsonBody, rows: Rows = 10, samples: Samples = 4
) -> dict[str, Any]:
    """Let the base model answer some rows and grade them: can the job that this body would create learn?"""
    return probe(platform, caller.project_id, body, "rehearsal", rows=rows, samples=samples)
