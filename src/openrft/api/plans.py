"""``POST /v1/fine_tuning/plans``: what a job would take, before it is created. Ours.

A plan runs the model, which this process must not: it is made by a child process on this machine, one at a time and
within a time limit. The client waits for it; a plan is of no use later, so nothing is stored.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query

from openrft.api.access import Platforms, Writer
from openrft.api.bodies import JsonBody, takes
from openrft.api.job_request import JobRequest, read_job_request
from openrft.api.platform import Platform
from openrft.config.home import KEPT_FOLDER
from openrft.errors import InvalidRequest, OpenRFTError, TooManyRequests
from openrft.store.artifacts import read_pieces

router = APIRouter(prefix="/fine_tuning/plans", tags=["fine-tuning"])

LIMIT_SECONDS = 540.0
"""When a plan is broken off: before OpenAI's client gives up after 600."""

_ROLES = ("training_file", "validation_file", "test_file")

log = logging.getLogger(__name__)
_at_work = threading.Lock()

Seconds = Annotated[float, Query(ge=1, le=120, description="how long the job is probed; at least one prompt is")]


@router.post("", openapi_extra=takes(JobRequest))
def plan_job(caller: Writer, platform: Platforms, body: JsonBody, seconds: Seconds = 30.0) -> dict[str, Any]:
    """Probe the job that this body would create, and say what it would take. Nothing is trained, nothing is kept."""
    document = read_job_request(platform, caller.project_id, body).spec["document"]
    if str(document["model"]).startswith("ft:"):
        message = "a job that goes on with a fine-tuned model cannot be planned here yet; plan it with its base"
        raise InvalidRequest(message, param="model")
    if not _at_work.acquire(blocking=False):
        raise TooManyRequests("another plan is being made; one is at a time, or both would be wrong", retry_after=30)
    try:
        with tempfile.TemporaryDirectory(prefix="openrft-plan-") as folder:
            return _plan(platform, caller.project_id, document, seconds, Path(folder))
    finally:
        _at_work.release()


def _plan(
    platform: Platform, project_id: str, document: dict[str, Any], seconds: float, folder: Path
) -> dict[str, Any]:
    ids = {role: document[role] for role in _ROLES if document.get(role)}
    paths = {role: str(folder / f"{role}.jsonl") for role in ids}
    for role, file_id in ids.items():
        with platform.store.files.open(project_id, file_id) as source, open(paths[role], "wb") as target:
            target.writelines(read_pieces(source))
    asked = {
        "job": {**document, **paths, "integrations": None},
        "seconds": seconds,
        "reachable": list(platform.settings.server.reachable),
        "kept": str(platform.home / KEPT_FOLDER),
    }
    found = json.loads(_run(json.dumps(asked), folder))
    if "error" in found:
        raise _error(found, {paths[role]: file_id for role, file_id in ids.items()})
    return {"object": "fine_tuning.plan", **{name: value for name, value in found.items() if name != "type"}}


def _run(asked: str, folder: Path) -> str:
    """What the child answers. It and all that it has started are gone when this returns."""
    with (folder / "log").open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "openrft.training.plan_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        answer, _ = child.communicate(asked, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        raise OpenRFTError(
            f"the plan was not done after {LIMIT_SECONDS:.0f} seconds; plan it on the machine itself: openrft plan",
            code="plan_timeout",
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if not answer:
        last = (folder / "log").read_text(errors="replace")[-2000:]
        log.error("a plan ended with code %s: %s", child.returncode, last)
        raise OpenRFTError("the plan ended without an answer; the server's log says more", code="plan_failed")
    return answer


def _error(found: dict[str, Any], names: dict[str, str]) -> OpenRFTError:
    """The child's error, with the ids of files in place of where they were."""
    told = found["error"]
    message = told["message"]
    for path, file_id in names.items():
        message = message.replace(path, file_id)
    kind = InvalidRequest if found["status"] < 500 else OpenRFTError
    return kind(message, param=told["param"], code=told["code"])
