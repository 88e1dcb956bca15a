"""What a run has sampled so far, and what that bought: metrics that look back over earlier steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openrft.types import Metrics


class Totals:
    """Sums over the steps of a run. A resumed run adds its recorded steps again and has the same."""

    def __init__(self) -> None:
        self._rollouts = 0.0
        self._seconds = 0.0  # of training steps; validations come on top of them
        self._base_reward: float | None = None

    def add(self, step: int, metrics: Mapping[str, Any]) -> Metrics:
        """Take in a finished step; what there is to say now. Step 0 is the untouched base."""
        if step == 0:
            self._base_reward = metrics.get("valid/reward_mean")
        self._rollouts += metrics.get("rollout/count") or 0.0
        self._seconds += metrics.get("time/step_seconds") or 0.0
        found = {"rollout/total": self._rollouts} if self._rollouts else {}
        return found | self.gain(metrics)

    def gain(self, validation: Mapping[str, Any]) -> Metrics:
        """What the steps so far have gained over the base, by what they took; nothing without a validation."""
        reward = validation.get("valid/reward_mean")
        if reward is None or self._base_reward is None or not self._rollouts or not self._seconds:
            return {}
        gain = reward - self._base_reward
        return {
            "valid/gain_per_1k_rollouts": gain / self._rollouts * 1000,
            "throughput/gain_per_minute": gain / self._seconds * 60,
        }
