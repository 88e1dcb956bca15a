"""Freed memory stays with a process that computes, so that the next tensor does not have to be given it anew.

glibc hands every block of 128 kB to 32 MB and more straight from the kernel and gives it back when it is freed. A step
frees and takes thousands of such tensors, and the kernel clears each page of each of them again: a tenth of an update.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of mallopt(3)
_SAID_BY_THE_USER = (
    "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES",
    "LD_PRELOAD",
)  # fmt: skip


def keep_freed_memory() -> None:
    """Tell this process's allocator, unless the user has told it or it is another one than glibc's.

    To be called where a process of ours begins to compute; a program of somebody else's is left as it is.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _SAID_BY_THE_USER):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_TOP_PAD, 64 << 20)
