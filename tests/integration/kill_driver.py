"""Runs a job in forked children, kills them with SIGKILL at given moments, and resumes until the job is done.

    python kill_driver.py JOB.json FOLDER [MOMENT …]        one kill per moment; none: an undisturbed run

A moment counts what the run has recorded, not seconds, so that it falls within the run on a fast and on a slow machine
alike: 2.5 is half a step's time after the line of metrics with index 2 (that of step 2) is there, and -0.5 falls
before the base's evaluation. Where no step was seen to pass, STEP_SECONDS stands for a step's time.

A program of its own, because it forks after torch is imported (an attempt then costs milliseconds, not seconds), which
is safe only in a process without threads. Prints how many attempts were killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch
import transformers  # noqa: F401  imported before forking, so that attempts start at once

from openrft.config.job import read_job
from openrft.training.progress import Silence
from openrft.training.run import resume_run, start_run

STEP_SECONDS = 0.2


def attempt(job: Path, folder: Path) -> int:
    """Start or resume in a forked child; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if (folder / "job.json").exists():
            resume_run(folder, Silence())
        else:
            start_run(read_job(job), folder, Silence())
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(pid: int, metrics: Path, moment: float) -> bool:
    """Kill the child at that moment; False if it had ended already."""
    whole, part = divmod(moment, 1)
    seen, since, step_seconds = lines_of(metrics), time.monotonic(), STEP_SECONDS
    while seen <= whole:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.002)
        if lines_of(metrics) > seen:
            seen, now = lines_of(metrics), time.monotonic()
            step_seconds, since = now - since, now
    time.sleep(part * step_seconds)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


def main() -> None:
    torch.set_num_threads(1)
    job, folder, moments = Path(sys.argv[1]), Path(sys.argv[2]), [float(text) for text in sys.argv[3:]]
    killed = sum(kill_at(attempt(job, folder), folder / "metrics.jsonl", moment) for moment in moments)
    _, status = os.waitpid(attempt(job, folder), 0)
    print(killed)
    raise SystemExit(status != 0)


main()
