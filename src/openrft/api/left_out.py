"""``GET /v1/fine_tuning/jobs/{id}/rollouts/left_out``: ours. How much of what was sampled did not train, and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter

from openrft.api.access import Platforms, Reader
from openrft.api.rollout_reading import RolloutReading

router = APIRouter(prefix="/fine_tuning/jobs/{fine_tuning_job_id}/rollouts/left_out", tags=["observability"])

_MOST_STEPS = 1_000  # whose reasons are counted, the newest


@router.get("")
def count_left_out(caller: Reader, platform: Platforms, fine_tuning_job_id: str) -> dict[str, Any]:
    """How many rollouts of the job were left out; by reason, from the step ``counted_from`` on."""
    steps = [one for one in platform.store.rollouts.steps(caller.project_id, fine_tuning_job_id) if one.rollouts]
    counted = steps[-_MOST_STEPS:]
    reasons: Counter[str] = Counter()
    with RolloutReading(platform, caller.project_id, fine_tuning_job_id) as reading:
        for index in reading.indexes([one for one in counted if one.num_left_out != 0]):
            numbers = Counter(index.left_out.tolist())  # 0: it trained; else the place of its reason, from 1
            reasons.update({reason: numbers[place] for place, reason in enumerate(index.reasons, 1) if numbers[place]})
    # Again, for a step without an index has one now.
    sums = platform.store.rollouts.steps(caller.project_id, fine_tuning_job_id)
    return {
        "object": "fine_tuning.job.left_out",
        "rollouts": sum(one.size or 0 for one in sums),
        "left_out": sum(one.num_left_out or 0 for one in sums),
        "reasons": dict(reasons.most_common()),
        "counted_from": counted[0].step if counted else None,
    }
