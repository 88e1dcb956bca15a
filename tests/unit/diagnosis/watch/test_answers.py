"""What is condensed of a step's answers, against numbers worked out by hand; and the same from the run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from openrft.diagnosis.watch.answers import answer_metrics, answers_of_groups, answers_of_rows, most_paid, top_paid
from openrft.training.run_folder import RunFolder, read_rows
from openrft.types import RolloutGroup
from rehearsals import answer as rollout
from rehearsals import failed
from rehearsals import group as make_group
from rollouts import make_group as plain_group
from watched import answer


def group(*answers: tuple[float | None, str], index: int = 0) -> RolloutGroup:
    made = make_group(
        *(rollout(failed("broken") if score is None else score, text) for score, text in answers), index=index
    )
    for number, one in enumerate(made.rollouts):
        one.sample_index = number
    return made


def test_groups_whose_answers_are_all_the_same_and_fail_are_counted() -> None:
    groups = [
        group((0.0, "no"), (0.0, "no")),
        group((1.0, "yes"), (1.0, "yes"), index=1),  # the same, and right
        group((0.0, "no"), (0.0, "other"), index=2),
        group((None, "no"), (None, "no"), index=3),  # nobody knows
    ]
    assert answer_metrics(groups, 1.0)["answers/same_failing_share"] == 0.25


def test_the_share_of_failing_answers_that_were_cut_off() -> None:
    rows = [rollout(0.0, "a", "length"), rollout(0.0, "b"), rollout(0.5, "c", "length"), rollout(1.0, "d", "length")]
    assert answer_metrics([make_group(*rows)], 1.0)["answers/failing_truncated_share"] == pytest.approx(2 / 3)


def test_the_correlation_of_length_and_reward_is_a_mean_over_groups_where_both_vary() -> None:
    rising = plain_group([0.0, 0.5, 1.0], lengths=[2, 4, 6])
    falling = plain_group([1.0, 0.5, 0.0], index=1, lengths=[2, 4, 6])
    half = plain_group([0.0, 1.0, 0.0, 1.0], index=2, lengths=[2, 2, 4, 6])  # by hand: 1 / sqrt(11)
    silent = plain_group([1.0, 1.0, 1.0], index=3, lengths=[2, 4, 6])
    assert answer_metrics([rising, rising], 1.0)["answers/length_reward_correlation"] == pytest.approx(1.0)
    assert answer_metrics([rising, falling, silent], 1.0)["answers/length_reward_correlation"] == pytest.approx(0.0)
    assert answer_metrics([half], 1.0)["answers/length_reward_correlation"] == pytest.approx(11**-0.5)
    assert "answers/length_reward_correlation" not in answer_metrics([silent], 1.0)


def test_the_commonest_of_the_well_paid_answers_and_its_share() -> None:
    paid = [answer(n, 1.0, "Yes \n" if n < 2 else f"other {n}", prompt=prompt) for prompt in range(4) for n in range(3)]
    unpaid = [answer(n, 0.0, "no", prompt=prompt) for prompt in range(4) for n in (3, 4, 5, 6)]
    text, share = top_paid([*paid, *unpaid])
    assert (text, share) == ("yes", pytest.approx(8 / 12))


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [answer(0, None)],
        [answer(n, 1.0, "yes", prompt=n) for n in range(9)],  # all are paid the same
        [answer(n, float(n > 0), "yes", prompt=n % 3) for n in range(12)],  # too few prompts
        [answer(n, float(n < 4), "yes", prompt=n) for n in range(12)],  # too few answers
    ],
)
def test_too_few_well_paid_answers_have_no_commonest(answers: list[object]) -> None:
    assert top_paid(answers)[1] is None  # type: ignore[arg-type]


def test_a_step_without_rollouts_has_nothing_to_condense() -> None:
    assert answer_metrics([], 1.0) == {}


def test_the_best_paid_come_from_different_prompts_first() -> None:
    answers = [answer(n, 1.0 - prompt / 10, prompt=prompt) for prompt in range(3) for n in range(3)]
    assert [(one.prompt[1], one.sample) for one in most_paid(answers)] == [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)]


def test_answers_are_the_same_read_back_from_the_runs_folder(tmp_path: Path) -> None:
    twice = group((1.0, "a"), (0.0, "b"))  # one example, in two groups of a step
    groups = [twice, group((None, "c"), (0.5, "d"), index=1), group((0.0, "e"), (0.0, "f"))]
    folder = RunFolder(tmp_path / "run", fresh=True)
    folder.write_rollouts(3, groups)
    folder.close()
    found = answers_of_rows(read_rows(tmp_path / "run/rollouts/step-000003.jsonl"))
    assert [one.reference for one in found] == [one.reference for one in answers_of_groups(3, groups)]
    assert [(one.text, one.reward, one.has_failed, one.prompt) for one in found] == [
        (one.text, one.reward, one.has_failed, one.prompt) for one in answers_of_groups(3, groups)
    ]
    assert [one.prompt[1] for one in found] == [0, 0, 1, 1, 2, 2]
