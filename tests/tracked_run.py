"""A run's folder as a tracker finds it, written line by line, and a tracker that writes down what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openrft.config.integrations import DEFAULT_INTEGRATIONS, Integration, TrackingSettings
from openrft.tracking.followers import Followers
from openrft.tracking.tracker import RunFacts, Status

SENTENCE = "a significant gain of +0.30 [0.21, 0.39]"
REPORT = {
    "sentence": SENTENCE,
    "shipped_step": 2,
    "comparisons": [{"base_mean": 0.25, "tuned_mean": 0.5, "paired": {"mean": 0.25}}],
    "selection": {"difference": {"mean": 0.3, "interval": {"low": 0.21, "high": 0.39}}},
}


class RunFolder:
    """Writes what a run writes, in its way: lines are added, documents replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.document("config.json", {
            "seed": 0, "hyperparameters": {"num_steps": 2, "learning_rate": 0.001},
            "model": {"name": "/somewhere/base", "parameters": 1000},
            "files": {"training_file": {"path": "/somewhere/train.jsonl", "rows": 10}},
            "judges": {"judge": {"base_url": "http://10.0.0.1"}},
        })  # fmt: skip
        self.status("running")

    def facts(self, run_id: str = "rft-1") -> RunFacts:
        """What the run is called."""
        folder = str(self.path / "tensorboard")
        return RunFacts(id=run_id, name="my-run", base_model="openrft-tiny", tensorboard_folder=folder)

    def step(self, step: int, **metrics: float | None) -> None:
        """A recorded step; names with __ for /."""
        self._add("metrics.jsonl", {"step": step, **{name.replace("__", "/"): it for name, it in metrics.items()}})

    def steps(self, count: int) -> None:
        """The base and ``count`` steps."""
        self.step(0, valid__reward_mean=0.25)
        for step in range(1, count + 1):
            self.step(step, reward__mean=step / 8, policy__loss=None)

    def event(self, message: str, level: str = "info") -> None:
        """A sentence for people."""
        self._add("events.jsonl", {"time": 1.0, "level": level, "message": message, "data": {}})

    def forget(self, *names: str) -> None:
        """Replace files by empty ones, as a run does that goes back."""
        for name in names:
            (self.path / f"{name}.partial").write_text("")
            (self.path / f"{name}.partial").replace(self.path / name)

    def status(self, status: str) -> None:
        """How the run is."""
        self.document("status.json", {"status": status})

    def succeed(self) -> None:
        """The end that a run hopes for."""
        self.document("report.json", REPORT)
        (self.path / "report.md").write_text("# Report\n")
        (self.path / "curve.svg").write_text("<svg/>")
        self.status("succeeded")

    def document(self, name: str, value: Any) -> None:
        """A JSON document."""
        (self.path / name).write_text(json.dumps(value))

    def _add(self, name: str, row: dict[str, Any]) -> None:
        with (self.path / name).open("a") as file:
            file.write(json.dumps(row) + "\n")


def follow_to_end(run: RunFolder, kind: str | Integration, *, wait_seconds: float = 60.0) -> list[str]:
    """Have a real tracker follow, in its own process, a run that has ended; what was told of it."""
    told: list[str] = []
    integration = DEFAULT_INTEGRATIONS[kind] if isinstance(kind, str) else kind
    followers = Followers([integration], TrackingSettings(wait_seconds=wait_seconds), told.append)
    followers.start(run.facts(), run.path)
    followers.close()
    return told


class Notebook:
    """A tracker of nothing: what it was told, in order. ``has`` is the last step that it says to have already."""

    def __init__(self, has: int | None = None) -> None:
        self.has, self.told = has, list[tuple[Any, ...]]()
        self.config: Mapping[str, Any] = {}

    def start(self, run: RunFacts, config: Mapping[str, Any]) -> int | None:
        """Begin."""
        self.config = config
        return self.has

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step."""
        self.told.append((step, dict(metrics)))

    def event(self, step: int, message: str, level: str) -> None:
        """A sentence."""
        self.told.append((step, message, level))

    def finish(self, status: Status, report: Mapping[str, Any] | None, files: Sequence[Path]) -> None:
        """The end."""
        self.told.append((status, report and report["sentence"], [path.name for path in files]))
