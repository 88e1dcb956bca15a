"""The plan of a supervised job: nothing is sampled, so the rows themselves say how much there is to compute."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from openrft.models.memory import total_bytes
from openrft.rollout.supervised import Demonstration
from openrft.training.job_plan import KEPT_CHECKPOINTS, JobPlan, PhaseName, Range, exactly, existing, warnings_of
from openrft.training.memory import peak_bytes
from openrft.training.methods.supervised import Supervised
from openrft.training.prepare_supervised import PreparedSupervised
from openrft.training.supervised_evaluation import evaluate_losses
from openrft.training.update_cost import UpdateCost, measure_update, now

_MEASURED_ROWS = 32  # held-out rows whose loss is computed for the pace


class SupervisedWork:
    """How much a prepared job has to compute, and the measured pace of it."""

    def __init__(self, prepared: PreparedSupervised, *, seconds: float) -> None:
        """Measure for about ``seconds``; weights stay as they are."""
        settings, policy = prepared.settings, prepared.policy
        self.batch_tokens = settings.batch_size * _mean_tokens(prepared.rows)
        self.trained_tokens = settings.num_steps * self.batch_tokens
        self.validations = math.ceil(settings.num_steps / settings.eval_interval)
        self.valid_tokens = _tokens(prepared.valid_rows)
        self.reported_tokens = _tokens(prepared.test_rows)  # without a test file the validation is what is reported
        until = time.perf_counter() + seconds
        method = Supervised(settings, policy=policy, engine=prepared.engine, rows=prepared.rows, seed=prepared.job.seed)
        self.update: UpdateCost = measure_update(
            policy, settings, lambda: method.next_batch(0).microbatches, method.loss, until=until
        )
        self.seconds_per_held_out_token = _held_out_pace(prepared)
        self.peak_bytes = peak_bytes(policy.network.device)


def _held_out_pace(prepared: PreparedSupervised) -> float:
    """Seconds per token of a pass without gradients; the first pass does not count."""
    rows = (prepared.valid_rows or prepared.test_rows or prepared.rows)[:_MEASURED_ROWS]
    most_tokens = prepared.settings.microbatch_tokens
    evaluate_losses(prepared.policy, rows[:1], name="warm-up", step=0, microbatch_tokens=most_tokens)
    began = now()
    evaluate_losses(prepared.policy, rows, name="pace", step=0, microbatch_tokens=most_tokens)
    return (now() - began) / _tokens(rows)


def _tokens(rows: Sequence[Demonstration]) -> int:
    return sum(row.num_trained for row in rows)


def _mean_tokens(rows: Sequence[Demonstration]) -> float:
    return _tokens(rows) / len(rows)


def project_supervised(
    prepared: PreparedSupervised, work: SupervisedWork, loading: float, folder: Path | None = None
) -> JobPlan:
    """The plan of a prepared supervised job."""
    settings, policy, cost = prepared.settings, prepared.policy, work.update
    checkpoints = max(work.validations, settings.num_steps // settings.checkpoint_interval)
    each = work.seconds_per_held_out_token
    phases: dict[PhaseName, Range] = {
        "loading": exactly(loading),
        "base evaluation": exactly((work.valid_tokens + work.reported_tokens) * each),
        "update": exactly(
            work.trained_tokens * (cost.seconds_per_token or 0.0) + settings.num_steps * (cost.optimizer_seconds or 0.0)
        ),
        "validation": exactly(work.validations * work.valid_tokens * each),
        "records and checkpoints": exactly(checkpoints * (cost.checkpoint_seconds or 0.0)),
        "report": exactly(work.reported_tokens * each),
    }
    disk = exactly(KEPT_CHECKPOINTS * cost.checkpoint_bytes + 4 * policy.num_parameters)
    nothing = exactly(0.0)
    made = JobPlan(
        model=policy.name,
        parameters=policy.num_parameters,
        device=str(policy.network.device),
        num_steps=settings.num_steps,
        rollouts=0,
        evaluation_answers=0,
        completion_tokens=nothing,
        tokens_sampled=nothing,
        tokens_trained=exactly(work.trained_tokens),
        phases=phases,
        seconds=sum(phases.values(), nothing),
        peak_bytes=work.peak_bytes,
        machine_bytes=total_bytes(policy.network.device),
        disk_bytes=disk,
        disk_free_bytes=shutil.disk_usage(existing(folder or Path.cwd())).free,
        grader_calls=0,
        graders=[],
        mean_score=None,
        outcomes={},
        signal=None,
        budget=[],
        hyperparameters=settings.model_dump(mode="json"),
        reasons=prepared.reasons,
        probe=None,
        warnings=[],
    )
    graded = "" if prepared.grader is None else "the answers that its grader grades at every validation are left out"
    return replace(made, warnings=[*warnings_of(made), *([graded] if graded else [])])
