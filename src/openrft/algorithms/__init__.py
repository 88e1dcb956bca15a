"""The algorithms: which advantage, which token objective, which aggregation. Numbers in, numbers out.

Dimension letters: N completion tokens of a microbatch, S rollouts (sequences), K groups.
A new variant is one function in `advantages`, `losses` or `aggregation`, and one entry here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from openrft.algorithms.advantages import (
    batch_scaled,
    global_normalized,
    group_mean,
    group_normalized,
    has_signal,
    leave_one_out,
    maxrl,
)
from openrft.algorithms.aggregation import constant, prompt_mean, sequence_mean, token_mean
from openrft.algorithms.diagnostics import LossMetrics
from openrft.algorithms.losses import (
    Objective,
    PackedTokens,
    Penalty,
    k2,
    k3,
    masked_truncated_weight,
    policy_loss,
    ppo_clip,
    reinforce,
    sequence_clip,
    truncated_weight,
)

__all__ = ["ALGORITHMS", "Algorithm", "LossMetrics", "PackedTokens", "has_signal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """One named combination. Its functions are pure, so nothing is kept between steps.

    `advantages` takes the rewards of K groups and returns the same shape; `aggregation` takes the length and
    the group of each of the batch's S rollouts and `max_completion_tokens`, and returns the weight of a token
    of each.
    """

    description: str
    paper: str
    advantages: Callable[[Sequence[Sequence[float]]], list[list[float]]]
    objective: Objective
    bounds: Mapping[str, float]  # what the objective is called with; ratios stay in 1 - clip_low .. 1 + clip_high
    aggregation: Callable[[Sequence[int], Sequence[int], int], list[float]]
    # Whether groups of equal rewards count in the aggregation's denominators. They have no gradient either way, but
    # counting them makes steps smaller as prompts get solved.
    counts_silent_groups: bool = True
    # What kl_beta weighs, of each token's log-probabilities under policy and reference.
    penalty: Penalty = k3

    def with_bounds(self, **bounds: float) -> "Algorithm":
        """The same algorithm with other bounds; one that its objective does not read is refused."""
        for name, value in bounds.items():
            if name not in self.bounds:
                raise ValueError(f"this algorithm has no bound {name}; it has {sorted(self.bounds) or 'none'}")
            if not value > 0.0:
                raise ValueError(f"{name} is {value}; a bound must be above 0")
        return replace(self, bounds={**self.bounds, **bounds})

    def policy_loss(self, tokens: PackedTokens, *, kl_beta: float = 0.0) -> tuple[Tensor, LossMetrics]:
        """The loss [] of one microbatch to call backward on, and its metrics, which add up."""
        return policy_loss(tokens, self.objective, self.bounds, kl_beta=kl_beta, penalty=self.penalty)


ALGORITHMS: dict[str, Algorithm] = {
    "rft": Algorithm(
        description="the default: leave-one-out, batch scale, truncated weight, probability-difference mask",
        paper="arXiv 2510.13786, 2506.13585, 2602.04879",
        advantages=batch_scaled,
        objective=masked_truncated_weight,
        bounds={"clip_high": 4.0, "difference_limit": 0.2},
        aggregation=prompt_mean,
        counts_silent_groups=False,
        penalty=k2,
    ),
    "rloo": Algorithm(
        description="REINFORCE with the mean of the other rollouts as baseline, for on-policy steps",
        paper="arXiv 2402.14740",
        advantages=leave_one_out,
        objective=reinforce,
        bounds={},
        aggregation=constant,
    ),
    "grpo": Algorithm(
        description="group-standardized advantages, PPO clip, mean per rollout",
        paper="arXiv 2402.03300",
        advantages=group_normalized,
        objective=ppo_clip,
        bounds={"clip_low": 0.2, "clip_high": 0.2},
        aggregation=sequence_mean,
    ),
    "dr_grpo": Algorithm(
        description="GRPO without its biases: centred advantages, constant divisor",
        paper="arXiv 2503.20783",
        advantages=group_mean,
        objective=ppo_clip,
        bounds={"clip_low": 0.2, "clip_high": 0.2},
        aggregation=constant,
    ),
    "dapo": Algorithm(
        description="GRPO with a higher upper clip and the mean over all tokens",
        paper="arXiv 2503.14476",
        advantages=group_normalized,
        objective=ppo_clip,
        bounds={"clip_low": 0.2, "clip_high": 0.28},
        aggregation=token_mean,
        counts_silent_groups=False,
    ),
    "gspo": Algorithm(
        description="GRPO with one length-normalized ratio per rollout",
        paper="arXiv 2507.18071",
        advantages=group_normalized,
        objective=sequence_clip,
        bounds={"clip_low": 3e-4, "clip_high": 4e-4},
        aggregation=sequence_mean,
    ),
    "cispo": Algorithm(
        description="REINFORCE with truncated importance weights: no token loses its gradient",
        paper="arXiv 2506.13585",
        advantages=group_normalized,
        objective=truncated_weight,
        bounds={"clip_high": 4.0},
        aggregation=token_mean,
    ),
    "reinforce": Algorithm(
        description="REINFORCE with the batch as baseline, for on-policy steps or one rollout per prompt",
        paper="arXiv 2501.03262",
        advantages=global_normalized,
        objective=reinforce,
        bounds={},
        aggregation=token_mean,
    ),
    "maxrl": Algorithm(
        description="the default with advantages divided by the mean reward, for rarely solved prompts",
        paper="arXiv 2602.02710",
        advantages=maxrl,
        objective=masked_truncated_weight,
        bounds={"clip_high": 4.0, "difference_limit": 0.2},
        aggregation=prompt_mean,
        counts_silent_groups=False,
    ),
}
