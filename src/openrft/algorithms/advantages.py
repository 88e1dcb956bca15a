"""Advantages: how much better a rollout did than it was expected to, from rewards alone.

Every function takes a batch as a list of K groups, each the rewards of one prompt's graded rollouts, and
returns the same shape. Groups may be ragged, since a rollout that could not be graded has left its group. A
batch is worth nothing with a reward that is not finite, so that is refused by name.
"""

import math
from collections.abc import Sequence

Groups = Sequence[Sequence[float]]
Advantages = list[list[float]]

# TRL's convention; it keeps a group whose rewards barely differ from dividing by nothing.
STD_EPSILON = 1e-4


def has_signal(rewards: Sequence[float]) -> bool:
    """Whether the rewards of a group differ, so that comparing its rollouts says something."""
    return len(rewards) > 1 and max(rewards) > min(rewards)


def group_mean(groups: Groups) -> Advantages:
    """Centre each group: `A_i = r_i - mean(r)`.

    Dr. GRPO (arXiv 2503.20783, section 3.2): no division by the group's std, which would overweight the
    prompts that are nearly always or nearly never solved.
    """
    return [_centred(rewards) for rewards in _checked(groups)]


def leave_one_out(groups: Groups) -> Advantages:
    """Compare each rollout with the others: `A_i = r_i - mean_{j != i} r_j = G/(G-1) (r_i - mean(r))`.

    RLOO (arXiv 2402.14740): the baseline does not depend on the rollout itself, so the policy gradient
    stays unbiased.
    """
    return [_leave_one_out(rewards) for rewards in _checked(groups)]


def group_normalized(groups: Groups) -> Advantages:
    """Standardize each group: `A_i = (r_i - mean(r)) / (std(r) + 1e-4)`, std with G - 1 in the denominator.

    GRPO (arXiv 2402.03300, section 4.1.2). Noise between near-equal rewards is blown up to about one; prefer
    `batch_scaled` where a grader is noisy.
    """
    return [_standardized(rewards) for rewards in _checked(groups)]


def batch_scaled(groups: Groups, *, floor: float = 0.05) -> Advantages:
    """Leave one out, then divide all by one spread: `A_i = A^loo_i / max(rms(A^loo), floor)`.

    The root mean square runs over the rollouts of groups with signal; their advantages sum to zero, so it is
    their std. Counting the other groups would shrink it as prompts get solved and so raise the learning rate
    in silence. The floor keeps grader noise from being scaled up to a reward; pass the grader's noise std
    when it is larger. Lite PPO (arXiv 2508.08221) and ScaleRL (arXiv 2510.13786) scale by the batch, not by
    the group.
    """
    if not floor > 0.0:
        raise ValueError(f"the floor is {floor}; it may divide the advantages, so it must be above 0")
    checked = _checked(groups)
    centred = [_leave_one_out(rewards) for rewards in checked]
    num_kept = sum(len(rewards) for rewards in checked if has_signal(rewards))
    if num_kept == 0:
        return centred
    square_sum = math.fsum(value * value for group in centred for value in group)
    spread = max(math.sqrt(square_sum / num_kept), floor)
    return [[value / spread for value in group] for group in centred]


def global_normalized(groups: Groups) -> Advantages:
    """Standardize over the whole batch: `A_i = (r_i - mean(all r)) / (std(all r) + 1e-4)`.

    REINFORCE++ (arXiv 2501.03262). The one estimator that works with one rollout per prompt: the baseline
    is the batch, so a group of equal rewards, or of one, gets an advantage unless the whole batch is equal.
    """
    checked = _checked(groups)
    standardized = iter(_standardized([reward for rewards in checked for reward in rewards]))
    return [[next(standardized) for _ in rewards] for rewards in checked]


def maxrl(groups: Groups) -> Advantages:
    """Divide the centred rewards by their mean: `A_i = (r_i - mean(r)) / mean(r)`, 0 where the mean is 0.

    MaxRL (arXiv 2602.02710): maximizes the log-likelihood of success to order G, so rarely solved prompts
    weigh more. Defined for rewards of at least 0; below, the division would turn good into bad.
    """
    checked = _checked(groups)
    for k, rewards in enumerate(checked):
        if min(rewards) < 0.0:
            raise ValueError(f"maxrl needs rewards of at least 0, but group {k} has {min(rewards)}")
    return [_divided_by_mean(rewards) for rewards in checked]


def _checked(groups: Groups) -> Groups:
    for k, rewards in enumerate(groups):
        if len(rewards) == 0:
            raise ValueError(f"group {k} has no rewards; leave out a group without graded rollouts")
        for g, reward in enumerate(rewards):
            if not math.isfinite(reward):
                raise ValueError(f"reward {g} of group {k} is {reward}; leave ungraded rollouts out of their group")
    return groups


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _centred(rewards: Sequence[float]) -> list[float]:
    # Not left to the subtraction: the rounded mean of [0.1, 0.1, 0.1] is not 0.1.
    if not has_signal(rewards):
        return [0.0] * len(rewards)
    mean = _mean(rewards)
    return [reward - mean for reward in rewards]


def _leave_one_out(rewards: Sequence[float]) -> list[float]:
    if not has_signal(rewards):
        return [0.0] * len(rewards)
    scale = len(rewards) / (len(rewards) - 1)
    return [scale * value for value in _centred(rewards)]


def _standardized(rewards: Sequence[float]) -> list[float]:
    if not has_signal(rewards):
        return [0.0] * len(rewards)
    centred = _centred(rewards)
    std = math.sqrt(math.fsum(value * value for value in centred) / (len(rewards) - 1))
    return [value / (std + STD_EPSILON) for value in centred]


def _divided_by_mean(rewards: Sequence[float]) -> list[float]:
    if not has_signal(rewards):
        return [0.0] * len(rewards)
    mean = _mean(rewards)
    return [value / mean for value in _centred(rewards)]
