"""``/v1/fine_tuning/jobs``: create, list, read, cancel, pause, resume; what is beneath a job has its own modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from openrft.api.access import Platforms, Reader, Writer
from openrft.api.bodies import JsonBody, takes
from openrft.api.job_request import JobRequest, read_job_request
from openrft.api.job_wire import job_object
from openrft.api.listing import After, Limit, page
from openrft.api.platform import Platform
from openrft.errors import InvalidRequest
from openrft.store.rows import JobRow

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

_METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_MOST_METADATA = 16  # of a job; no job has all of more


@router.post("", openapi_extra=takes(JobRequest))
def create_job(caller: Writer, platform: Platforms, body: JsonBody) -> dict[str, Any]:
    """Start a fine-tuning job. It answers at once; the files are read by the worker."""
    asked = read_job_request(platform, caller.project_id, body)
    job = platform.store.jobs.create(caller.project_id, asked, created_by=caller.key.id)
    return job_wire(platform, job)


@router.get("")
def list_jobs(
    request: Request, caller: Reader, platform: Platforms, limit: Limit = 20, after: After = None
) -> dict[str, Any]:
    """The project's jobs, newest first; ``metadata[key]=value`` or ``metadata=null`` picks some of them."""
    wanted, without_any = _metadata_filter(request)
    found = platform.store.jobs.list(
        caller.project_id, after=after, limit=limit, metadata=wanted, without_metadata=without_any
    )
    evals = platform.store.evals.of_jobs([job.id for job in found.items])
    return page(found, lambda job: job_object(job, organization=platform.organization, eval_id=evals.get(job.id)))


@router.get("/{fine_tuning_job_id}")
def retrieve_job(caller: Reader, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """One job."""
    return job_wire(platform, platform.store.jobs.get(caller.project_id, fine_tuning_job_id))


@router.post("/{fine_tuning_job_id}/cancel")
def cancel_job(caller: Writer, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """Stop the job for good; the checkpoints that it has stay usable."""
    return job_wire(platform, platform.store.jobs.cancel(caller.project_id, fine_tuning_job_id))


@router.post("/{fine_tuning_job_id}/pause")
def pause_job(caller: Writer, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """Stop the job at its next step, with a checkpoint that can be used and gone on from."""
    return job_wire(platform, platform.store.jobs.pause(caller.project_id, fine_tuning_job_id))


@router.post("/{fine_tuning_job_id}/resume")
def resume_job(caller: Writer, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """Go on with a paused job."""
    return job_wire(platform, platform.store.jobs.resume(caller.project_id, fine_tuning_job_id))


def job_wire(platform: Platform, job: JobRow) -> dict[str, Any]:
    """The job on the wire, with the eval of its validation runs."""
    eval_id = platform.store.evals.of_job(job.id)
    return job_object(job, organization=platform.organization, eval_id=eval_id)


def _metadata_filter(request: Request) -> tuple[Mapping[str, str], bool]:
    """The metadata that jobs must carry, and whether only those without any are wanted."""
    wanted: dict[str, str] = {}
    without_any = False
    for name, value in request.query_params.multi_items():
        if found := _METADATA.fullmatch(name):
            wanted[found[1]] = value
        elif name == "metadata":
            if value != "null":
                message = "metadata: give metadata[key]=value, or metadata=null for jobs that have none"
                raise InvalidRequest(message, param="metadata")
            without_any = True
    if len(wanted) > _MOST_METADATA:
        raise InvalidRequest(f"metadata: a job has at most {_MOST_METADATA} keys; give fewer", param="metadata")
    if wanted and without_any:
        raise InvalidRequest("metadata: null and a key exclude each other; give one of them", param="metadata")
    return wanted, without_any
