"""Every moment belongs to one phase, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openrft.rollout.clock import PhaseClock


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_what_is_in_no_phase_is_other_and_all_adds_up() -> None:
    time = Time()
    clock = PhaseClock(now=time)
    time.pass_by(1)
    with clock.phase("update"):
        time.pass_by(2)
    time.pass_by(4)
    assert clock.take() == {"other": 5, "update": 2}
    time.pass_by(8)
    assert clock.take() == {"other": 8}  # nothing is counted twice


def test_a_phase_within_a_phase_interrupts_it() -> None:
    time = Time()
    clock = PhaseClock(now=time)
    with clock.phase("sampling"):
        time.pass_by(1)
        with clock.phase("grading"):
            time.pass_by(2)
        time.pass_by(4)
    assert clock.take() == {"other": 0, "sampling": 5, "grading": 2}


def test_an_error_ends_the_phases_that_it_goes_through() -> None:
    time = Time()
    clock = PhaseClock(now=time)
    with pytest.raises(ValueError, match="x"), clock.phase("update"), clock.phase("grading"):
        time.pass_by(1)
        raise ValueError("x")
    time.pass_by(2)
    assert clock.take() == {"other": 2, "update": 0, "grading": 1}


def test_the_making_of_things_is_a_phase_and_their_use_is_not() -> None:
    time = Time()
    clock = PhaseClock(now=time)

    def make() -> Iterator[int]:
        for number in range(3):
            time.pass_by(10)
            yield number
        time.pass_by(5)  # until it is known that there are no more

    used = []
    for number in clock.each("sampling", make()):
        used.append(number)
        time.pass_by(1)
    assert used == [0, 1, 2]
    assert clock.take() == {"other": 3, "sampling": 35}


def test_a_pause_is_in_no_phase_and_not_in_the_whole() -> None:
    time = Time()
    clock = PhaseClock(now=time)
    with clock.phase("update"):
        time.pass_by(1)
        with clock.paused():
            time.pass_by(100)
        time.pass_by(2)
    assert clock.take() == {"other": 0, "update": 3}


def test_a_phase_that_goes_on_is_taken_in_parts() -> None:
    time = Time()
    clock = PhaseClock(now=time)
    with clock.phase("evaluation"):
        time.pass_by(1)
        assert clock.take() == {"other": 0, "evaluation": 1}
        time.pass_by(2)
    assert clock.take()["evaluation"] == 2


def test_who_listens_hears_of_phases_with_their_interruptions() -> None:
    time = Time()
    spans: list[tuple[str, float, float]] = []
    clock = PhaseClock(now=time, on_span=lambda *span: spans.append(span))
    for _ in clock.each("sampling", "ab"):
        time.pass_by(1)
        with clock.phase("grading"):
            time.pass_by(2)
    assert spans == [("grading", 101, 103), ("grading", 104, 106), ("sampling", 100, 106)]
