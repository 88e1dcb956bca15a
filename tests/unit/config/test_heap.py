"""A process that computes keeps the memory that it frees, unless the user has said otherwise."""

import subprocess
import sys

import pytest

PROGRAM = """
import mmap, os, resource, sys
from openrft.config.heap import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def touch():
    block = libc.malloc(16 << 20)
    ctypes.memset(block, 1, 16 << 20)
    libc.free(block)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, keep: bool, **environment: str) -> int:
    """Pages that the kernel had to give while a block of 16 MB was taken and freed eight times."""
    command = [sys.executable, "-c", PROGRAM, "keep" if keep else "leave"]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_block_that_was_freed_is_taken_again_without_a_page_from_the_kernel() -> None:
    # The pages of 16 MB, eight times, are 32,768; huge pages would make them fewer.
    assert faults(keep=True) < 100


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_the_user_has_said_of_the_allocator_holds() -> None:
    told = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    assert faults(keep=True, **told) == faults(keep=False, **told)
