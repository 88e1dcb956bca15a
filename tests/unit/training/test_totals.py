"""Metrics that look back, worked out by hand."""

from __future__ import annotations

from openrft.training.totals import Totals

STEP = {"rollout/count": 64.0, "time/step_seconds": 3.0}


def test_rollouts_add_up_and_the_gain_over_the_base_is_told_at_validations() -> None:
    totals = Totals()
    assert totals.add(0, {"valid/reward_mean": 0.25}) == {}
    assert totals.add(1, STEP) == {"rollout/total": 64.0}
    assert totals.add(2, {**STEP, "valid/reward_mean": 0.5}) == {
        "rollout/total": 128.0,
        "valid/gain_per_1k_rollouts": 0.25 / 0.128,
        "throughput/gain_per_minute": 2.5,  # a quarter in six seconds
    }


def test_a_base_that_could_not_be_graded_leaves_no_gain() -> None:
    totals = Totals()
    totals.add(0, {"valid/reward_mean": None})
    assert totals.add(1, {**STEP, "valid/reward_mean": 0.5}) == {"rollout/total": 64.0}


def test_a_run_that_samples_nothing_has_no_totals() -> None:
    totals = Totals()
    totals.add(0, {"valid/reward_mean": 0.25})
    assert totals.add(1, {"time/step_seconds": 3.0, "valid/reward_mean": 0.5}) == {}


def test_recorded_steps_added_again_give_the_same() -> None:
    first, resumed = Totals(), Totals()
    rows = [{"valid/reward_mean": 0.25}, STEP, {**STEP, "valid/reward_mean": 0.5}]
    recorded = [{**row, **first.add(step, row)} for step, row in enumerate(rows)]
    for step, row in enumerate(recorded):
        resumed.add(step, row)
    assert resumed.add(3, STEP) == first.add(3, STEP) == {"rollout/total": 192.0}
    assert resumed.gain({"valid/reward_mean": 0.75}) == first.gain({"valid/reward_mean": 0.75})
