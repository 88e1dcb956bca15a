"""What memory a device has left, and what to do when it has none."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

_SAYS_SO = (
    "out of memory",  # CUDA's own errors
    "not enough memory",  # torch's allocator of the CPU
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)

_CGROUP = Path("/sys/fs/cgroup")
_FILES = {  # bytes in use, their limit, and which of those in use are copies of files that anybody may push out
    _CGROUP: ("memory.current", "memory.max", "inactive_file"),
    _CGROUP / "memory": ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
}
_UNTOLD = 4 << 30  # where a system does not say what it has


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory was not enough: torch has a type for it on GPUs alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS_SO)


def release_memory() -> None:
    """Give back what nothing refers to any more, also what torch keeps of a GPU for its next tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Bytes that new tensors may take: on a GPU with what torch holds there unused, on a CPU what the system spares.

    Of a container's limit only what is left of it counts.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return min(_free_of_machine(), *_free_of_groups())


def total_bytes(device: torch.device) -> int:
    """The memory of the machine, or of the accelerator."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return _pages("SC_PHYS_PAGES")


def _free_of_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return _pages("SC_AVPHYS_PAGES")


def _free_of_groups() -> list[int]:
    """What is left of the limits of this process's control groups and of those above them, where there are any."""
    left = [1 << 62]
    for top, own in _groups():
        used_file, limit_file, unneeded = _FILES[top]
        for folder in (top / own, *(parent for parent in (top / own).parents if parent.is_relative_to(top))):
            try:
                limit = int((folder / limit_file).read_text())  # "max" where there is none
                counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / used_file).read_text()) - int(counts.get(unneeded, 0))
            except (OSError, ValueError):
                continue
            left.append(max(0, limit - used))
    return left


def _groups() -> list[tuple[Path, str]]:
    """(where the groups that limit memory are, this process's below), of both versions of Linux's interface."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers or "memory" in controllers.split(","):
            found.append((_CGROUP / "memory" if controllers else _CGROUP, path.lstrip("/")))
    return found


def _pages(name: str) -> int:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system tells
        return _UNTOLD
