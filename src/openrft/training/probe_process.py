"""A probe of a job in a process of its own, for a server that loads no model: python -m openrft.training.probe_process.

Reads one JSON object from standard input (``kind``: plan or rehearsal; ``job`` with files by path; ``bounds`` of that
kind; ``reachable`` addresses for graders; ``kept``, the server's folder of what runs keep for one another) and writes
one to standard output: what the command prints with --json, or the error as ``{"error": …}``. What else is printed goes
to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from openrft.config.heap import keep_freed_memory
from openrft.config.job import Job
from openrft.config.reachable import restrict
from openrft.config.spec import parse_spec
from openrft.config.waiting import wait_briefly
from openrft.errors import OpenRFTError
from openrft.training.progress import Notes


def main() -> None:
    """The process. Leaves without waiting for a grader's threads."""
    asked = json.load(sys.stdin)
    restrict(asked["reachable"])  # the grader is called for whoever holds a key
    wait_briefly()  # before torch is imported
    keep_freed_memory()
    os.nice(5)  # whoever asks the server something does not wait for this
    with contextlib.redirect_stdout(sys.stderr):
        answer = _answer(asked)
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    notes = Notes()
    try:
        job: Job = parse_spec(Job, asked["job"], where="job")
        probe = _plan if asked["kind"] == "plan" else _rehearse
        return {**probe(job, notes, asked), "notes": notes.messages}
    except OpenRFTError as error:
        return {**error.to_wire(), "status": error.http_status}


def _plan(job: Job, notes: Notes, asked: dict[str, Any]) -> dict[str, Any]:
    from openrft.training.plan import plan

    return plan(job, notes, seconds=asked["bounds"]["seconds"], kept=Path(asked["kept"])).to_json()


def _rehearse(job: Job, notes: Notes, asked: dict[str, Any]) -> dict[str, Any]:
    from openrft.training.rehearse import as_json, rehearse

    bounds = asked["bounds"]
    return as_json(rehearse(job, notes, num_rows=bounds["rows"], num_samples=bounds["samples"]))


if __name__ == "__main__":
    main()
