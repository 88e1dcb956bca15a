"""A supervised run in this process: watched by the loss of held-out answers, and by a grader where there is one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from openrft.evaluation.losses import LossEvaluation
from openrft.evaluation.selection import SMOOTHING_WINDOW
from openrft.training.foreground import ForegroundRun
from openrft.training.prepare_supervised import PreparedSupervised
from openrft.training.supervised_evaluation import evaluate_losses
from openrft.types import Metrics


class SupervisedRun(ForegroundRun):
    """What the loop calls to evaluate, record and save."""

    prepared: PreparedSupervised

    @property
    def is_graded(self) -> bool:
        """Whether validation answers are sampled and graded, and checkpoints chosen by that."""
        return self.prepared.grader is not None

    @property
    def window(self) -> int:
        """A loss has no sampling noise that neighbours could average out."""
        return SMOOTHING_WINDOW if self.is_graded else 1

    def evaluate(self, step: int) -> Metrics:
        """Watch the policy on the validation rows; nothing where there are none."""
        if not self.prepared.valid_rows:
            return {}
        started = time.perf_counter()
        losses = self.losses("valid", step, f"step {step}")
        metrics = {"valid/loss": losses.loss, "valid/token_accuracy": losses.token_accuracy}
        if self.is_graded:
            metrics |= super().evaluate(step)
        else:
            metrics |= self._loss_fall(step, losses.loss)
            self._valid_means[step] = -losses.loss
        return metrics | {"time/evaluation_seconds": time.perf_counter() - started}

    def _loss_fall(self, step: int, loss: float) -> Metrics:
        """How far a loss is above the lowest of those before it that the present weights descend from."""
        before = [-standing for known, standing in self._line().items() if known < step]
        return {"valid/worse_than_best": loss - min(before)} if before else {}

    def evaluate_reported(self, name: str, step: int) -> None:
        """All evaluations on the rows that the report is about."""
        self.reported_losses(name, step)
        if self.is_graded:
            self.evaluate_test(name, step)

    def reported_losses(self, name: str, step: int) -> LossEvaluation | None:
        """The losses that the report is about: of the test rows, else of the validation rows."""
        if self.prepared.test_rows:
            return self.losses("test", step, name)
        return self.losses("valid", step, f"step {step}") if self.prepared.valid_rows else None

    def losses(self, rows_name: str, step: int, name: str) -> LossEvaluation:
        """One pass over held-out answers; one that was recorded before is read back."""
        file = f"evaluations/step-{step:06d}-{rows_name}-loss.json"
        if (self.folder.path / file).exists():
            return LossEvaluation.from_json(self.folder.read(file))
        self.progress.phase(f"{name}: {rows_name} rows, loss")
        rows = self.prepared.test_rows if rows_name == "test" else self.prepared.valid_rows
        losses = evaluate_losses(
            self.prepared.policy, rows, name=name, step=step, microbatch_tokens=self.settings.microbatch_tokens
        )
        self.folder.write(file, losses.to_json())
        self.journal.evaluated(step, file)
        return losses

    def _standing(self, metrics: Mapping[str, Any]) -> float | None:
        """The mean score where answers are graded, else the loss with its sign changed."""
        if self.is_graded:
            return super()._standing(metrics)
        loss = metrics.get("valid/loss")
        return None if loss is None else -loss
