import random
from collections.abc import Callable

import numpy as np
import pytest

from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.selection import (
    _choose_each,
    choose_checkpoint,
    expected_selection_optimism,
    select_evaluation,
    smoothed_means,
)


def coin_flips(num_checkpoints: int, num_examples: int) -> list[list[float]]:
    """Checkpoints that all pass half of the examples, but for chance."""
    rng = random.Random(1)
    return [[float(rng.random() < 0.5) for _ in range(num_examples)] for _ in range(num_checkpoints)]


def test_means_are_averaged_over_the_neighbours_that_are_there() -> None:
    assert smoothed_means([0.0, 0.3, 0.9, 0.6]) == pytest.approx([0.15, 0.4, 0.6, 0.75])


def test_an_even_window_is_refused() -> None:
    with pytest.raises(ValueError, match="odd number"):
        smoothed_means([0.5], window=2)


def test_a_lucky_single_mean_loses_to_a_good_neighbourhood() -> None:
    means = [0.2, 0.9, 0.2, 0.6, 0.7, 0.6, 0.5]
    assert choose_checkpoint(means, window=1) == 1
    assert choose_checkpoint(means, window=3) == 4


def test_the_earliest_of_equal_checkpoints_is_chosen() -> None:
    assert choose_checkpoint([0.1, 0.7, 0.7, 0.7], window=1) == 1


@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_choosing_in_many_draws_at_once_is_choosing_in_each(count: int, window: int) -> None:
    drawn = np.random.default_rng(1).choice([0.1, 0.2, 0.3, 0.5], (500, count))  # so few values that many agree
    assert _choose_each(drawn, window).tolist() == [choose_checkpoint(row, window) for row in drawn.tolist()]


def test_one_checkpoint_is_no_choice_and_has_no_optimism() -> None:
    assert expected_selection_optimism([[0.0, 1.0, 1.0]]) == 0.0


def test_checkpoints_that_differ_on_no_example_have_next_to_no_optimism() -> None:
    # What is left is the noise of the bootstrap itself: all checkpoints share every draw.
    assert expected_selection_optimism([[0.0, 1.0, 0.5]] * 4) < 0.01


def test_choosing_among_noisy_equals_is_optimistic_and_the_estimate_repeats() -> None:
    table = coin_flips(num_checkpoints=8, num_examples=20)
    optimism = expected_selection_optimism(table, window=1)
    assert 0.03 < optimism < 0.3
    assert expected_selection_optimism(table, window=1) == optimism
    assert expected_selection_optimism(table, window=3) < optimism


def test_a_far_better_checkpoint_was_not_chosen_by_luck() -> None:
    low = [[float(example % 7 == checkpoint) for example in range(40)] for checkpoint in range(3)]
    assert expected_selection_optimism([*low, [1.0] * 39 + [0.0]], window=1) < 0.005


def test_examples_ungraded_at_a_checkpoint_are_left_out() -> None:
    table: list[list[float | None]] = [[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]
    with_missing = [[*row, None if number == 1 else 1.0] for number, row in enumerate(table)]
    assert expected_selection_optimism(with_missing) == expected_selection_optimism(table)


def test_copies_of_a_row_do_not_make_the_choice_look_surer() -> None:
    table = coin_flips(num_checkpoints=8, num_examples=20)
    twice = [[score for score in row for _ in range(2)] for row in table]
    source = [number for number in range(20) for _ in range(2)]
    once = expected_selection_optimism(table)
    assert expected_selection_optimism(twice, clusters=source) == pytest.approx(once)
    assert expected_selection_optimism(twice) < 0.9 * once


def test_selection_names_the_step_and_those_it_was_chosen_from(make_evaluation: Callable[..., Evaluation]) -> None:
    scores = {10: [0.0, 0.0], 20: [1.0, 0.0], 30: [1.0, 1.0], 40: [1.0, 1.0], 50: [None, None]}
    evaluations = [make_evaluation([[a], [b]], name=f"step {step}", step=step) for step, (a, b) in scores.items()]
    facts = select_evaluation(evaluations)
    assert (facts.chosen_step, facts.candidate_steps, facts.window) == (40, [10, 20, 30, 40], 3)
    assert facts.expected_optimism >= 0.0


def test_checkpoints_on_different_rows_are_not_compared(make_evaluation: Callable[..., Evaluation]) -> None:
    with pytest.raises(ValueError, match="same rows"):
        select_evaluation([make_evaluation([[1.0]]), make_evaluation([[1.0], [0.0]])])
    with pytest.raises(ValueError, match="no checkpoint"):
        select_evaluation([])
