"""How far a job has come, from a few of its steps: its curve in small, and its validations from the base on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openrft.store.curves import Point
from openrft.store.rows import CheckpointRow, JobRow

NAMES = ("reward/mean", "valid/reward_mean", "train/loss", "valid/loss")
"""The metrics that :func:`progress_of` reads of every point."""

MOST_POINTS = 60
"""Of a curve."""

_CHECKPOINT_METRICS = {"valid/reward_mean": "full_valid_mean_reward", "valid/loss": "full_valid_loss"}


def steps_to_read(job: JobRow) -> list[int]:
    """The steps of ``job`` that are enough for :func:`progress_of`: its validations first, then others between them."""
    if job.step is None:
        return []
    interval = (job.resolved or {}).get("hyperparameters", {}).get("eval_interval") or job.step + 1
    # The last step may have been validated too, whatever the plan says: a job may stop early.
    validations = {*spaced(range(0, job.step + 1, int(interval)), MOST_POINTS - 1), job.step}
    room = MOST_POINTS - len(validations)
    return sorted({*validations, *(spaced(range(job.step + 1), room) if room > 1 else ())})


def progress_of(job: JobRow, points: Sequence[Point], checkpoints: Sequence[CheckpointRow]) -> dict[str, Any]:
    """The summary's ``sparkline``, ``base``, ``latest``, ``best`` and ``gain``; of supervised jobs, losses."""
    is_supervised = job.spec["document"]["method"]["type"] == "supervised"
    train, valid = ("train/loss", "valid/loss") if is_supervised else ("reward/mean", "valid/reward_mean")
    train_at = {point.step: point.values[NAMES.index(train)] for point in points}
    valid_at = {point.step: point.values[NAMES.index(valid)] for point in points}
    measured = {step: value for step, value in valid_at.items() if value is not None}
    # Of more validations than were read the best are here: their checkpoints are kept.
    for checkpoint in checkpoints:
        value = checkpoint.metrics.get(_CHECKPOINT_METRICS[valid])
        if value is not None:
            measured.setdefault(checkpoint.step, value)
    base = measured.get(0)
    best = _best([value for step, value in measured.items() if step > 0], is_loss=is_supervised)
    return {
        "sparkline": {
            "steps": list(train_at),
            "train": list(train_at.values()),
            "valid": list(valid_at.values()),
        },
        "base": base,
        "latest": measured[max(measured)] if measured else None,
        "best": best,
        "gain": None if best is None or base is None else best - base,
    }


def spaced(values: Sequence[int], most: int) -> list[int]:
    """At most ``most`` of ``values`` in even distances, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[number * (len(values) - 1) // (most - 1)] for number in range(most)]


def _best(values: Sequence[float], *, is_loss: bool) -> float | None:
    return (min if is_loss else max)(values, default=None)
