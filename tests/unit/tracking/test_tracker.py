"""The figures of a report that every tracker gets."""

from __future__ import annotations

from typing import Any

from openrft.tracking.tracker import verdict
from tracked_run import REPORT

INTERVAL = {"low": -0.5, "high": -0.25}


def test_what_the_choice_of_the_checkpoint_did_is_taken_off_the_gain() -> None:
    assert verdict(REPORT) == {
        "report/base": 0.25,
        "report/tuned": 0.5,
        "report/gain": 0.3,
        "report/gain_low": 0.21,
        "report/gain_high": 0.39,
    }


def test_without_a_choice_the_paired_difference_is_the_gain() -> None:
    paired: dict[str, Any] = {"mean": 0.25, "interval": None}
    report = {"comparisons": [{"base_mean": 0.25, "tuned_mean": 0.5, "paired": paired}], "selection": None}
    assert verdict(report) == {"report/base": 0.25, "report/tuned": 0.5, "report/gain": 0.25}


def test_a_report_of_losses_has_losses() -> None:
    paired = {"mean": -0.375, "interval": INTERVAL}
    report = {"kind": "loss", "arms": [{"loss": 1.5}, {"loss": 1.125}], "paired": paired, "selection": {}}
    assert verdict(report) == {
        "report/base": 1.5,
        "report/tuned": 1.125,
        "report/gain": -0.375,
        "report/gain_low": -0.5,
        "report/gain_high": -0.25,
    }


def test_what_was_not_measured_is_not_told() -> None:
    assert verdict({"kind": "loss", "arms": [], "paired": None}) == {}
    assert verdict({"comparisons": [{"base_mean": None, "tuned_mean": None, "paired": None}]}) == {}
