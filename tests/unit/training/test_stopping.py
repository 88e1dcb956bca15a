"""When training ends early, and when it goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from openrft.training.guard import Observation
from openrft.training.stopping import LAST_STEPS, why_stop


def validations(means: Sequence[float], **facts: float) -> list[Observation]:
    return [Observation(step=10 * number, valid=mean, **facts) for number, mean in enumerate(means)]  # type: ignore[arg-type]


def steps(reward: float, silent: float = 0.3, count: int = LAST_STEPS) -> list[Observation]:
    return [Observation(step=step, reward=reward, silent_share=silent) for step in range(1, count + 1)]


RISING = [0.30, 0.40, 0.50, 0.60, 0.65, 0.68, 0.71]
PLATEAU = [0.30, 0.50, 0.60, 0.60, 0.60, 0.60, 0.60, 0.60]


def test_training_goes_on_while_validation_rises() -> None:
    assert why_stop(validations(RISING), steps(0.6)) is None


def test_training_goes_on_while_it_rises_on_a_noisy_path() -> None:
    assert why_stop(validations([0.30, 0.36, 0.33, 0.40, 0.36, 0.44, 0.41, 0.47, 0.44]), steps(0.5)) is None


def test_five_validations_without_a_hundredth_of_gain_end_it() -> None:
    # Smoothed: 0.40, 0.467, 0.567, 0.60 and then nothing; five after the first 0.60 are steps 40 to 80.
    assert why_stop(validations(PLATEAU), steps(0.7)) is None
    why = why_stop(validations([*PLATEAU, 0.60]), steps(0.7))
    assert why == "validation has not risen by 0.01 above 0.600 in 5 validations"


def test_five_validations_of_the_base_itself_are_patience_enough() -> None:
    assert why_stop(validations([0.2] * 5), steps(0.2)) is None
    assert why_stop(validations([0.2] * 6), steps(0.2)) is not None


def test_a_lucky_validation_does_not_reset_patience() -> None:
    lucky = [0.30, 0.50, 0.60, 0.60, 0.60, 0.60, 0.60, 0.615, 0.60]  # smoothed: 0.6075
    assert why_stop(validations(lucky), steps(0.7)) is not None


def test_validation_below_its_best_twice_in_a_row_ends_it() -> None:
    fallen = validations([0.3, 0.6, 0.5, 0.5])
    lower = [Observation(step=one.step, valid=one.valid, valid_fall=0.1, valid_fall_error=0.05) for one in fallen[2:]]
    why = why_stop([*fallen[:2], *lower], steps(0.5))
    assert why == "validation is below its best twice in a row, by 0.100 and 0.100"
    assert why_stop([*fallen[:3], lower[1]], steps(0.5)) is None  # once
    within = [Observation(step=30, valid=0.5, valid_fall=0.1, valid_fall_error=0.07)]  # 1.4 standard errors
    assert why_stop([*fallen[:2], lower[0], *within], steps(0.5)) is None


def test_what_is_learned_on_both_sides_ends_it() -> None:
    assert "the reward is 0.995 in training and 0.992 on validation" in str(
        why_stop(validations([0.5, 0.992]), steps(0.995))
    )
    assert why_stop(validations([0.5, 0.95]), steps(0.995)) is None
    assert why_stop(validations([0.5, 0.995]), steps(0.9)) is None


def test_scores_that_go_beyond_one_are_not_taken_for_learned_at_one() -> None:
    assert why_stop(validations([0.5, 3.0]), steps(4.0)) is None


@pytest.mark.parametrize(("reward", "silent", "count", "ends"), [
    (0.95, 0.97, LAST_STEPS, True), (0.8, 1.0, LAST_STEPS, False), (0.95, 0.9, LAST_STEPS, False),
    (0.95, 0.97, LAST_STEPS - 1, False),
])  # fmt: skip
def test_groups_without_a_signal_at_a_high_reward_end_it(reward: float, silent: float, count: int, ends: bool) -> None:
    why = why_stop(validations([0.5, 0.8]), steps(reward, silent, count))
    assert (why is not None) == ends


def test_the_base_alone_ends_nothing() -> None:
    assert why_stop(validations([1.0]), steps(1.0, 1.0)) is None


def test_a_validation_loss_that_falls_no_more_ends_it_and_a_low_loss_is_not_taken_for_learned() -> None:
    losses = [-2.0, -1.5, -1.3, -1.3, -1.3, -1.3, -1.3, -1.3, -1.3]
    observed = [Observation(step=n, valid=loss, valid_is_loss=True) for n, loss in enumerate(losses)]
    assert why_stop(observed, []) == "validation loss has not fallen by 0.01 below 1.300 in 5 validations"
    assert why_stop(observed[:5], []) is None
