"""Token objectives, KL estimators and the policy loss against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openrft.algorithms import ALGORITHMS
from openrft.algorithms.losses import (
    PackedTokens,
    k1,
    k2,
    k3,
    masked_truncated_weight,
    policy_loss,
    ppo_clip,
    reinforce,
    sequence_clip,
    truncated_weight,
)

LOG_2 = math.log(2.0)


def packed(probabilities, sampling_probabilities, advantages, sequence_index=None, weights=None, reference=None):
    """Tokens given by their probabilities, so that ratios can be read off."""
    n = len(probabilities)
    return PackedTokens(
        logprobs_N=torch.tensor(probabilities, dtype=torch.float64).log().requires_grad_(),
        sampling_logprobs_N=torch.tensor(sampling_probabilities, dtype=torch.float64).log(),
        advantages_N=torch.tensor(advantages, dtype=torch.float64),
        weights_N=torch.tensor([1.0] * n if weights is None else weights, dtype=torch.float64),
        sequence_index_N=torch.tensor([0] * n if sequence_index is None else sequence_index),
        reference_logprobs_N=None if reference is None else torch.tensor(reference, dtype=torch.float64).log(),
    )


def values_and_gradients(tokens, objective, **bounds):
    """The value of each token, and the gradient of their sum by each log-probability."""
    result = objective(tokens, **bounds)
    (gradient_N,) = torch.autograd.grad(result.values_N.sum(), tokens.logprobs_N)
    clipped_N = result.clipped_low_N | result.clipped_high_N
    return result.values_N.tolist(), gradient_N.tolist(), clipped_N.tolist(), result.masked_N.tolist()


def test_reinforce_is_advantage_times_logprob_whatever_the_sampler():
    tokens = packed([0.5, 0.25], [0.1, 0.9], [2.0, -1.0])
    values, gradients, clipped, masked = values_and_gradients(tokens, reinforce)
    # 2 ln(1/2) = -1.386294;  -ln(1/4) = 1.386294; the gradient of A log pi is A
    assert values == pytest.approx([-2 * LOG_2, 2 * LOG_2])
    assert gradients == pytest.approx([2.0, -1.0])
    assert clipped == masked == [False, False]


def test_ppo_clip_stops_a_token_past_its_bound_only_where_its_advantage_pulls():
    # ratios 2, 2, 1/2, 1/2, 1 with clip 0.2 / 0.28
    tokens = packed([0.4, 0.4, 0.2, 0.2, 0.3], [0.2, 0.2, 0.4, 0.4, 0.3], [1.0, -1.0, 1.0, -1.0, 3.0])
    values, gradients, clipped, _ = values_and_gradients(tokens, ppo_clip, clip_low=0.2, clip_high=0.28)
    # min(2, 1.28) = 1.28;  min(-2, -1.28) = -2;  min(0.5, 0.8) = 0.5;  min(-0.5, -0.8) = -0.8;  1 * 3 = 3
    assert values == pytest.approx([1.28, -2.0, 0.5, -0.8, 3.0])
    # d(w A)/d log pi = w A where the ratio is in use, 0 where the bound is
    assert gradients == pytest.approx([0.0, -2.0, 0.5, 0.0, 3.0])
    assert clipped == [True, False, False, True, False]


def test_ppo_clip_tells_which_bound_it_was():
    result = ppo_clip(packed([0.4, 0.2], [0.2, 0.4], [1.0, -1.0]), clip_low=0.2, clip_high=0.28)  # ratios 2 and 1/2
    assert (result.clipped_low_N.tolist(), result.clipped_high_N.tolist()) == ([False, True], [True, False])


def test_ppo_clip_at_exactly_the_bound_is_not_clipped():
    # binary fractions, so that the ratio is exactly 1 + 0.25 and 1 - 0.25
    tokens = packed([1.0, 1.0], [1.0, 1.0], [1.0, -1.0])
    at_bound = PackedTokens(
        logprobs_N=torch.zeros(2, dtype=torch.float64, requires_grad=True),
        sampling_logprobs_N=-torch.tensor([1.25, 0.75], dtype=torch.float64).log(),
        advantages_N=tokens.advantages_N,
        weights_N=tokens.weights_N,
        sequence_index_N=tokens.sequence_index_N,
    )
    ratios = at_bound.log_ratio_N.exp().tolist()
    high, low = ratios[0] - 1.0, 1.0 - ratios[1]
    assert (high, low) == (0.25, 0.25)
    values, gradients, clipped, _ = values_and_gradients(at_bound, ppo_clip, clip_low=low, clip_high=high)
    assert values == [1.25, -0.75]
    assert gradients == pytest.approx([1.25, -0.75])
    assert clipped == [False, False]


def test_sequence_clip_uses_the_geometric_mean_of_a_rollouts_ratios():
    # rollout 0: ratios 2 and 1/8, mean log = (ln 2 - 3 ln 2) / 2 = -ln 2, s = 1/2; rollout 1: ratio 2
    tokens = packed([0.4, 0.4, 0.1], [0.2, 0.2, 0.8], [1.0, -1.0, 1.0], sequence_index=[0, 1, 0])
    values, gradients, clipped, _ = values_and_gradients(tokens, sequence_clip, clip_low=0.6, clip_high=1.5)
    assert values == pytest.approx([0.5, -2.0, 0.5])
    assert gradients == pytest.approx([0.5, -2.0, 0.5])
    assert clipped == [False, False, False]


def test_sequence_clip_clips_all_tokens_of_a_rollout_together():
    # s = 1/2 for rollout 5 with A < 0 is below 1 - 0.2: both its tokens stop, at -0.8, though one has ratio 2
    tokens = packed([0.4, 0.1, 0.4], [0.2, 0.8, 0.2], [-1.0, -1.0, 1.0], sequence_index=[5, 5, 9])
    values, gradients, clipped, _ = values_and_gradients(tokens, sequence_clip, clip_low=0.2, clip_high=0.28)
    assert values == pytest.approx([-0.8, -0.8, 1.28])
    assert gradients == pytest.approx([0.0, 0.0, 0.0])
    assert clipped == [True, True, True]


def test_sequence_clip_has_the_gradient_of_the_sequence_form():
    tokens = packed([0.4, 0.3, 0.1, 0.6], [0.3, 0.35, 0.15, 0.5], [2.0, 2.0, 2.0, -1.0], sequence_index=[0, 0, 0, 1])
    _, gradients, _, _ = values_and_gradients(tokens, sequence_clip, clip_low=0.9, clip_high=0.9)
    # Equation 5 of the paper has s A once per rollout; summed over tokens it counts len times.
    log_ratio_N = tokens.log_ratio_N
    objective = 3 * log_ratio_N[:3].mean().exp() * 2.0 + log_ratio_N[3].exp() * -1.0
    (expected_N,) = torch.autograd.grad(objective, tokens.logprobs_N)
    assert gradients == pytest.approx(expected_N.tolist())


def test_truncated_weight_caps_the_weight_and_keeps_every_gradient():
    # ratios 8, 8, 1/2 with the weight at most 1 + 4
    tokens = packed([0.8, 0.8, 0.2], [0.1, 0.1, 0.4], [1.0, -1.0, 2.0])
    values, gradients, clipped, masked = values_and_gradients(tokens, truncated_weight, clip_high=4.0)
    # 5 ln 0.8 = -1.115718;  0.5 * 2 * ln 0.2 = -1.609438
    assert values == pytest.approx([5 * math.log(0.8), -5 * math.log(0.8), math.log(0.2)])
    # the weight is a constant: its gradient is w A, not w A (1 + log pi)
    assert gradients == pytest.approx([5.0, -5.0, 1.0])
    assert clipped == [True, True, False]
    assert masked == [False, False, False]


def test_truncated_weight_at_exactly_its_bound_is_not_clipped():
    tokens = packed([1.0], [0.25], [1.0])
    assert values_and_gradients(tokens, truncated_weight, clip_high=3.0) == ([0.0], [4.0], [False], [False])


def test_the_difference_mask_stops_a_probability_that_has_moved_by_the_limit():
    # pi - mu = 0.3, 0.3, -0.3, -0.3, 0.09 with limit 0.2; the last has ratio 10, capped at 5, and is kept
    tokens = packed([0.6, 0.6, 0.3, 0.3, 0.1], [0.3, 0.3, 0.6, 0.6, 0.01], [1.0, -1.0, 1.0, -1.0, 1.0])
    values, gradients, clipped, masked = values_and_gradients(
        tokens, masked_truncated_weight, clip_high=4.0, difference_limit=0.2
    )
    # ratio 2 with A = -1: -2 ln 0.6;  ratio 1/2 with A = 1: 0.5 ln 0.3;  5 ln 0.1
    assert values == pytest.approx([0.0, -2 * math.log(0.6), 0.5 * math.log(0.3), 0.0, 5 * math.log(0.1)])
    assert gradients == pytest.approx([0.0, -2.0, 0.5, 0.0, 5.0])
    assert masked == [True, False, False, True, False]
    assert clipped == [False, False, False, False, True]


def test_a_probability_that_has_moved_by_exactly_the_limit_is_kept():
    tokens = packed([1.0], [0.75], [1.0])
    difference = (tokens.logprobs_N.exp() - tokens.sampling_logprobs_N.exp()).item()
    *_, masked = values_and_gradients(tokens, masked_truncated_weight, clip_high=4.0, difference_limit=difference)
    assert masked == [False]


def test_kl_estimators_by_hand():
    # pi = 1/2, ref = 1/4: log pi - log ref = ln 2
    policy, reference = torch.tensor([0.5]).double().log(), torch.tensor([0.25]).double().log()
    assert k1(policy, reference).item() == pytest.approx(LOG_2)
    assert k2(policy, reference).item() == pytest.approx(LOG_2**2 / 2)
    # ref/pi - 1 - ln(ref/pi) = 1/2 - 1 + ln 2 = 0.193147
    assert k3(policy, reference).item() == pytest.approx(LOG_2 - 0.5)


def test_kl_estimators_weighted_by_the_policy_are_unbiased_but_for_k2():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.5, 0.3, 0.2]).double()
    # sum pi ln(pi/ref) = 0.7 ln 1.4 + 0.2 ln(2/3) + 0.1 ln 0.5 = 0.235530 - 0.081093 - 0.069315 = 0.085123
    kl = 0.7 * math.log(1.4) + 0.2 * math.log(2 / 3) + 0.1 * math.log(0.5)
    assert kl == pytest.approx(0.085123, abs=1e-6)
    assert (policy * k1(policy.log(), reference.log())).sum().item() == pytest.approx(kl)
    assert (policy * k3(policy.log(), reference.log())).sum().item() == pytest.approx(kl)


def test_k3_of_nearly_equal_policies_is_never_negative():
    logprobs_N = -torch.rand(1000)
    assert (k3(logprobs_N, logprobs_N + 1e-4 * torch.randn(1000)) >= 0).all()


def test_the_policy_loss_is_the_weighted_sum_with_its_sign_turned():
    tokens = packed([0.5, 0.25], [0.5, 0.25], [2.0, -1.0], weights=[0.5, 0.25])
    loss, _ = policy_loss(tokens, reinforce, {})
    # -(0.5 * 2 ln(1/2) + 0.25 * -ln(1/4)) = ln 2 - 0.5 ln 2
    assert loss.item() == pytest.approx(0.5 * LOG_2)
    loss.backward()
    assert tokens.logprobs_N.grad.tolist() == pytest.approx([-1.0, 0.25])


def test_a_kl_penalty_pulls_towards_the_reference():
    tokens = packed([0.5], [0.5], [0.0], weights=[0.5], reference=[0.25])
    loss, metrics = policy_loss(tokens, reinforce, {}, kl_beta=0.1)
    # 0.5 * 0.1 * (ln 2 - 1/2);  d k3 / d log pi = 1 - ref/pi = 1/2
    assert loss.item() == pytest.approx(0.05 * (LOG_2 - 0.5))
    loss.backward()
    assert tokens.logprobs_N.grad.tolist() == pytest.approx([0.05 * 0.5])
    assert metrics.as_metrics()["policy/kl_to_reference"] == pytest.approx(LOG_2 - 0.5)


def test_the_mean_gradient_of_k2_is_that_of_the_divergence_and_k3s_is_not():
    logits = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
    logprobs = logits.log_softmax(0)
    weights = logprobs.detach().exp()  # as if each outcome had been sampled as often as the policy does

    def gradient(values):
        return torch.autograd.grad((weights * values).sum(), logits, retain_graph=True)[0]

    divergence = torch.autograd.grad((logprobs.exp() * (logprobs - reference)).sum(), logits, retain_graph=True)[0]
    torch.testing.assert_close(gradient(k2(logprobs, reference)), divergence)
    assert not torch.allclose(gradient(k3(logprobs, reference)), divergence, rtol=0.1)


def test_the_default_algorithm_penalizes_by_k2_and_tells_k3():
    tokens = packed([0.5, 0.4], [0.5, 0.4], [0.0, 0.0], reference=[0.25, 0.8])
    loss, metrics = ALGORITHMS["rft"].policy_loss(tokens, kl_beta=0.1)
    two = math.log(2.0)
    assert loss.item() == pytest.approx(0.1 * (two**2 / 2 + two**2 / 2))
    assert metrics.as_metrics()["policy/kl_to_reference"] == pytest.approx(((0.5 - 1 + two) + (2 - 1 - two)) / 2)


def test_a_reference_without_a_penalty_is_only_watched():
    loss, metrics = policy_loss(packed([0.5], [0.5], [1.0], reference=[0.25]), reinforce, {})
    assert loss.item() == pytest.approx(LOG_2)
    assert metrics.as_metrics()["policy/kl_to_reference"] == pytest.approx(LOG_2 - 0.5)


def test_a_kl_penalty_without_a_reference_is_refused():
    with pytest.raises(ValueError, match=r"kl_beta is 0\.1, which needs reference_logprobs_N"):
        policy_loss(packed([0.5], [0.5], [1.0]), reinforce, {}, kl_beta=0.1)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_descent_step_raises_good_tokens_and_lowers_bad_ones(name):
    tokens = packed([0.5, 0.4], [0.5, 0.4], [1.0, -1.0], sequence_index=[0, 1])
    loss, _ = ALGORITHMS[name].policy_loss(tokens)
    loss.backward()
    good, bad = tokens.logprobs_N.grad.tolist()
    assert good < 0.0 < bad


@pytest.mark.parametrize("name", ALGORITHMS)
def test_zero_advantages_give_zero_gradient(name):
    tokens = packed([0.5, 0.4], [0.3, 0.6], [0.0, 0.0], sequence_index=[0, 1])
    loss, _ = ALGORITHMS[name].policy_loss(tokens)
    loss.backward()
    assert loss.item() == 0.0
    assert tokens.logprobs_N.grad.tolist() == [0.0, 0.0]


@settings(deadline=None)  # the first example also pays for warming up
@given(st.lists(st.tuples(st.floats(-20.0, -1e-3), st.floats(-3.0, 3.0), st.integers(0, 3)), min_size=1, max_size=12))
def test_on_policy_every_objective_has_the_gradient_of_reinforce(tokens):
    logprobs, advantages, sequences = zip(*tokens, strict=True)
    packed_tokens = PackedTokens(
        logprobs_N=torch.tensor(logprobs, dtype=torch.float64, requires_grad=True),
        sampling_logprobs_N=torch.tensor(logprobs, dtype=torch.float64),
        advantages_N=torch.tensor(advantages, dtype=torch.float64),
        weights_N=torch.linspace(0.1, 1.0, len(tokens), dtype=torch.float64),
        sequence_index_N=torch.tensor(sequences),
    )
    for algorithm in ALGORITHMS.values():
        loss, _ = algorithm.policy_loss(packed_tokens)
        (gradient_N,) = torch.autograd.grad(loss, packed_tokens.logprobs_N)
        expected_N = -packed_tokens.weights_N * packed_tokens.advantages_N
        torch.testing.assert_close(gradient_N, expected_N, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("field", ["logprobs_N", "sampling_logprobs_N", "advantages_N", "weights_N"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_name_and_place(name, field, value):
    # -inf in logprobs would become ratio 0, and inf in the ratio would be clipped: neither would be seen
    numbers = {
        key: torch.full((3,), -0.5) for key in ["logprobs_N", "sampling_logprobs_N", "advantages_N", "weights_N"]
    }
    numbers[field][1] = value
    tokens = PackedTokens(**numbers, sequence_index_N=torch.tensor([4, 7, 7]))
    with pytest.raises(FloatingPointError, match=f"^{field} has 1 of 3 .* the first at token 1 of rollout 7: {value}"):
        ALGORITHMS[name].policy_loss(tokens)


def test_a_reference_that_is_not_finite_is_refused():
    with pytest.raises(FloatingPointError, match="reference_logprobs_N"):
        policy_loss(packed([0.5], [0.5], [1.0], reference=[0.0]), reinforce, {})


def test_a_loss_that_overflows_is_refused():
    # a ratio of e^100 does not fit in float32, and with A < 0 nothing bounds it
    tokens = PackedTokens(
        logprobs_N=torch.tensor([-1.0]),
        sampling_logprobs_N=torch.tensor([-101.0]),
        advantages_N=torch.tensor([-1.0]),
        weights_N=torch.tensor([1.0]),
        sequence_index_N=torch.tensor([0]),
    )
    with pytest.raises(FloatingPointError, match="the policy loss is inf"):
        policy_loss(tokens, ppo_clip, {"clip_low": 0.2, "clip_high": 0.2})


def test_packed_tokens_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"one length, got .*'advantages_N': \(1,\)"):
        packed([0.5, 0.5], [0.5, 0.5], [1.0])


def test_padded_tokens_are_refused():
    square = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="flat tensors"):
        PackedTokens(
            logprobs_N=square,
            sampling_logprobs_N=square,
            advantages_N=square,
            weights_N=square,
            sequence_index_N=square.long(),
        )


def test_a_microbatch_without_tokens_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        packed([], [], [], sequence_index=[])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logprobs_are_refused(dtype):
    half = torch.zeros(1, dtype=dtype)
    with pytest.raises(ValueError, match="float32 or wider"):
        PackedTokens(
            logprobs_N=half,
            sampling_logprobs_N=half,
            advantages_N=half,
            weights_N=half,
            sequence_index_N=torch.tensor([0]),
        )


def test_a_token_without_advantage_is_not_counted_as_clipped():
    tokens = packed([0.4, 0.1], [0.1, 0.4], [0.0, 0.0])
    _, metrics = policy_loss(tokens, ppo_clip, {"clip_low": 0.2, "clip_high": 0.2})
    assert metrics.as_metrics()["policy/clipped_share"] == 0.0
