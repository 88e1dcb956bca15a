"""What is said about an update, against numbers worked out by hand."""

import math

import pytest
import torch

from openrft.algorithms.diagnostics import ratio_diagnostics

NOTHING = torch.tensor([False, False])


def diagnose(ratios, low=NOTHING, high=NOTHING, masked=NOTHING, advantages=(1.0, -1.0), **more):
    return of_logs(torch.tensor(ratios, dtype=torch.float64).log(), low, high, masked, advantages, **more)


def of_logs(log_ratio_N, low=NOTHING, high=NOTHING, masked=NOTHING, advantages=(1.0, -1.0), **more):
    return ratio_diagnostics(
        torch.tensor(0.5),
        log_ratio_N,
        clipped_low_N=low,
        clipped_high_N=high,
        masked_N=masked,
        advantages_N=torch.tensor(advantages),
        **more,
    )


def test_the_ratios_of_an_update_by_hand():
    metrics = diagnose([2.0, 0.5], high=torch.tensor([True, False])).as_metrics()
    assert metrics == pytest.approx(
        {
            "policy/loss": 0.5,
            "policy/ratio_mean": 1.25,
            "policy/ratio_std": 0.75,  # (4 + 1/4) / 2 - 1.25^2 = 0.5625
            "policy/ratio_max": 2.0,
            "policy/ess": 2.5**2 / (2 * 4.25),  # (sum w)^2 / (N sum w^2) = 6.25 / 8.5
            "policy/log_ratio_mean": 0.0,  # (ln 2 - ln 2) / 2
            "policy/k3_to_sampler": 0.25,  # ((2 - 1 - ln 2) + (1/2 - 1 + ln 2)) / 2
            "policy/chi2_to_sampler": 1.125,  # (4 + 1/4) / 2 - 1
            "policy/clipped_share": 0.5,
            "policy/clipped_low_share": 0.0,
            "policy/clipped_high_share": 0.5,
            "policy/masked_share": 0.0,
            "policy/masked_positive_share": 0.0,
            "policy/masked_negative_share": 0.0,
        }
    )


def test_an_on_policy_update_has_ratio_one_and_full_sample_size():
    metrics = diagnose([1.0, 1.0]).as_metrics()
    assert metrics["policy/ratio_mean"] == metrics["policy/ratio_max"] == metrics["policy/ess"] == 1.0
    assert metrics["policy/k3_to_sampler"] == 0.0
    assert metrics["policy/ratio_std"] == metrics["policy/chi2_to_sampler"] == 0.0


def test_the_mismatch_is_the_largest_of_either_sign():
    assert diagnose([0.125, 2.0]).mismatch_metrics()["policy/mismatch_max_abs"] == pytest.approx(3 * math.log(2.0))


def test_clips_are_told_by_the_bound_and_masks_by_what_the_advantage_wanted():
    first, second, both = torch.tensor([True, False]), torch.tensor([False, True]), torch.tensor([True, True])
    metrics = diagnose([2.0, 0.5], low=second, high=first, masked=both, advantages=[3.0, -1.0]).as_metrics()
    assert (metrics["policy/clipped_low_share"], metrics["policy/clipped_high_share"]) == (0.5, 0.5)
    assert (metrics["policy/masked_positive_share"], metrics["policy/masked_negative_share"]) == (0.5, 0.5)
    assert metrics["policy/clipped_share"] == metrics["policy/masked_share"] == 1.0
    wanted_more = diagnose([2.0, 2.0], masked=first, advantages=[1.0, 1.0]).as_metrics()
    assert (wanted_more["policy/masked_positive_share"], wanted_more["policy/masked_negative_share"]) == (0.5, 0.0)


def test_sums_of_two_microbatches_are_those_of_the_batch():
    merged = diagnose([2.0, 0.5], masked=torch.tensor([True, True])) + diagnose([4.0, 1.0])
    assert merged.num_tokens == 4
    assert merged.as_metrics()["policy/ratio_mean"] == pytest.approx(7.5 / 4)
    assert merged.as_metrics()["policy/ratio_max"] == pytest.approx(4.0)
    assert merged.as_metrics()["policy/masked_share"] == 0.5
    assert merged.as_metrics()["policy/ratio_std"] == pytest.approx((21.25 / 4 - (7.5 / 4) ** 2) ** 0.5)
    assert merged.as_metrics()["policy/loss"] == 1.0


def test_microbatches_with_and_without_a_reference_do_not_add_up():
    with_reference = diagnose([1.0, 1.0], kl_to_reference_N=torch.zeros(2))
    assert (with_reference + with_reference).as_metrics()["policy/kl_to_reference"] == 0.0
    with pytest.raises(ValueError, match="another has none"):
        with_reference + diagnose([1.0, 1.0])


def test_ratios_beyond_float32_are_still_counted():
    # e^60 squared leaves float32; the one huge ratio is all there is: (e^60)^2 / (2 e^120) = 1/2
    metrics = of_logs(torch.tensor([60.0, 0.0])).as_metrics()
    assert metrics["policy/ess"] == pytest.approx(0.5)


def test_ratios_that_have_vanished_leave_no_sample_size():
    sums = of_logs(torch.tensor([-800.0, -800.0]))
    assert math.isnan(sums.as_metrics()["policy/ess"])
    assert sums.mismatch_metrics() == {"policy/mismatch_max_abs": 800.0}
