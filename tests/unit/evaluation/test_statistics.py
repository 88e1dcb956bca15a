"""Intervals against numbers worked by hand and against scipy; how often they hold is in test_coverage."""

import math
import random
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrft.evaluation.statistics import (
    Interval,
    examples_needed,
    mean_interval,
    minimum_detectable_effect,
    paired_difference,
    pass_at_k,
    student_quantile,
    variance_parts,
)

# Wilson's interval for 10 of 20 successes, and for 20 of 20: 20 / (20 + 1.96²).
HALF_OF_TWENTY = (0.29930, 0.70070)
ALL_OF_TWENTY = (0.83887, 1.0)


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def test_single_pass_fail_samples_give_the_plain_wilson_interval() -> None:
    assert ends(mean_interval([1.0, 0.0] * 10, 1)) == pytest.approx(HALF_OF_TWENTY, abs=1e-5)


def test_agreeing_scores_still_have_an_interval_with_width() -> None:
    assert ends(mean_interval([1.0] * 20, 4)) == pytest.approx(ALL_OF_TWENTY, abs=1e-5)
    assert ends(mean_interval([0.0] * 20, 4)) == pytest.approx((0.0, 1.0 - 0.83887), abs=1e-5)


def test_samples_that_agree_within_examples_add_nothing() -> None:
    # Four samples, but each example always or never passes: still 20 trials, not 80.
    assert mean_interval([1.0, 0.0] * 10, 4) == mean_interval([1.0, 0.0] * 10, 1)


def test_samples_that_disagree_within_examples_narrow_the_interval_to_that_of_all_samples() -> None:
    # Every example passes half of its 4 samples: at most 80 trials, center 1/2, half width 0.107.
    low, high = ends(mean_interval([0.5] * 20, 4))
    assert (low, high) == pytest.approx((0.39297, 0.60703), abs=1e-5)


def test_scores_outside_zero_to_one_get_a_t_interval_that_says_so() -> None:
    from scipy import stats

    scores = [3.0, 5.0, 8.0, 2.0, 9.5]
    interval = mean_interval(scores, 1)
    oracle = stats.t.interval(0.95, 4, loc=5.5, scale=stats.sem(scores))
    assert interval.method == "t"
    assert ends(interval) == pytest.approx(oracle)


def test_equal_scores_outside_zero_to_one_are_no_certainty() -> None:
    interval = mean_interval([5.0] * 4, 1)
    assert interval.low < 5.0 < interval.high


def test_ungraded_examples_are_left_out_not_counted_as_zero() -> None:
    assert mean_interval([1.0, None, 0.0, None], 1) == mean_interval([1.0, 0.0], 1)


def test_examples_of_one_source_count_once() -> None:
    scores = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    twice = [score for score in scores for _ in range(2)]
    source = [number for number in range(len(scores)) for _ in range(2)]
    assert ends(mean_interval(twice, 1, source)) == pytest.approx(ends(mean_interval(scores, 1)))
    assert mean_interval(twice, 1).low > mean_interval(scores, 1).low


def test_one_source_for_all_examples_is_one_trial() -> None:
    assert ends(mean_interval([1.0] * 50, 1, ["book"] * 50)) == pytest.approx((0.20654, 1.0), abs=1e-5)


@pytest.mark.parametrize("scores", [[], [None, None]])
def test_nothing_graded_is_an_error_and_not_a_number(scores: list[float | None]) -> None:
    with pytest.raises(ValueError, match="no example has a grade"):
        mean_interval(scores, 1)


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.5, math.nan], 1)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40), st.integers(1, 16))
def test_the_interval_contains_the_mean_and_stays_within_zero_to_one(scores: list[float], num_samples: int) -> None:
    interval = mean_interval(scores, num_samples)
    mean = math.fsum(scores) / len(scores)
    assert 0.0 <= interval.low <= mean + 1e-12
    assert mean - 1e-12 <= interval.high <= 1.0
    assert interval.high - interval.low > 0.0


def test_a_paired_difference_worked_by_hand() -> None:
    # d = 1, 0, 1, 0: mean 1/2, s²/n = (1/3)/4, t(3) = 3.18245; both non-zero signs agree in 2 of 4 flips.
    paired = paired_difference([0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0], 1)
    assert paired.mean == 0.5
    assert ends(paired.interval) == pytest.approx((0.5 - 3.182446 * math.sqrt(1 / 12), 1.0), abs=1e-6)
    assert (paired.wins, paired.losses, paired.ties) == (2, 0, 2)
    assert paired.p_value == 0.5
    assert (paired.num_examples, paired.num_dropped) == (4, 0)


def test_no_difference_anywhere_is_no_certainty() -> None:
    # One pseudo-example with squared difference 1/K: variance 1/(K n²).
    paired = paired_difference([0.5] * 4, [0.5] * 4, 4)
    assert ends(paired.interval) == pytest.approx((-3.182446 / 8, 3.182446 / 8), abs=1e-6)
    assert paired.p_value == 1.0


def test_the_paired_interval_is_scipys_where_differences_vary() -> None:
    from scipy import stats

    rng = random.Random(3)
    base = [rng.random() for _ in range(30)]
    tuned = [min(1.0, score + rng.random() / 2) for score in base]
    oracle = stats.ttest_rel(tuned, base).confidence_interval(0.95)
    paired = paired_difference(base, tuned, 8)
    assert ends(paired.interval) == pytest.approx((oracle.low, oracle.high))


@pytest.mark.parametrize("degrees", [1, 2, 5, 47, 239])
def test_students_quantile_is_scipys(degrees: int) -> None:
    from scipy import stats

    assert student_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees))


def test_the_exact_p_value_is_scipys_permutation_test() -> None:
    import numpy as np
    from scipy import stats

    base, tuned = [0.1, 0.4, 0.3, 0.9, 0.2, 0.5, 0.7, 0.6], [0.5, 0.3, 0.9, 0.95, 0.6, 0.8, 0.6, 0.9]

    def mean_difference(x: "np.ndarray", y: "np.ndarray", axis: int) -> "np.ndarray":
        return np.mean(x - y, axis=axis)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = stats.permutation_test((tuned, base), mean_difference, permutation_type="samples", vectorized=True)
    assert paired_difference(base, tuned, 1).p_value == pytest.approx(oracle.pvalue)


def test_the_sampled_p_value_is_near_the_exact_one_and_always_the_same() -> None:
    # 18 examples, 13 won and 5 lost by the same amount: two-sided sign test, 2 · P(X >= 13), X ~ B(18, 1/2).
    base, tuned = [0.0] * 13 + [1.0] * 5, [1.0] * 13 + [0.0] * 5
    exact = 2 * sum(math.comb(18, k) for k in range(13, 19)) / 2**18
    first = paired_difference(base, tuned, 1).p_value
    assert first == pytest.approx(exact, abs=0.006)
    assert paired_difference(base, tuned, 1).p_value == first


def test_an_example_ungraded_in_one_arm_leaves_both_and_is_counted() -> None:
    paired = paired_difference([0.0, None, 0.0, 1.0], [1.0, 1.0, None, 1.0], 1)
    assert paired.mean == 0.5
    assert (paired.num_examples, paired.num_dropped) == (2, 2)


def test_paired_examples_of_one_source_count_once() -> None:
    base, tuned = [0.0, 0.2, 0.4, 0.1, 0.6], [0.5, 0.1, 0.9, 0.8, 0.7]
    source = [number for number in range(5) for _ in range(3)]
    once = paired_difference(base, tuned, 4)
    thrice = paired_difference([b for b in base for _ in range(3)], [t for t in tuned for _ in range(3)], 4, source)
    assert ends(thrice.interval) == pytest.approx(ends(once.interval))
    assert thrice.p_value == once.p_value


def test_arms_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equal lengths, got 1 and 2"):
        paired_difference([0.0], [0.0, 1.0], 1)


@pytest.mark.parametrize(
    ("n", "c", "k", "chance"), [(4, 2, 2, 5 / 6), (10, 3, 1, 0.3), (5, 0, 3, 0.0), (5, 3, 3, 1.0), (1, 1, 1, 1.0)]
)
def test_pass_at_k_counts_subsets(n: int, c: int, k: int, chance: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(chance)


def test_pass_at_k_beyond_the_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="k <= n"):
        pass_at_k(4, 2, 5)


@pytest.mark.parametrize(("n", "k", "effect"), [(20, 4, 0.261), (50, 1, 0.234), (50, 4, 0.160), (500, 16, 0.042)])
def test_the_detectable_effect_worked_by_hand(n: int, k: int, effect: float) -> None:
    # (t_.975 + t_.8) · √((2 · 0.12 · 0.4 + 2 · 0.12 / k) / n): 2.093 + 0.861 with 19 degrees, 2.010 + 0.849 with 49.
    assert minimum_detectable_effect(n, k) == pytest.approx(effect, abs=5e-4)


@pytest.mark.parametrize("num_samples", [1, 4, 16])
@pytest.mark.parametrize("num_examples", [2, 3, 12, 48, 500])
def test_the_examples_needed_are_those_that_detect_the_effect(num_examples: int, num_samples: int) -> None:
    effect = minimum_detectable_effect(num_examples, num_samples)
    assert examples_needed(effect, num_samples) == num_examples
    assert examples_needed(effect * 0.999, num_samples) == num_examples + 1


def test_an_effect_of_nothing_cannot_be_found_by_any_number_of_examples() -> None:
    for effect in (0.0, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="effect above 0"):
            examples_needed(effect, 4)


def test_variance_is_split_between_examples_and_samples() -> None:
    # Within: squares 1/2 + 0 over 2 degrees; between: s² of (1/2, 1) is 1/8, of which sampling explains 1/4 · 1/2.
    assert variance_parts([[1.0, 0.0], [1.0, 1.0, None], [None, 1.0]]) == (0.0, 0.25)
    assert variance_parts([[1.0, 1.0], [0.0, 0.0]]) == (0.5, 0.0)


def test_variance_cannot_be_split_from_single_samples() -> None:
    with pytest.raises(ValueError, match="two graded samples each"):
        variance_parts([[1.0], [0.0]])
