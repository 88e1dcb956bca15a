"""``/v1/fine_tuning/jobs/{id}/checkpoints``: the models that a job has made so far, newest first.

Beside OpenAI's keys each has what a table of them shows: its validation, its size, and whether it is the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from openrft.api.access import Platforms, Reader
from openrft.api.listing import After, Limit, page
from openrft.api.platform import Platform
from openrft.store.events import step_event_key
from openrft.store.rows import CheckpointRow

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

_REWARD, _LOSS = "full_valid_mean_reward", "full_valid_loss"
_INTERVAL = ("valid/reward_mean", "valid/reward_low", "valid/reward_high")


@router.get("/{fine_tuning_job_id}/checkpoints")
def list_checkpoints(
    caller: Reader, platform: Platforms, fine_tuning_job_id: str, limit: Limit = 10, after: After = None
) -> dict[str, Any]:
    """A page of the job's checkpoints, newest first."""
    found = platform.store.checkpoints.list(caller.project_id, fine_tuning_job_id, after=after, limit=limit)
    return page(found, _Table(platform, caller.project_id, fine_tuning_job_id, found.items).row)


class _Table:
    """Everything that the rows of one page need, read at once."""

    def __init__(self, platform: Platform, project_id: str, job_id: str, shown: Sequence[CheckpointRow]) -> None:
        store = platform.store
        self._artifacts = store.artifacts
        self._best = _best_step(store.checkpoints.of_jobs(project_id, [job_id]))
        steps = sorted({one.step for one in shown})
        events = store.events.with_keys(project_id, [job_id], [step_event_key(step) for step in steps])
        self._metrics = {point.step: point.values for point in store.curves.at(project_id, {job_id: steps}, _INTERVAL)}
        self._events = {event.data["step"]: event.data for event in events if "step" in event.data}

    def row(self, checkpoint: CheckpointRow) -> dict[str, Any]:
        """The checkpoint on the wire."""
        step = checkpoint.step
        mean = _validated(checkpoint)
        measured, low, high = self._metrics.get(step, (None, None, None))
        scores = self._events.get(step, {}).get("scores", {}).get("graders", [])
        if measured != mean:  # of losses there is no interval; and where training went back, the step is another's
            low, high, scores = None, None, []
        return {
            **checkpoint_object(checkpoint),
            "valid": None if mean is None else {"mean": mean, "low": low, "high": high},
            "graders": {
                one["name"]: one["valid_reward_mean"] for one in scores if one["valid_reward_mean"] is not None
            },
            "bytes": self._artifacts.bytes_below(checkpoint.artifact),
            "is_best": checkpoint.step == self._best,
            "is_final": not checkpoint.model_name.endswith(f":ckpt-step-{checkpoint.step}"),
        }


def checkpoint_object(checkpoint: CheckpointRow) -> dict[str, Any]:
    """A checkpoint as OpenAI's checkpoint object; its name can be asked for answers."""
    metrics = {name: value for name, value in checkpoint.metrics.items() if value is not None}
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": checkpoint.id,
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": checkpoint.model_name,
        "fine_tuning_job_id": checkpoint.job_id,
        "step_number": checkpoint.step,
        "metrics": {"step": checkpoint.step, **metrics},
    }


def _validated(checkpoint: CheckpointRow) -> float | None:
    """The mean reward of the validation rows, or their loss where nothing grades."""
    reward = checkpoint.metrics.get(_REWARD)
    return checkpoint.metrics.get(_LOSS) if reward is None else reward


def _best_step(checkpoints: Sequence[CheckpointRow]) -> int | None:
    """The step of the highest validation reward, else of the lowest loss; the earliest of equals."""

    def place(one: CheckpointRow) -> tuple[float, int]:
        reward, loss = one.metrics.get(_REWARD), one.metrics.get(_LOSS)
        return (math.inf if loss is None else loss) if reward is None else -reward, one.step

    measured = [one for one in checkpoints if place(one)[0] != math.inf]
    return min(measured, key=place).step if measured else None
