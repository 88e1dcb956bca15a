"""Runs a job in forked children, kills them with SIGKILL after given delays, and resumes until the job is done.

    python kill_driver.py JOB.json FOLDER [DELAY …]        one kill per delay, in seconds; none: an undisturbed run

A program of its own, because it forks after torch is imported (an attempt then costs milliseconds, not seconds), which
is safe only in a process without threads. Prints how many attempts were killed, and the seconds of the last.
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


def main() -> None:
    torch.set_num_threads(1)
    job, folder, delays = Path(sys.argv[1]), Path(sys.argv[2]), [float(text) for text in sys.argv[3:]]
    killed = 0
    for delay in delays:
        pid = attempt(job, folder)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        killed += os.waitpid(pid, 0)[1] == signal.SIGKILL
    started = time.monotonic()
    _, status = os.waitpid(attempt(job, folder), 0)
    print(f"{killed} {time.monotonic() - started:.3f}")
    raise SystemExit(status != 0)


main()
