"""How threads that compute together wait for one another: asleep, in every process of ours.

An OpenMP thread that is done with its part of a product spins until the others are done too: three milliseconds by
libgomp's default, 200 by LLVM's. Beside a busy grader the spinning thread holds the very core that the one it waits for
needs. Sleeping at once costs small products some tens of microseconds each, which is why they are given one thread
(:mod:`openrft.training.threads`). ``benchmarks/threads.py`` measures both.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_SAID_BY_THE_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Say so in ``environment``, for this process and those it starts, unless the user has said how threads wait.

    To be called where a process of ours begins, before torch is imported: OpenMP reads it once, when it is loaded. A
    program of somebody else's that imports openrft is left as it is.
    """
    if not any(name in environment for name in _SAID_BY_THE_USER):
        environment["GOMP_SPINCOUNT"] = "0"  # libgomp, which torch's wheels for Linux bring; either would do
        environment["OMP_WAIT_POLICY"] = "PASSIVE"  # any other OpenMP
