"""What is said about an update, against numbers worked out by hand."""

import math

import pytest
import torch

from openrft.algorithms.diagnostics import ratio_diagnostics

NOTHING = torch.tensor([False, False])


def diagnose(ratios, clipped=NOTHING, masked=NOTHING, **more):
    log_ratio_N = torch.tensor(ratios, dtype=torch.float64).log()
    return ratio_diagnostics(torch.tensor(0.5), log_ratio_N, clipped_N=clipped, masked_N=masked, **more)


def test_the_ratios_of_an_update_by_hand():
    metrics = diagnose([2.0, 0.5], clipped=torch.tensor([True, False])).as_metrics()
    assert metrics == pytest.approx(
        {
            "policy/loss": 0.5,
            "policy/ratio_mean": 1.25,
            "policy/ratio_max": 2.0,
            "policy/ess": 2.5**2 / (2 * 4.25),  # (sum w)^2 / (N sum w^2) = 6.25 / 8.5
            "policy/log_ratio_mean": 0.0,  # (ln 2 - ln 2) / 2
            "policy/mismatch_max_abs": math.log(2.0),
            "policy/k3_to_sampler": 0.25,  # ((2 - 1 - ln 2) + (1/2 - 1 + ln 2)) / 2
            "policy/clipped_share": 0.5,
            "policy/masked_share": 0.0,
        }
    )


def test_an_on_policy_update_has_ratio_one_and_full_sample_size():
    metrics = diagnose([1.0, 1.0]).as_metrics()
    assert metrics["policy/ratio_mean"] == metrics["policy/ratio_max"] == metrics["policy/ess"] == 1.0
    assert metrics["policy/k3_to_sampler"] == metrics["policy/mismatch_max_abs"] == 0.0


def test_the_mismatch_is_the_largest_of_either_sign():
    assert diagnose([0.125, 2.0]).as_metrics()["policy/mismatch_max_abs"] == pytest.approx(3 * math.log(2.0))


def test_sums_of_two_microbatches_are_those_of_the_batch():
    merged = diagnose([2.0, 0.5], masked=torch.tensor([True, True])) + diagnose([4.0, 1.0])
    assert merged.num_tokens == 4
    assert merged.as_metrics()["policy/ratio_mean"] == pytest.approx(7.5 / 4)
    assert merged.as_metrics()["policy/ratio_max"] == pytest.approx(4.0)
    assert merged.as_metrics()["policy/masked_share"] == 0.5
    assert merged.as_metrics()["policy/loss"] == 1.0


def test_microbatches_with_and_without_a_reference_do_not_add_up():
    with_reference = diagnose([1.0, 1.0], kl_to_reference_N=torch.zeros(2))
    assert (with_reference + with_reference).as_metrics()["policy/kl_to_reference"] == 0.0
    with pytest.raises(ValueError, match="another has none"):
        with_reference + diagnose([1.0, 1.0])


def test_ratios_beyond_float32_are_still_counted():
    # e^60 squared leaves float32; the one huge ratio is all there is: (e^60)^2 / (2 e^120) = 1/2
    log_ratio_N = torch.tensor([60.0, 0.0])
    metrics = ratio_diagnostics(torch.tensor(0.0), log_ratio_N, clipped_N=NOTHING, masked_N=NOTHING).as_metrics()
    assert metrics["policy/ess"] == pytest.approx(0.5)


def test_ratios_that_have_vanished_leave_no_sample_size():
    log_ratio_N = torch.tensor([-800.0, -800.0])
    metrics = ratio_diagnostics(torch.tensor(0.0), log_ratio_N, clipped_N=NOTHING, masked_N=NOTHING).as_metrics()
    assert math.isnan(metrics["policy/ess"])
    assert metrics["policy/mismatch_max_abs"] == 800.0
