from __future__ import annotations

import pytest

from openrft.training.solve_rates import fitting_group

MIXED, WRONG, RIGHT = [0.0, 1.0] * 4, [0.0] * 8, [1.0] * 8


def test_where_most_groups_differ_a_group_has_its_normal_size() -> None:
    size, reason = fitting_group([MIXED] * 9 + [WRONG] * 7)
    assert size == 8
    assert "9 of 16" in reason


def test_where_few_groups_differ_because_most_answers_are_wrong_groups_are_larger() -> None:
    size, reason = fitting_group([MIXED] * 5 + [WRONG] * 11)
    assert size == 16
    assert "5 of 16" in reason and "larger groups find more" in reason


def test_where_few_groups_differ_because_most_answers_are_right_there_is_nothing_to_find() -> None:
    assert fitting_group([MIXED] * 3 + [RIGHT] * 10 + [WRONG] * 3)[0] == 8


def test_a_missing_grade_is_no_grade_of_its_own() -> None:
    assert fitting_group([[0.0, None, 0.0, None]] * 16)[0] == 16
    assert fitting_group([[0.0, None, 1.0, None]] * 16)[0] == 8


@pytest.mark.parametrize("scores", [[], [[None] * 8] * 16])
def test_where_nothing_could_be_graded_a_group_has_its_normal_size(scores: list[list[float | None]]) -> None:
    size, reason = fitting_group(scores)
    assert size == 8
    assert "could be graded" in reason
