"""What a job would do, tried by a child process on this machine: plans and rehearsals run the model, this must not.

One is made at a time, within a time limit. The client waits for it; it is of no use later, so nothing is stored.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from openrft.api.job_request import read_job_request
from openrft.api.platform import Platform
from openrft.api.turns import Turns
from openrft.config.home import KEPT_FOLDER
from openrft.errors import InvalidRequest, OpenRFTError
from openrft.store.artifacts import read_pieces

Kind = Literal["plan", "rehearsal"]

LIMIT_SECONDS = 540.0
"""When a probe is broken off: before OpenAI's client gives up after 600."""

_ROLES = ("training_file", "validation_file", "test_file")
_COMMANDS: Mapping[Kind, str] = {"plan": "openrft plan", "rehearsal": "openrft grader rehearse"}
_PARTICIPLES: Mapping[Kind, str] = {"plan": "planned", "rehearsal": "rehearsed"}

log = logging.getLogger(__name__)
_TURNS = Turns(1, "another job is being planned or rehearsed; one is at a time, or both would be wrong", retry_after=30)


def probe(platform: Platform, project_id: str, body: Mapping[str, Any], kind: Kind, **bounds: float) -> dict[str, Any]:
    """The plan or rehearsal, as its command prints it, of the job that ``body`` would create; see ``probe_process``.

    Raises :class:`InvalidRequest` for what is wrong with the job, with ids of files in place of paths, and
    :class:`~openrft.errors.TooManyRequests` while another probe is made.
    """
    document = read_job_request(platform, project_id, body).spec["document"]
    if str(document["model"]).startswith("ft:"):
        message = f"a job that goes on with a fine-tuned model cannot be {_PARTICIPLES[kind]} here yet; use its base"
        raise InvalidRequest(message, param="model")
    with _TURNS.one(), tempfile.TemporaryDirectory(prefix="openrft-probe-") as folder:
        return _probe(platform, project_id, document, kind, bounds, Path(folder))


def _probe(
    platform: Platform,
    project_id: str,
    document: Mapping[str, Any],
    kind: Kind,
    bounds: Mapping[str, float],
    folder: Path,
) -> dict[str, Any]:
    ids = {role: document[role] for role in _ROLES if document.get(role)}
    paths = {role: str(folder / f"{role}.jsonl") for role in ids}
    for role, file_id in ids.items():
        with platform.store.files.open(project_id, file_id) as source, open(paths[role], "wb") as target:
            target.writelines(read_pieces(source))
    asked = {
        "kind": kind,
        "job": {**document, **paths, "integrations": None},
        "bounds": bounds,
        "reachable": list(platform.settings.server.reachable),
        "kept": str(platform.home / KEPT_FOLDER),
    }
    # The child knows files by path; whoever asks knows them by id.
    names = {paths[role]: file_id for role, file_id in ids.items()}
    found: dict[str, Any] = _with_ids(json.loads(_run(json.dumps(asked), kind, folder)), names)
    if "error" in found:
        told = found["error"]
        error = InvalidRequest if found["status"] < 500 else OpenRFTError
        raise error(told["message"], param=told["param"], code=told["code"])
    return {"object": f"fine_tuning.{kind}", **{name: value for name, value in found.items() if name != "type"}}


def _run(asked: str, kind: Kind, folder: Path) -> str:
    """What the child answers. It and all that it has started are gone when this returns."""
    with (folder / "log").open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "openrft.training.probe_process"],
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
            f"the {kind} was not done after {LIMIT_SECONDS:.0f} seconds; make it on the machine itself: "
            f"{_COMMANDS[kind]} job.json",
            code=f"{kind}_timeout",
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if not answer:
        last = (folder / "log").read_text(errors="replace")[-2000:]
        log.error("a %s ended with code %s: %s", kind, child.returncode, last)
        raise OpenRFTError(f"the {kind} ended without an answer; the server's log says more", code=f"{kind}_failed")
    return answer


def _with_ids(found: Any, names: Mapping[str, str]) -> Any:
    """``found`` with the ids of files in every text, in place of where they were."""
    if isinstance(found, str):
        for path, file_id in names.items():
            found = found.replace(path, file_id)
        return found
    if isinstance(found, dict):
        return {key: _with_ids(value, names) for key, value in found.items()}
    return [_with_ids(value, names) for value in found] if isinstance(found, list) else found
