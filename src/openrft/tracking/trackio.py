"""Trackio: a database on this machine, or what TRACKIO_SPACE_ID and TRACKIO_SERVER_URL name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trackio

from openrft.config.integrations import Trackio
from openrft.tracking.tracker import RunFacts, Status, verdict


class TrackioTracker:
    """A run of Trackio's, found again by its name: that ends in the job's id."""

    def __init__(self, options: Trackio) -> None:
        self._options = options

    def start(self, run: RunFacts, config: Mapping[str, Any]) -> int | None:
        """Begin or resume."""
        name = self._options.name or run.name
        self._run = trackio.init(
            project=self._options.project,
            name=name if run.id in name else f"{name}-{run.id}",
            config=dict(config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        next_step: int = self._run._next_step  # what it gives a step without a number; nothing public says it
        return next_step - 1 if next_step else None

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """A row of its table."""
        self._run.log(dict(metrics), step=step)

    def event(self, step: int, message: str, level: str) -> None:
        """An alert."""
        urgency = {"warn": trackio.AlertLevel.WARN, "error": trackio.AlertLevel.ERROR}
        self._run.alert(title=message[:100], text=message, level=urgency.get(level, trackio.AlertLevel.INFO), step=step)

    def finish(self, status: Status, report: Mapping[str, Any] | None, files: Sequence[Path]) -> None:
        """The verdict as an alert with the report's figures as metrics of the step that ships."""
        if report is not None:
            step = int(report["shipped_step"])
            self._run.log(verdict(report), step=step)
            self.event(step, str(report["sentence"]), "info")
        self._run.finish()
