"""How threads that compute together wait for one another, in every process of ours: briefly, or asleep.

An OpenMP thread that is done with its part of a product spins until the others are done too: three milliseconds by
libgomp's default, 200 by LLVM's. Beside a busy grader the spinning thread holds the very core that the one it waits for
needs, and a step takes many times as long. Asleep it costs each product some tens of microseconds to wake, which is
what two threads gain on a small one. So on a machine where nobody else computes threads spin for some fifty
microseconds, about as long as the gaps between products are, and elsewhere not at all. ``benchmarks/threads.py``
measures all of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

_SAID_BY_THE_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


SPINS = 5000
"""Rounds of waiting on a quiet machine, of about ten nanoseconds each."""


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Say so in ``environment``, for this process and those it starts, unless the user has said how threads wait.

    To be called where a process of ours begins, before torch is imported: OpenMP reads it once, when it is loaded. A
    program of somebody else's that imports openrft is left as it is.
    """
    if not any(name in environment for name in _SAID_BY_THE_USER):
        environment["GOMP_SPINCOUNT"] = str(SPINS if is_quiet() else 0)  # libgomp, which torch's wheels bring
        environment["OMP_WAIT_POLICY"] = "PASSIVE"  # any other OpenMP


def is_quiet(now: Path = Path("/proc/loadavg"), *, looks: int = 3) -> bool:
    """Whether nothing but this thread runs at some moments; False where the system does not tell."""
    for look in range(looks):
        if look:
            time.sleep(0.002)
        try:
            running = int(now.read_text(encoding="ascii").split()[3].partition("/")[0])
        except (OSError, IndexError, ValueError):
            return False
        if running <= 1:
            return True
    return False
