"""The trackers of a run, seen from the process that trains: it starts them, and never waits for one but at its end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from openrft.config.integrations import Integration, TrackingSettings
from openrft.tracking.catalog import TITLES, tracker_environment
from openrft.tracking.follow import Task
from openrft.tracking.tracker import RunFacts

Tell = Callable[[str], None]


class Followers:
    """One process for each of a job's integrations. A failure of one is told once, and is nobody else's."""

    def __init__(self, integrations: Sequence[Integration], settings: TrackingSettings, tell: Tell) -> None:
        """``tell`` takes a warning; it is called from :meth:`start`, :meth:`look` and :meth:`close` only."""
        self._integrations, self._settings, self._tell = integrations, settings, tell
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, run: RunFacts, folder: Path) -> None:
        """Follow the run in ``folder``."""
        for integration in self._integrations:
            title = TITLES[integration.type]
            task = Task(integration=integration, run=run, folder=folder.absolute(), settings=self._settings)
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "openrft.tracking.follow"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    stderr=subprocess.DEVNULL,
                    env=tracker_environment(self._settings),
                )
            except OSError as error:
                self._tell(f"{title} gets nothing of this run: {error}")
                continue
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it died at once: look tells
                process.stdin.write(task.to_line())
                process.stdin.flush()
            self._running.append((title, process))

    def look(self) -> None:
        """Tell of those that have ended before the run; does not wait."""
        for title, process in list(self._running):
            if process.poll() is not None:
                self._leave(title, process)

    def close(self) -> None:
        """The run is over: wait a while for those that have not sent everything, then end them."""
        for _, process in self._running:
            assert process.stdin is not None
            process.stdin.close()
        end = time.monotonic() + self._settings.wait_seconds
        while self._running and time.monotonic() < end:
            self.look()
            time.sleep(0.02)
        for title, process in self._running:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            waited = f"{self._settings.wait_seconds:g} s"
            self._tell(f"{title} has not taken everything within {waited} of the run's end; the run's folder has it")
        self._running = []

    def _leave(self, title: str, process: subprocess.Popen[bytes]) -> None:
        self._running.remove((title, process))
        assert process.stdin is not None and process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)  # a process of its own that lives on may hold it open
        said = (process.stdout.read() or b"").decode("utf-8", "replace").strip()
        process.stdin.close()
        process.stdout.close()
        if process.returncode != 0:
            why = said or f"its process ended with {process.returncode}"
            self._tell(f"{title} gets nothing more of this run, which goes on: {why}")
