"""Weights & Biases. The client finds its key, and whether it is to go online, in the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from openrft.config.integrations import Wandb
from openrft.tracking.tracker import RunFacts, Status, verdict

_LONGEST_TAG = 64


class WandbTracker:
    """A run of W&B's whose id is the job's: each attempt goes on with the same."""

    def __init__(self, options: Wandb, folder: Path) -> None:
        """``folder`` takes what the client keeps here."""
        self._options, self._folder = options, folder

    def start(self, run: RunFacts, config: Mapping[str, Any]) -> int | None:
        """Begin or resume. Offline nothing is known of earlier attempts: then the whole history is written again."""
        ours = ("openrft/finetune", f"openrft/{run.base_model}", f"openrft/{run.id}")  # as OpenAI's, but for the name
        self._run = wandb.init(
            project=self._options.project,
            entity=self._options.entity,
            name=self._options.name or run.name,
            id=run.id,
            resume="allow",
            tags=[tag[:_LONGEST_TAG] for tag in (*ours, *(self._options.tags or ()))],
            config=dict(config),
            dir=str(self._folder),
            # Neither this program's code and output nor anything of the machine's packages is anybody's business.
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_save_requirements=False
            ),
        )
        return self._run.starting_step - 1 if self._run.resumed and self._run.starting_step else None

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """W&B drops what is told of a step that it has: repetitions are harmless."""
        self._run.log(dict(metrics), step=step, commit=True)

    def event(self, step: int, message: str, level: str) -> None:
        """Warnings and errors are alerts, which W&B may mail to people; the rest is in the run's events."""
        if level != "info":
            self._run.alert(title=f"openrft: {level} after step {step}", text=message, level=level.upper())

    def finish(self, status: Status, report: Mapping[str, Any] | None, files: Sequence[Path]) -> None:
        """The verdict in the summary, the files beside it."""
        if report is not None:
            self._run.summary.update(
                {**verdict(report), "verdict": report["sentence"], "report/step": report["shipped_step"]}
            )
        for path in files:
            self._run.save(str(path), base_path=str(path.parent), policy="now")
        self._run.finish(exit_code=0 if status == "succeeded" else 1)
