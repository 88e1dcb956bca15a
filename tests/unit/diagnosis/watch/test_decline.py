"""When scores have fallen, and how often luck looks like it."""

from __future__ import annotations

import random

import pytest

from openrft.diagnosis.watch.decline import change, find_decline


def test_a_change_is_paired_by_example_with_one_more_that_changed_by_the_whole_range() -> None:
    before = {f"e{n}": 0.5 for n in range(5)} | {"left": 0.0}
    found = change(before, {"e0": 0.6, "e1": 0.6, "e2": 0.6, "e3": 0.7, "e4": 0.5, "new": 1.0})
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    # By hand: squares 0 + 0 + 0 + 0.01 + 0.01, and 1/5 for the one more; / 4 is the variance, / 5 that of the mean.
    assert found.error == pytest.approx((0.22 / 4 / 5) ** 0.5)
    assert change({"a": 1.0}, {"a": 0.0}) is None


def scores(mean: float) -> dict[str, float]:
    return {f"e{n}": mean for n in range(40)}


def test_a_decline_is_told_against_the_base_and_against_the_best_two_passes_before() -> None:
    from_base = find_decline([(0, scores(0.8)), (4, scores(0.5)), (8, scores(0.4))], 0.03)
    assert from_base is not None
    assert (from_base.since, from_base.before, from_base.now) == (0, pytest.approx(0.8), pytest.approx(0.45))
    curve = [(0, 0.2), (4, 0.7), (8, 0.9), (12, 0.4), (16, 0.4)]
    from_best = find_decline([(step, scores(mean)) for step, mean in curve], 0.03)
    assert from_best is not None
    assert (from_best.since, from_best.before) == (8, pytest.approx(0.8))


def test_one_low_pass_is_no_decline() -> None:
    low_once = [(0, 0.5), (4, 0.5), (8, 0.5), (12, 0.45)]
    assert find_decline([(step, scores(mean)) for step, mean in low_once], 0.03) is None
    assert find_decline([(0, scores(0.9)), (4, scores(0.1))], 0.03) is None


def test_luck_looks_like_a_decline_in_few_runs_however_it_is_watched() -> None:
    """500 runs of 12 passes over 24 examples, two answers each, that neither rise nor fall: at most 3 % are told."""
    told = 0
    for seed in range(500):
        noise = random.Random(seed)
        rates = [noise.betavariate(0.8, 0.8) for _ in range(24)]
        passes = [
            (step, {str(n): (noise.random() < rate) / 2 + (noise.random() < rate) / 2 for n, rate in enumerate(rates)})
            for step in range(12)
        ]
        told += any(find_decline(passes[: count + 1], 0.03) is not None for count in range(2, 12))
    assert told <= 15, told
