"""Named places where a test can make this process die or its disk full, to see what is left behind.

    faults.point("checkpoint.renamed")          does nothing, unless

    OPENRFT_FAULTS="checkpoint.renamed:2"       kills this process (SIGKILL) when it gets there for the second time
    OPENRFT_FAULTS="checkpoint.renamed:1=full"  raises the error of a full disk, the first time only

Several are separated by commas. The names are listed here, so that a test can go through all of them.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter

VARIABLE = "OPENRFT_FAULTS"

POINTS = (
    "attempt.started",
    "attempt.files_ready",
    "attempt.restored",
    "restore.began",
    "restore.rebuilt",
    "run.rollouts_written",
    "run.step_recorded",
    "guard.gone_back",
    "checkpoint.files_written",
    "checkpoint.complete",
    "checkpoint.renamed",
    "mirror.rollouts_written",
    "mirror.step_recorded",
    "mirror.evaluation_written",
    "mirror.checkpoint_file_written",
    "mirror.checkpoint_written",
    "mirror.checkpoint_recorded",
    "mirror.checkpoint_forgotten",
    "ending.model_file_written",
    "ending.model_written",
    "ending.model_recorded",
    "ending.results_written",
    "ending.finished",
)
"""Every point, roughly in the order in which an attempt passes them."""

_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Die or fail here if the environment says so."""
    if name not in POINTS:
        raise ValueError(f"{name!r} is not listed in openrft.faults.POINTS")
    armed = os.environ.get(VARIABLE)
    if not armed:
        return
    _passed[name] += 1
    for one in armed.split(","):
        place, _, kind = one.strip().partition("=")
        where, _, count = place.partition(":")
        if where != name or _passed[name] != int(count or 1):
            continue
        if kind == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        os.kill(os.getpid(), signal.SIGKILL)
