"""What every measured process shares: it is told one command a line on stdin and answers one JSON line on stdout.

Imports nothing but the standard library, because the peers run in environments of their own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Channel:
    """The pipe to the driver. What libraries print goes to stderr, so that an answer is always one line of JSON."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, **answer: Any) -> None:
        """Answer the driver."""
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()

    def receive(self) -> dict[str, Any] | None:
        """The next command; None when the driver is done."""
        line = sys.stdin.readline()
        return json.loads(line) if line.strip() else None


class StepClock:
    """Wall and CPU seconds of one step, all threads and child processes of this process, and of parts of it."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """A new step begins."""
        self.phases.clear()
        self._cpu, self._wall = tree_cpu_seconds(), time.perf_counter()

    def stop(self) -> dict[str, Any]:
        """What the step took; ``memory`` is the largest resident set of this process so far, in bytes."""
        wall, cpu = time.perf_counter() - self._wall, tree_cpu_seconds() - self._cpu
        return {"wall": wall, "cpu": cpu, "phases": dict(self.phases), "memory": peak_memory()}

    def timed(self, owner: Any, name: str, phase: str) -> None:
        """Count the seconds in ``owner.name(…)`` as ``phase``."""
        inner: Callable[..., Any] = getattr(owner, name)

        def clocked(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.phases[phase] = self.phases.get(phase, 0.0) + time.perf_counter() - started

        setattr(owner, name, clocked)


def peak_memory() -> int:
    """Largest resident set so far, in bytes. Not ``ru_maxrss`` on Linux: that begins with the parent's."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def tree_cpu_seconds() -> float:
    """CPU seconds of this process and of its children, the living (a grader's sandbox, say) and the ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = sum(_cpu_seconds_below(os.getpid()))
    return time.process_time() + ended.ru_utime + ended.ru_stime + living


def _cpu_seconds_below(pid: int) -> list[float]:
    seconds = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            numbers = [int(number) for number in children.read_text(encoding="ascii").split()]
        except OSError:  # the thread has ended
            continue
        for number in numbers:
            try:
                fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            # utime, stime, and those of its own ended children
            seconds.append(sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"))
            seconds.extend(_cpu_seconds_below(number))
    return seconds


def reward_of_text(text: str) -> float:
    """A reward from 0 to 1 that differs within every group and costs nothing: a checksum of the words."""
    total = 0
    for word in text.split():
        total = (total * 31 + sum(map(ord, word))) % 1009
    return total / 1008


def answer_of(text: str) -> str:
    """What openrft's graders see as ``output_text``: the text after the thoughts, nothing where those never end."""
    thoughts, separator, answer = text.partition("</think>")
    if separator:
        return answer.lstrip("\n ")
    return "" if thoughts.lstrip().startswith("<think>") else thoughts
