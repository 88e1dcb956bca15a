"""Advantages against numbers worked out by hand, and the properties that hold for every group."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrft.algorithms.advantages import (
    batch_scaled,
    global_normalized,
    group_mean,
    group_normalized,
    has_signal,
    leave_one_out,
    maxrl,
)

GROUP_RELATIVE = [group_mean, leave_one_out, group_normalized, batch_scaled, maxrl]

# Hundredths: what graders give, and what shifting or scaling by a power of two leaves exact enough.
rewards = st.integers(min_value=0, max_value=100).map(lambda hundredths: hundredths / 100)
groups = st.lists(st.lists(rewards, min_size=1, max_size=8), min_size=1, max_size=6)


def by_name(function):
    return function.__name__


def assert_close(actual, expected, tolerance=1e-12):
    assert [len(group) for group in actual] == [len(group) for group in expected]
    for actual_group, expected_group in zip(actual, expected, strict=True):
        assert actual_group == pytest.approx(expected_group, rel=tolerance, abs=tolerance)


def test_group_mean_is_the_reward_less_the_mean_of_its_group():
    # mean(1, 0, 0, 1) = 1/2; mean(0.2, 0.4, 0.9) = 1.5/3 = 0.5
    assert_close(group_mean([[1.0, 0.0, 0.0, 1.0], [0.2, 0.4, 0.9]]), [[0.5, -0.5, -0.5, 0.5], [-0.3, -0.1, 0.4]])


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    # 1 - (0+0+1)/3 = 2/3;  0 - (1+0+1)/3 = -2/3;  in a pair, 1 - 0.25 = 0.75 and 0.25 - 1 = -0.75
    assert_close(leave_one_out([[1.0, 0.0, 0.0, 1.0], [1.0, 0.25]]), [[2 / 3, -2 / 3, -2 / 3, 2 / 3], [0.75, -0.75]])


def test_group_normalized_divides_by_the_sample_std_plus_epsilon():
    # mean 1/2, squared deviations 4 * 1/4 = 1, over G - 1 = 3: std = sqrt(1/3) = 0.577350
    # 0.5 / 0.577450 = 0.865876
    expected = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    assert expected == pytest.approx(0.865876, abs=1e-6)
    assert_close(group_normalized([[1.0, 0.0, 0.0, 1.0]]), [[expected, -expected, -expected, expected]])


def test_batch_scaled_divides_every_group_by_one_spread():
    # leave one out: (1, -1) and (0.5, -0.5); rms = sqrt((1 + 1 + 0.25 + 0.25) / 4) = sqrt(0.625) = 0.790569
    spread = math.sqrt(0.625)
    assert_close(batch_scaled([[1.0, 0.0], [0.75, 0.25]]), [[1 / spread, -1 / spread], [0.5 / spread, -0.5 / spread]])


def test_batch_scaled_takes_its_spread_from_the_groups_with_signal_only():
    # the one group with signal: (1, -1), rms 1; two solved groups in the count would have made it sqrt(2/6)
    assert batch_scaled([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]) == [[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]]


def test_batch_scaled_does_not_blow_grader_noise_up_to_a_reward():
    # leave one out: +-0.01, rms 0.01, below the floor: 0.01 / 0.05 = 0.2; the group's std would give +-0.7
    assert_close(batch_scaled([[0.51, 0.50]]), [[0.2, -0.2]])
    assert_close(batch_scaled([[0.51, 0.50]], floor=0.1), [[0.1, -0.1]])


def test_batch_scaled_uses_the_spread_when_it_equals_the_floor():
    assert_close(batch_scaled([[1.0, 0.5]], floor=0.5), [[1.0, -1.0]])


@pytest.mark.parametrize("floor", [0.0, -1.0, math.nan])
def test_batch_scaled_refuses_a_floor_that_could_divide_by_nothing(floor):
    with pytest.raises(ValueError, match="must be above 0"):
        batch_scaled([[1.0, 0.0]], floor=floor)


def test_global_normalized_compares_with_the_whole_batch():
    # all rewards 1, 1, 0, 0: mean 1/2, sample std sqrt(1/3); the solved prompt is pushed up as a whole
    expected = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    assert_close(global_normalized([[1.0, 1.0], [0.0], [0.0]]), [[expected, expected], [-expected], [-expected]])


def test_global_normalized_of_an_equal_batch_is_exactly_zero():
    assert global_normalized([[0.1, 0.1], [0.1]]) == [[0.0, 0.0], [0.0]]


def test_maxrl_divides_the_centred_reward_by_the_mean():
    # mean 1/4: (1 - 1/4) / (1/4) = 3 and (0 - 1/4) / (1/4) = -1; mean 3/4: 1/3 and -1
    assert_close(
        maxrl([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]]),
        [[3.0, -1.0, -1.0, -1.0], [1 / 3, 1 / 3, 1 / 3, -1.0]],
    )


def test_maxrl_of_a_group_that_never_succeeds_is_zero():
    assert maxrl([[0.0, 0.0, 0.0]]) == [[0.0, 0.0, 0.0]]


def test_maxrl_refuses_negative_rewards():
    with pytest.raises(ValueError, match=r"group 1 has -0\.5"):
        maxrl([[1.0, 0.0], [1.0, -0.5]])


@pytest.mark.parametrize("advantages", GROUP_RELATIVE, ids=by_name)
def test_a_group_of_equal_rewards_gets_exactly_zero(advantages):
    # the rounded mean of three times 0.1 is not 0.1
    assert advantages([[0.1, 0.1, 0.1], [1.0, 1.0], [0.7] * 7]) == [[0.0] * 3, [0.0] * 2, [0.0] * 7]


@pytest.mark.parametrize("advantages", GROUP_RELATIVE, ids=by_name)
def test_a_rollout_alone_in_its_group_gets_exactly_zero(advantages):
    assert advantages([[0.7], [0.0]]) == [[0.0], [0.0]]


@pytest.mark.parametrize("advantages", [*GROUP_RELATIVE, global_normalized], ids=by_name)
def test_the_better_rollout_gets_the_positive_advantage(advantages):
    [(better, worse)] = advantages([[0.9, 0.2]])
    assert better > 0.0 > worse


@pytest.mark.parametrize("advantages", [*GROUP_RELATIVE, global_normalized], ids=by_name)
@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_refused_by_name(advantages, reward):
    with pytest.raises(ValueError, match="reward 1 of group 1 is"):
        advantages([[1.0, 0.0], [0.0, reward]])


@pytest.mark.parametrize("advantages", [*GROUP_RELATIVE, global_normalized], ids=by_name)
def test_a_group_without_rewards_is_refused(advantages):
    with pytest.raises(ValueError, match="group 1 has no rewards"):
        advantages([[1.0, 0.0], []])


@pytest.mark.parametrize("advantages", [*GROUP_RELATIVE, global_normalized], ids=by_name)
def test_a_batch_without_groups_has_no_advantages(advantages):
    assert advantages([]) == []


def test_a_group_has_signal_when_its_rewards_differ():
    assert has_signal([0.0, 0.0, 0.01])
    assert not has_signal([0.1, 0.1])
    assert not has_signal([0.5])
    assert not has_signal([])


@settings(deadline=None)
@given(groups)
def test_ragged_groups_keep_their_shape(batch):
    for advantages in [*GROUP_RELATIVE, global_normalized]:
        assert [len(group) for group in advantages(batch)] == [len(group) for group in batch]


@settings(deadline=None)
@given(groups)
def test_the_advantages_of_a_group_sum_to_zero(batch):
    for advantages in GROUP_RELATIVE:
        for group in advantages(batch):
            assert math.fsum(group) == pytest.approx(0.0, abs=1e-9)


@settings(deadline=None)
@given(groups)
def test_global_advantages_sum_to_zero_over_the_batch(batch):
    assert math.fsum(value for group in global_normalized(batch) for value in group) == pytest.approx(0.0, abs=1e-9)


@settings(deadline=None)
@given(groups, st.integers(min_value=-8, max_value=8))
def test_a_constant_added_to_all_rewards_changes_nothing(batch, shift):
    shifted = [[reward + shift for reward in group] for group in batch]
    for advantages in [group_mean, leave_one_out, group_normalized, batch_scaled, global_normalized]:
        assert_close(advantages(shifted), advantages(batch), tolerance=1e-9)


@settings(deadline=None)
@given(groups)
def test_leave_one_out_is_the_definition(batch):
    for group, advantages in zip(batch, leave_one_out(batch), strict=True):
        for i, advantage in enumerate(advantages):
            others = [reward for j, reward in enumerate(group) if j != i]
            baseline = math.fsum(others) / len(others) if others else group[i]
            assert advantage == pytest.approx(group[i] - baseline, abs=1e-12)


@settings(deadline=None)
@given(groups)
def test_the_batch_spread_of_scaled_advantages_is_one_or_less(batch):
    kept = [value for group in batch_scaled(batch) if has_signal(group) for value in group]
    if kept:
        assert math.fsum(value * value for value in kept) / len(kept) <= 1.0 + 1e-9
