"""Aggregation: how much each token counts when token objectives become one loss.

A weight is computed for every rollout of the batch before any backward pass, so the loss of a microbatch is
`-sum(objective_N * weights_N)` with `weights_N = weights_S[sequence_index_N]`, and microbatches add up to the
batch exactly, however it was cut. All four give every token of a rollout the same weight, which is why they
return S numbers, not N. Lengths count the tokens that train; pass only the rollouts that are to count in the
denominators.
"""

from collections.abc import Sequence


def token_mean(lengths_S: Sequence[int], group_index_S: Sequence[int], max_completion_tokens: int) -> list[float]:
    """Mean over all tokens of the batch: weight `1 / sum_s len_s`.

    DAPO (arXiv 2503.14476, section 3.3). The learning signal of a rollout depends on how long the others are.
    """
    _check(lengths_S, group_index_S)
    return [1.0 / sum(lengths_S)] * len(lengths_S)


def sequence_mean(lengths_S: Sequence[int], group_index_S: Sequence[int], max_completion_tokens: int) -> list[float]:
    """Mean over the tokens of each rollout, then over rollouts: weight `1 / (S len_s)`.

    GRPO (arXiv 2402.03300, equation 3). Favours short right answers and long wrong ones.
    """
    _check(lengths_S, group_index_S)
    return [1.0 / (len(lengths_S) * length) for length in lengths_S]


def constant(lengths_S: Sequence[int], group_index_S: Sequence[int], max_completion_tokens: int) -> list[float]:
    """Sum over tokens by a divisor that no rollout changes: weight `1 / (S max_completion_tokens)`.

    Dr. GRPO (arXiv 2503.20783, section 3.2). Free of length bias, but the step size follows
    `max_completion_tokens`.
    """
    _check(lengths_S, group_index_S)
    if max_completion_tokens < max(lengths_S):
        raise ValueError(f"a rollout has {max(lengths_S)} tokens, above max_completion_tokens {max_completion_tokens}")
    return [1.0 / (len(lengths_S) * max_completion_tokens)] * len(lengths_S)


def prompt_mean(lengths_S: Sequence[int], group_index_S: Sequence[int], max_completion_tokens: int) -> list[float]:
    """Mean over the tokens of each group, then over groups: weight `1 / (K sum of the group's len_s)`.

    ScaleRL (arXiv 2510.13786). Every prompt weighs the same, and inside a group every token does, so length
    is neither rewarded nor punished.
    """
    _check(lengths_S, group_index_S)
    group_tokens: dict[int, int] = {}
    for group, length in zip(group_index_S, lengths_S, strict=True):
        group_tokens[group] = group_tokens.get(group, 0) + length
    return [1.0 / (len(group_tokens) * group_tokens[group]) for group in group_index_S]


def _check(lengths_S: Sequence[int], group_index_S: Sequence[int]) -> None:
    if len(lengths_S) != len(group_index_S):
        raise ValueError(f"each rollout needs a length and a group, got {len(lengths_S)} and {len(group_index_S)}")
    if not lengths_S:
        raise ValueError("there are no rollouts to weigh; skip the update instead")
    if min(lengths_S) < 1:
        raise ValueError(f"rollout {lengths_S.index(min(lengths_S))} has no tokens that train; leave it out")
