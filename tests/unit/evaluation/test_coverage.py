"""Simulations with fixed seeds: intervals hold as often as they say, and verdicts err as rarely."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from openrft.evaluation.report import Report
from openrft.evaluation.selection import choose_checkpoint, expected_selection_optimism
from openrft.evaluation.statistics import (
    examples_needed,
    mean_interval,
    minimum_detectable_effect,
    paired_difference,
)
from openrft.evaluation.verdict import outcome_of

Rates = Callable[[np.random.Generator, int], NDArray[np.float64]]

RATES: dict[str, tuple[Rates, float]] = {
    "anywhere": (lambda rng, n: rng.beta(0.5, 0.5, n), 0.5),
    "high": (lambda rng, n: rng.beta(4.0, 1.0, n), 0.8),
    "near the ceiling": (lambda rng, n: np.where(rng.random(n) < 0.95, 1.0, 0.2), 0.96),
    "near the floor": (lambda rng, n: np.where(rng.random(n) < 0.95, 0.0, 0.8), 0.04),
}


@pytest.mark.parametrize("num_samples", [1, 4])
@pytest.mark.parametrize("num_examples", [48, 240])
@pytest.mark.parametrize("kind", RATES)
def test_the_interval_of_a_mean_covers_the_truth(kind: str, num_examples: int, num_samples: int) -> None:
    rates, truth = RATES[kind]
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1_500):
        means = rng.binomial(num_samples, rates(rng, num_examples)) / num_samples
        interval = mean_interval(means.tolist(), num_samples)
        covered += interval.low <= truth <= interval.high
    assert covered / 1_500 >= 0.93


@pytest.mark.parametrize("num_samples", [1, 4])
def test_the_interval_of_a_gain_covers_the_truth(num_samples: int) -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(1_500):
        base = rng.uniform(0.1, 0.6, 48)
        tuned = base + rng.choice([0.0, 0.4], 48)
        scores = [rng.binomial(num_samples, rates) / num_samples for rates in (base, tuned)]
        interval = paired_difference(scores[0].tolist(), scores[1].tolist(), num_samples).interval
        covered += interval.low <= 0.2 <= interval.high
    assert covered / 1_500 >= 0.93


@pytest.mark.parametrize(("num_examples", "num_samples"), [(48, 1), (48, 4), (240, 1)])
def test_two_copies_of_one_model_come_out_as_no_change_in_95_of_100_cases(num_examples: int, num_samples: int) -> None:
    rng = np.random.default_rng(3)
    outcomes: dict[str, int] = {"better": 0, "worse": 0, "no change": 0}
    small_p_values = 0
    for _ in range(1_000):
        rates = rng.beta(1.0, 1.5, num_examples)
        base, tuned = (rng.binomial(num_samples, rates) / num_samples for _ in range(2))
        paired = paired_difference(base.tolist(), tuned.tolist(), num_samples)
        outcomes[outcome_of(paired)] += 1
        small_p_values += paired.p_value <= 0.05
    assert 930 <= outcomes["no change"] <= 970
    assert outcomes["better"] <= 40
    assert small_p_values <= 65


def test_a_gain_of_the_detectable_size_is_found_in_four_of_five_cases() -> None:
    # Differences of the examples' true rates are ±0.1 around the gain: 2 V (1 - ρ) = 0.01.
    gain = minimum_detectable_effect(48, 4, rate_variance=0.01, correlation=0.5, noise_variance=0.24)
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(1_000):
        base = rng.uniform(0.35, 0.45, 48)
        tuned = base + gain + rng.choice([-0.1, 0.1], 48)
        scores = [rng.binomial(4, rates) / 4 for rates in (base, tuned)]
        found += outcome_of(paired_difference(scores[0].tolist(), scores[1].tolist(), 4)) == "better"
    assert 0.74 <= found / 1_000 <= 0.86


@pytest.mark.parametrize(("gain", "num_samples"), [(0.3, 1), (0.1, 4), (0.06, 8)])
def test_with_as_many_examples_as_are_needed_a_gain_is_found_in_four_of_five_cases(
    gain: float, num_samples: int
) -> None:
    # Base rates are 0.4 ± 0.05: V = 0.0025; gains differ by ±0.1, of variance 0.01 = 2 V (1 - ρ) with ρ = -1.
    noise = (0.4 * 0.6 - 0.0025 + (0.4 + gain) * (0.6 - gain) - 0.0025 - 0.01) / 2
    needed = examples_needed(gain, num_samples, rate_variance=0.0025, noise_variance=noise, correlation=-1.0)
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(1_000):
        base = 0.4 + rng.choice([-0.05, 0.05], needed)
        tuned = base + gain + rng.choice([-0.1, 0.1], needed)
        scores = [rng.binomial(num_samples, rates) / num_samples for rates in (base, tuned)]
        found += outcome_of(paired_difference(scores[0].tolist(), scores[1].tolist(), num_samples)) == "better"
    assert 0.76 <= found / 1_000 <= 0.84


def test_the_rows_a_report_asks_for_find_the_gain_in_four_of_five_cases(make_report: Callable[..., Report]) -> None:
    rng = np.random.default_rng(7)

    def draw(count: int) -> list[list[list[float]]]:
        base = rng.beta(2.0, 3.0, count)
        tuned = np.clip(base + 0.05, 0.0, 1.0)
        return [(rng.random((count, 4)) < rates[:, None]).astype(float).tolist() for rates in (base, tuned)]

    asked = []
    for _ in range(40):
        power = make_report(*draw(100)).power
        assert power is not None and power.gain == 0.05 and power.rows_needed is not None
        asked.append(power.rows_needed)
    needed = int(np.median(asked))
    found = 0
    for _ in range(400):
        base, tuned = (np.mean(arm, axis=1).tolist() for arm in draw(needed))
        found += outcome_of(paired_difference(base, tuned, 4)) == "better"
    assert 0.72 <= found / 400 <= 0.88


@pytest.mark.parametrize("window", [1, 3])
def test_the_estimated_optimism_is_the_real_one_when_all_checkpoints_are_equal(window: int) -> None:
    rng = np.random.default_rng(5)
    real, estimated = [], []
    for _ in range(150):
        rates = np.clip(0.5 + rng.normal(0.0, 0.2, (48, 1)) + rng.normal(0.0, 0.05, (48, 10)), 0.0, 1.0)
        scores = rng.binomial(4, rates) / 4
        means = scores.mean(axis=0).tolist()
        real.append(means[choose_checkpoint(means, window)] - 0.5)
        estimated.append(expected_selection_optimism(scores.T.tolist(), window=window, num_draws=300))
    assert np.mean(estimated) == pytest.approx(np.mean(real), abs=0.012)
    assert np.mean(estimated) > 0.01
