"""A plan in a process of its own, for a server that loads no model itself: python -m openrft.training.plan_process.

Reads one JSON object from standard input (``job`` with files by path, ``seconds``, ``reachable`` addresses for graders)
and writes one to standard output: the plan, or the error as ``{"error": …}``. What else is printed goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from openrft.config.heap import keep_freed_memory
from openrft.config.job import Job
from openrft.config.reachable import restrict
from openrft.config.spec import parse_spec
from openrft.config.waiting import wait_briefly
from openrft.errors import OpenRFTError
from openrft.training.progress import Silence


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


def _answer(asked: dict[str, object]) -> dict[str, object]:
    try:
        from openrft.training.plan import plan

        job: Job = parse_spec(Job, asked["job"], where="job")
        kept = Path(str(asked["kept"]))
        return plan(job, Silence(), seconds=float(str(asked["seconds"])), kept=kept).to_json()
    except OpenRFTError as error:
        return {**error.to_wire(), "status": error.http_status}


if __name__ == "__main__":
    main()
