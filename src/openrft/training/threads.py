"""How many threads compute: measured when a run begins, because more are not always faster.

A model of a few million parameters samples by products so small that handing a part of each to another thread costs
more than the part. Its update is made of large ones, which gain from every core. So the two have a number each: a tenth
of a second of work like theirs, at 1, 2, 4, … threads, says which is fastest here. It is asked once per machine, so
that two runs of one job add their sums up alike.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from openrft.config.home import make_private
from openrft.models.checkpoint import flush_entry

WORTH_IT = 0.9
"""More threads must need at most this share of the seconds: graders want the cores too."""

_ASKED_BY_THE_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

Seconds = dict[int, tuple[float, float]]
"""By number of threads: seconds of a piece of sampling and of a piece of an update."""

_for_update: int | None = None  # as torch's own number, which is that of the process


def calibrate_threads(tell: Callable[[str], None], kept: Path | None = None, *, graders_compute: bool = False) -> None:
    """Find the fastest numbers of threads here, :func:`use_threads` them, and ``tell`` which and why.

    Left as it is where ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` says it. Otherwise no more than torch is set to are
    tried, and no more than there are cores. Sampling leaves the other cores to graders that compute beside it
    (``graders_compute``). In the folder ``kept``, what was measured is found again.
    """
    if any(os.environ.get(name) for name in _ASKED_BY_THE_USER):
        return
    most = min(max(torch.get_num_threads(), update_threads()), available_cores())
    if most == 1:
        use_threads(1, 1)
        return
    path = None if kept is None else kept / f"threads-{_machine(most)}.json"
    seconds = None if path is None else _read(path)
    if seconds is None:
        seconds = _measure(candidates(most))
        if path is not None and _is_quiet():
            with suppress(OSError):  # then the next run measures as well
                _write(path, seconds)
    sampling, update = (fastest({count: both[part] for count, both in seconds.items()}) for part in (0, 1))
    if graders_compute:
        sampling = 1
    use_threads(sampling, update)
    tell(describe(sampling, update, seconds))


def use_threads(sampling: int, update: int) -> None:
    """Set how many threads of this process compute, and how many while an update does."""
    global _for_update
    torch.set_num_threads(sampling)
    _for_update = update


def update_threads() -> int:
    """How many threads compute an update: as many as anything, unless :func:`use_threads` has said otherwise."""
    return _for_update or torch.get_num_threads()


@contextmanager
def updating() -> Iterator[None]:
    """Compute with the update's number of threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(update_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def candidates(most: int) -> list[int]:
    """1, 2, 4, … and ``most``."""
    powers = [2**power for power in range(most.bit_length())]
    return sorted({*(count for count in powers if count < most), most})


def fastest(seconds: Mapping[int, float]) -> int:
    """The number of threads that needs the fewest seconds; a smaller one that needs hardly more (:data:`WORTH_IT`)."""
    chosen, *others = sorted(seconds)
    for count in others:
        if seconds[count] <= WORTH_IT * seconds[chosen]:
            chosen = count
    return chosen


def describe(sampling: int, update: int, seconds: Mapping[int, tuple[float, float]]) -> str:
    """The choice as a sentence."""
    said = []
    for part, name, count in ((0, "samples", sampling), (1, "updates", update)):
        # Of one thread it is said what the others would do.
        other = count if count > 1 else max(seconds)
        said.append(f"{name} with {count} ({other}: {seconds[1][part] / seconds[other][part]:.1f}x as fast as one)")
    return f"of {max(seconds)} threads, " + ", ".join(said)


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the CPU quota of its control groups."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, math.floor(min(cores, quota())))


def quota(mounted: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """Cores' worth of time that the control groups of this process allow, version 1 or 2; infinite without a limit."""
    lowest = math.inf
    for line in _lines(membership):
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = mounted if not controllers else mounted / "cpu"
        group_folder = top / group.strip("/")
        # In a container the group's path may be that of the machine outside: its own folder is then the top one.
        for folder in (group_folder, *group_folder.parents):
            lowest = min(lowest, _allowed(folder))
            if folder == top:
                break
    return lowest


def _allowed(folder: Path) -> float:
    """Cores that one control group allows."""
    words = " ".join(_lines(folder / "cpu.max")).split()
    if not words:
        words = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
    try:
        allowed, period = (float(word) for word in words)  # "max 100000" and an absent file are no limit
    except ValueError:
        return math.inf
    return allowed / period if allowed > 0 and period > 0 else math.inf


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError):  # no such group, or not this version's
        return []


def _measure(counts: Iterable[int]) -> Seconds:
    before = torch.get_num_threads()
    try:
        return {count: _measure_at(count) for count in counts}
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def _measure_at(count: int) -> tuple[float, float]:
    torch.set_num_threads(count)
    rows, up, down = torch.ones(64, 128), torch.ones(512, 128) / 128, torch.ones(128, 512) / 512
    tokens, wide = torch.ones(2048, 384), torch.ones(1152, 384) / 384
    gain = torch.ones(128)

    def sample() -> None:  # products and what lies between them, as in one layer of a small model for 64 sequences
        hidden = rows
        for _ in range(4):
            normed = torch.nn.functional.rms_norm(hidden, (128,), gain)
            inner = torch.nn.functional.silu(torch.nn.functional.linear(normed, up))
            hidden = hidden + torch.nn.functional.linear(inner, down)

    def update() -> None:
        torch.nn.functional.linear(tokens, wide)

    return _shortest(sample, repeats=20), _shortest(update, repeats=2)


def _shortest(work: Callable[[], None], *, repeats: int) -> float:
    """Seconds of the fastest of ``repeats`` calls, after one that warms up: whatever disturbs makes them longer."""
    work()
    shortest = math.inf
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - began)
    return shortest


def _is_quiet() -> bool:
    """Whether others leave at least half of the cores: else what was measured is not true of this machine."""
    return os.getloadavg()[0] < available_cores() / 2


def _machine(most: int) -> str:
    """Names the machine, as far as it decides which number is fastest."""
    model = next((line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")), platform.machine())
    waiting = [os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")]
    return hashlib.sha256(json.dumps([model, most, torch.__version__, waiting]).encode()).hexdigest()[:16]


def _read(path: Path) -> Seconds | None:
    """What :func:`_write` wrote; None where there is nothing that can be read, to be measured anew."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        seconds = {int(count): (float(sampling), float(update)) for count, (sampling, update) in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return seconds if 1 in seconds else None


def _write(path: Path, seconds: Seconds) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    make_private(path.parent)
    partial.write_text(json.dumps(seconds), encoding="utf-8")
    flush_entry(partial)
    partial.replace(path)
