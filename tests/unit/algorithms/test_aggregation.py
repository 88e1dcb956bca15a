"""Aggregation: the weights by hand, and that microbatches add up to the batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openrft.algorithms import ALGORITHMS, PackedTokens
from openrft.algorithms.aggregation import constant, prompt_mean, sequence_mean, token_mean

AGGREGATIONS = [token_mean, sequence_mean, constant, prompt_mean]

# Three rollouts of 1, 3 and 4 tokens; the first two share a prompt. N = 8, S = 3, K = 2.
LENGTHS = [1, 3, 4]
GROUPS = [0, 0, 1]


def by_name(function):
    return function.__name__


def test_token_mean_gives_every_token_of_the_batch_the_same_weight():
    assert token_mean(LENGTHS, GROUPS, 10) == [1 / 8, 1 / 8, 1 / 8]


def test_sequence_mean_gives_every_rollout_the_same_weight():
    # 1/3 over 1, 3 and 4 tokens
    assert sequence_mean(LENGTHS, GROUPS, 10) == pytest.approx([1 / 3, 1 / 9, 1 / 12], rel=1e-15)


def test_constant_divides_by_what_no_rollout_changes():
    # 3 rollouts of at most 10 tokens
    assert constant(LENGTHS, GROUPS, 10) == pytest.approx([1 / 30] * 3, rel=1e-15)


def test_prompt_mean_gives_every_prompt_the_same_weight_and_its_tokens_too():
    # 1/2 for each prompt; the first has 1 + 3 tokens, the second 4
    assert prompt_mean(LENGTHS, GROUPS, 10) == pytest.approx([1 / 8, 1 / 8, 1 / 8], rel=1e-15)
    assert prompt_mean([1, 3, 2], GROUPS, 10) == pytest.approx([1 / 8, 1 / 8, 1 / 4], rel=1e-15)


def test_prompt_mean_does_not_care_how_groups_are_numbered_or_ordered():
    assert prompt_mean([2, 1, 3], [7, 3, 3], 10) == pytest.approx([1 / 4, 1 / 8, 1 / 8], rel=1e-15)


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=by_name)
def test_one_rollout_of_one_token_has_the_whole_weight(aggregation):
    assert aggregation([1], [0], 1) == [1.0]


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=by_name)
def test_a_rollout_without_tokens_is_refused(aggregation):
    with pytest.raises(ValueError, match="rollout 1 has no tokens"):
        aggregation([2, 0], [0, 0], 10)


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=by_name)
def test_a_batch_without_rollouts_is_refused(aggregation):
    with pytest.raises(ValueError, match="no rollouts"):
        aggregation([], [], 10)


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=by_name)
def test_lengths_and_groups_must_name_the_same_rollouts(aggregation):
    with pytest.raises(ValueError, match="got 2 and 1"):
        aggregation([2, 1], [0], 10)


def test_constant_refuses_a_rollout_longer_than_its_divisor():
    with pytest.raises(ValueError, match="11 tokens, above max_completion_tokens 10"):
        constant([11], [0], 10)


@settings(deadline=None)  # the first example also pays for warming up
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 4)), min_size=1, max_size=20))
def test_the_weights_of_a_mean_sum_to_one(rollouts):
    lengths, group_index = [length for length, _ in rollouts], [group for _, group in rollouts]
    for aggregation in [token_mean, sequence_mean, prompt_mean]:
        weights = aggregation(lengths, group_index, 50)
        assert sum(weight * length for weight, length in zip(weights, lengths, strict=True)) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_microbatches_add_up_to_the_batch_in_loss_gradient_and_metrics(name):
    algorithm = ALGORITHMS[name]
    torch.manual_seed(0)
    lengths_S, group_index_S = [3, 1, 4, 2, 5], [0, 0, 1, 1, 1]
    sequence_index_N = torch.arange(5).repeat_interleave(torch.tensor(lengths_S))
    policy_N = (-2 * torch.rand(15, dtype=torch.float64)).requires_grad_()
    sampling_N = policy_N.detach() + 0.3 * torch.randn(15, dtype=torch.float64)
    reference_N = policy_N.detach() + 0.3 * torch.randn(15, dtype=torch.float64)
    advantages_S = torch.tensor([1.0, -1.0, 0.5, -2.0, 1.5], dtype=torch.float64)
    weights_S = torch.tensor(algorithm.aggregation(lengths_S, group_index_S, 8), dtype=torch.float64)

    def loss_of(rollouts):
        tokens_N = torch.isin(sequence_index_N, torch.tensor(rollouts))
        tokens = PackedTokens(
            logprobs_N=policy_N[tokens_N],
            sampling_logprobs_N=sampling_N[tokens_N],
            advantages_N=advantages_S[sequence_index_N][tokens_N],
            weights_N=weights_S[sequence_index_N][tokens_N],
            sequence_index_N=sequence_index_N[tokens_N],
            reference_logprobs_N=reference_N[tokens_N],
        )
        return algorithm.policy_loss(tokens, kl_beta=0.1)

    whole_loss, whole_metrics = loss_of([0, 1, 2, 3, 4])
    (whole_gradient_N,) = torch.autograd.grad(whole_loss, policy_N)

    parts = [loss_of(rollouts) for rollouts in ([0], [1, 2, 4], [3])]  # across groups, of unequal size
    for loss, _ in parts:
        loss.backward()
    torch.testing.assert_close(sum(loss for loss, _ in parts), whole_loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(policy_N.grad, whole_gradient_N, rtol=1e-12, atol=1e-12)
    merged = parts[0][1] + parts[1][1] + parts[2][1]
    assert merged.as_metrics() == pytest.approx(whole_metrics.as_metrics(), rel=1e-12)
