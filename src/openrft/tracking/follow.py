"""The process of one tracker: python -m openrft.tracking.follow, what to follow on its standard input.

It reads the run's folder as it grows and tells the tracker. Its input stays open as long as the run goes on: once that
is closed, whatever way the run has ended, it tells the rest and leaves. A tracker that fails is told on its output, in
one line; what else it or its library prints is in the run's folder, as tracking-<type>.log.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from openrft.config.integrations import Integration, TrackingSettings
from openrft.config.spec import parse_spec
from openrft.tracking.catalog import open_tracker
from openrft.tracking.lines import Lines
from openrft.tracking.tracker import RunFacts, Status, Tracker

FILES = ("report.md", "curve.svg")
"""Of the run's folder, what trackers get at the end."""

_LOOK_EVERY = 1.0
_LAST_SECONDS = 120  # after the run's end: a process that hangs does not outlive its run for long

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Which run to follow, and where to."""

    integration: Integration
    run: RunFacts
    folder: Path
    settings: TrackingSettings

    def to_line(self) -> bytes:
        """One line of JSON."""
        plain = {
            "integration": TypeAdapter(Integration).dump_python(self.integration, mode="json"),
            "run": self.run.as_plain(),
            "folder": str(self.folder),
            "settings": self.settings.model_dump(mode="json"),
        }
        return json.dumps(plain).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Task:
        """The task that :meth:`to_line` wrote."""
        plain = json.loads(line)
        return cls(
            integration=parse_spec(Integration, plain["integration"]),
            run=RunFacts(**plain["run"]),
            folder=Path(plain["folder"]),
            settings=parse_spec(TrackingSettings, plain["settings"]),
        )


def follow(tracker: Tracker, run: RunFacts, folder: Path, wait: Callable[[], bool]) -> None:
    """Tell ``tracker`` what the run's folder holds and comes to hold, until ``wait`` says that the run is over.

    A step is told once: not what the tracker has from an earlier attempt, nor what a resumed run records again.
    """
    last = tracker.start(run, config_to_tell(_read(folder / "config.json"), run))
    steps, events = Lines(folder / "metrics.jsonl"), Lines(folder / "events.jsonl")
    if last is not None:
        events.read()  # told then
    last, told = -1 if last is None else last, set[str]()
    is_over = False
    while not is_over:
        is_over = wait()  # before looking: what was written until the end is seen
        for row in steps.read():
            step = int(row.pop("step"))
            metrics = {name: value for name, value in row.items() if value is not None}
            if step == last and told:  # a validation that was made up
                metrics = {name: value for name, value in metrics.items() if name not in told}
            elif step <= last:
                metrics = {}
            else:
                last, told = step, set()
            if metrics:
                tracker.step(step, metrics)
                told |= metrics.keys()
        for event in events.read():
            tracker.event(max(last, 0), event["message"], event["level"])
    steps.close()
    events.close()
    status = status_of(folder)
    report = _read(folder / "report.json") if status == "succeeded" else None
    files = [folder / name for name in FILES if report is not None and (folder / name).exists()]
    tracker.finish(status, report, files)


def config_to_tell(config: Mapping[str, Any], run: RunFacts) -> dict[str, Any]:
    """What a tracker is told of a run's ``config.json``: no path of this machine, and no server that it calls."""
    told = {name: config[name] for name in ("openrft", "seed", "hyperparameters", "machine") if name in config}
    model = {**config.get("model", {}), "name": run.base_model}
    files = {
        name: {key: value for key, value in facts.items() if key != "path"}
        for name, facts in config.get("files", {}).items()
    }
    return {**told, "model": model, "files": files}


def status_of(folder: Path) -> Status:
    """How the run has ended; one that still says that it runs was killed."""
    found: Status = _read(folder / "status.json").get("status", "interrupted")
    return found if found in ("succeeded", "failed") else "interrupted"


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the run's to answer
    task = Task.from_line(_line_of(sys.stdin.fileno()))
    answer = os.dup(sys.stdout.fileno())
    with (task.folder / f"tracking-{task.integration.type}.log").open("ab") as printed:
        os.dup2(printed.fileno(), sys.stdout.fileno())
        os.dup2(printed.fileno(), sys.stderr.fileno())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        tracker = open_tracker(task.integration, task.settings, task.folder)
        follow(tracker, task.run, task.folder, _wait_for_end)
    except Exception as error:
        log.exception("gave up")
        os.write(answer, without_secrets(f"{type(error).__name__}: {error}").encode("utf-8", "backslashreplace"))
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # libraries that would still wait for a network at exit have been given their time


def without_secrets(text: str) -> str:
    """The first line of ``text`` without what may be a key or a password."""
    for name, value in os.environ.items():
        if value and re.search(r"KEY|TOKEN|PASSWORD|SECRET", name):
            text = text.replace(value, "…")
    return re.sub(r"//[^/@\s]+@", "//…@", text.strip().partition("\n")[0])[:500]


def _wait_for_end() -> bool:
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], _LOOK_EVERY)
    if not ready:
        return False
    signal.alarm(_LAST_SECONDS)
    return True


def _line_of(descriptor: int) -> bytes:
    """The first line, and no byte more: what a buffered reader holds back, select does not see."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 1)
        if not piece:
            raise EOFError("no task came")
        line += piece
    return line


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document
    except FileNotFoundError:
        return {}


if __name__ == "__main__":
    main()
