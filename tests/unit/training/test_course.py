"""What a run's present weights descend from, where it goes back to, and that all of it can be learned again."""

from __future__ import annotations

from typing import Any

import pytest

from openrft.training.course import MAX_DIVERGENCES, MAX_RETURNS, Course, Return
from openrft.training.guard import DIVERGED
from run_settings import settings

MEANS = {0: 0.30, 10: 0.40, 20: 0.55, 30: 0.60, 40: 0.58}


def row(step: int, valid: float | None = None, **more: Any) -> dict[str, Any]:
    found = {"step": step, "reward/mean": 0.5, "policy/entropy": 0.4, **more}
    return found if valid is None else {**found, "valid/reward_mean": valid}


def course_of(means: dict[int, float], until: int, **changes: Any) -> Course:
    course = Course(settings(**{"guard": True, "early_stopping": True, **changes}))
    for step in range(until + 1):
        course.see(step, row(step, means.get(step)))
    return course


def test_it_goes_back_to_the_best_by_smoothed_validation() -> None:
    # Smoothed: 10: 0.475, 20: 0.517, 30: 0.577, 40: 0.59
    assert course_of(MEANS, 45).choose_good([10, 20, 30, 40]) == 40
    assert course_of(MEANS, 45).choose_good([10, 20, 30]) == 30


def test_it_goes_back_to_before_a_fall_that_validation_saw() -> None:
    course = course_of(MEANS, 49)
    for step in (50, 60):
        course.see(step, row(step, 0.1, **{"valid/worse_than_best": 0.5, "valid/worse_than_best_error": 0.05}))
    assert course.find_collapse() is not None
    assert course.choose_good([10, 20, 30, 40, 50]) == 40


def test_it_goes_back_to_the_base_where_nothing_trained_is_better() -> None:
    assert course_of({0: 0.5, 10: 0.3, 20: 0.2}, 25).choose_good([10, 20]) == 0
    fallen = Course(settings(guard=True))
    fallen.see(0, row(0, 0.5))
    fallen.see(10, row(10, 0.1, **{"valid/worse_than_best": 0.4}))
    fallen.see(11, row(11))
    assert fallen.choose_good([10]) == 0


def test_without_any_validation_it_goes_back_to_a_checkpoint_from_before_the_last_steps() -> None:
    assert course_of({}, 20).choose_good([5, 15, 18]) == 15
    assert course_of({}, 20).choose_good([18]) == 0
    diverged = course_of({}, 20)
    diverged.see(21, row(21, **{"optimizer/diverged": 1.0}))
    assert diverged.choose_good([5, 20]) == 20


def test_what_was_validated_after_the_step_it_went_back_to_is_not_of_the_line() -> None:
    course = course_of(MEANS, 45)
    course.go_back(Return(at=45, to=30, why="a fall"))
    assert [step for step in (0, 10, 30, 31, 40, 45, 46, 50) if course.is_of_line(step)] == [0, 10, 30, 46, 50]
    assert (course.weights_of(45), course.weights_of(46), course.weights_of(30)) == (30, 46, 30)
    assert course.learning_rate_scale == 0.5
    course.see(46, row(46))
    assert course.find_collapse() is None
    assert course.choose_good([30, 40, 45]) == 30


def test_weights_are_followed_through_several_returns() -> None:
    course = course_of({}, 10)
    course.go_back(Return(at=10, to=5, why="x"))
    course.go_back(Return(at=20, to=10, why="x"))
    assert course.weights_of(20) == 5
    assert course.learning_rate_scale == 0.25


def test_a_course_that_is_learned_from_the_records_decides_the_same() -> None:
    fall = {"valid/worse_than_best": 0.3, "valid/worse_than_best_error": 0.02}
    rows = [row(step, MEANS.get(step)) for step in range(46)]
    rows += [row(step, 0.2 if step % 10 == 0 else None, **(fall if step % 10 == 0 else {})) for step in range(46, 90)]

    def follow(course: Course, rows: list[dict[str, Any]], told: dict[int, Return]) -> dict[int, Return]:
        for one in rows:
            course.see(one["step"], one)
            if one["step"] in told:
                course.go_back(told[one["step"]])
            elif why := course.find_collapse():
                course.go_back(Return(at=one["step"], to=course.choose_good(range(0, one["step"], 10)), why=why))
        return {one.at: one for one in course.returns}

    whole = follow(Course(settings(guard=True)), rows, {})
    assert [(one.at, one.to) for one in whole.values()] == [(60, 40), (80, 40)]
    for cut in (55, 60, 65, 79, 80, 85):
        resumed = Course(settings(guard=True))
        known = {at: one for at, one in whole.items() if at <= cut}
        follow(resumed, rows[: cut + 1], known)
        assert follow(resumed, rows[cut + 1 :], {}) == whole, cut


def test_an_amended_step_replaces_itself() -> None:
    course = course_of(MEANS, 40)
    once = course.choose_good([10, 20, 30, 40])
    course.see(40, row(40, 0.58))
    assert course.choose_good([10, 20, 30, 40]) == once == 30
    assert course.last_step == 40


def test_after_its_last_return_a_run_is_over() -> None:
    course = course_of(MEANS, 45)
    for number in range(MAX_RETURNS + 1):
        assert course.why_over() is None
        course.go_back(Return(at=50 + number, to=40, why="a fall"))
    assert course.why_over() == "the policy has collapsed once more after 3 returns: a fall"
    course.see(60, row(60, **{"optimizer/diverged": 1.0}))
    assert course.find_collapse() is None


def test_a_loss_that_is_not_finite_is_borne_twice() -> None:
    course = course_of(MEANS, 15)
    for number in range(MAX_DIVERGENCES):
        assert course.bears_divergence()
        course.go_back(Return(at=20 + number, to=10, why=DIVERGED))
    assert not course.bears_divergence()


@pytest.mark.parametrize("stops_early", [True, False])
def test_it_ends_early_only_after_a_validation_and_where_that_is_asked_for(stops_early: bool) -> None:
    course = course_of({step: 0.5 for step in range(0, 60, 10)}, 50, early_stopping=stops_early)
    assert (course.why_over() is not None) == stops_early
    course.see(51, row(51))
    assert course.why_over() is None
