"""Every rule catches what is planted for it, names the answers that show it, and is silent on healthy runs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from openrft.diagnosis.watch.history import ValidationPass
from openrft.diagnosis.watch.rules import RULES
from watched import Row, answer, healthy_row, learns, told, validation

STEPS = range(1, 49)

PLANTED: dict[str, tuple[int, Callable[[int], Row]]] = {
    # the step at which it is to be raised, and what is different from a healthy run
    "no_signal": (8, lambda step: {"reward/mean": 0.4, "groups/no_signal_share": 0.95, "groups/all_pass_share": 0.0}),
    "too_hard": (8, lambda step: {"reward/mean": 0.01, "groups/no_signal_share": 0.95, "groups/all_pass_share": 0.0}),
    "too_easy": (8, lambda step: {"reward/mean": 0.98, "groups/no_signal_share": 0.9, "groups/all_pass_share": 0.9}),
    "grader_errors": (21, lambda step: {"grade/ungraded_share": 0.1 if step >= 20 else 0.0}),
    "truncation": (
        23,
        lambda step: {"rollout/truncated_share": 0.3, "answers/failing_truncated_share": 0.8} if step >= 20 else {},
    ),
    "one_part_wins": (
        25,
        lambda step: {"grade/form/mean": learns(step), "grade/truth/mean": 0.8 if step < 20 else 0.3},
    ),
    "one_answer": (28, lambda step: {"answers/top_paid_share": 0.2 if step < 20 else 0.97}),
    "score_jump": (21, lambda step: {"reward/mean": 0.2 + 0.01 * (step % 3) if step < 20 else 0.9}),
    "sameness": (27, lambda step: {"reward/mean": 0.2, "answers/same_failing_share": 0.05 if step < 20 else 0.6}),
    "repetition": (21, lambda step: {"rollout/repeated_4gram_share": 0.02 if step < 20 else 0.5}),
    "entropy_collapse": (27, lambda step: {"reward/mean": 0.2, "policy/entropy": 0.4 if step < 20 else 0.01,
                                           "groups/all_pass_share": 0.0, "groups/no_signal_share": 0.5}),
    "no_op": (22, lambda step: {"optimizer/relative_update": 0.0 if step >= 20 else 1e-4}),
}  # fmt: skip


@pytest.mark.parametrize("code", PLANTED)
def test_what_is_planted_is_told_once_and_soon(code: str) -> None:
    latest, plant = PLANTED[code]
    alarms = told(healthy_row(step) | plant(step) for step in STEPS)
    assert [alarm.code for alarm in alarms] == [code]
    assert alarms[0].step <= latest
    assert alarms[0].ended_step is None


def passes(score: Callable[[int], float], monitor: Callable[[int], float] | None = None) -> list[ValidationPass]:
    return [validation(step, score(step), None if monitor is None else monitor(step)) for step in range(0, 49, 4)]


AT_VALIDATION: dict[str, tuple[Callable[[int], Row], list[ValidationPass]]] = {
    "reward_hacking": (lambda step: {}, passes(learns, lambda step: 0.5 - 0.4 * learns(step))),
    "worse_than_base": (
        lambda step: {"reward/mean": 0.3 if step < 20 else 0.1},
        passes(lambda step: 0.3 if step < 20 else 0.1),
    ),
    "overfitting": (lambda step: {}, passes(lambda step: 0.2 + 0.02 * step if step < 28 else 0.6)),
    "length_exploited": (lambda step: {}, passes(lambda step: 0.2)),
}


@pytest.mark.parametrize("code", AT_VALIDATION)
def test_what_only_validation_shows_is_told_once(code: str) -> None:
    plant, seen = AT_VALIDATION[code]
    alarms = told((healthy_row(step) | plant(step) for step in STEPS), seen)
    assert code in [alarm.code for alarm in alarms]
    assert max(Counter(alarm.code for alarm in alarms).values()) == 1
    others = {alarm.code for alarm in alarms} - {code}
    assert others <= ({"length_exploited"} if code == "reward_hacking" else set())  # answers grew as well


def test_every_rule_has_a_planted_case() -> None:
    assert {rule.code for rule in RULES} == {*PLANTED, *AT_VALIDATION}


def test_a_policy_that_falls_below_its_base_is_not_told_that_its_task_was_too_hard() -> None:
    rows = (healthy_row(step) | {"reward/mean": 0.0, "groups/no_signal_share": 1.0, "groups/all_pass_share": 0.0,
                                 "answers/length_reward_correlation": 0.0} for step in STEPS)  # fmt: skip
    found = told(rows, [validation(0, 0.3), *(validation(step, 0.0) for step in range(4, 49, 4))])
    assert [alarm.code for alarm in found] == ["worse_than_base"]


def test_a_solved_task_is_no_lack_of_signal_no_sameness_and_no_collapse_of_entropy() -> None:
    solved = {"reward/mean": 1.0, "groups/no_signal_share": 1.0, "groups/all_pass_share": 1.0, "policy/entropy": 1e-4}
    assert told(healthy_row(step) | (solved if step > 16 else {}) for step in STEPS) == []


def test_a_score_that_no_answer_can_pass_may_still_be_learned_to_the_end() -> None:
    """A graded score that ends at 0.9 for every answer: silent groups that never pass, and all is well."""
    plateau = {"reward/mean": 0.9, "groups/no_signal_share": 1.0, "groups/all_pass_share": 0.0, "policy/entropy": 1e-4,
               "groups/all_fail_share": 1.0, "answers/same_failing_share": 1.0}  # fmt: skip
    assert told(healthy_row(step) | (plateau if step > 24 else {}) for step in STEPS) == []


def test_prompts_that_are_picked_for_being_hard_hide_no_gain_that_validation_shows() -> None:
    hard = {"reward/mean": 0.5, "groups/all_pass_share": 0.1, "groups/no_signal_share": 0.1}
    rows = [healthy_row(step) | hard | {"policy/entropy": 0.4 if step < 20 else 0.01} for step in STEPS]
    assert told(rows, passes(lambda step: 0.45 + 0.01 * step)) == []
    flat = told(rows, passes(lambda step: 0.45))
    assert [alarm.code for alarm in flat] == ["entropy_collapse"]


def test_scores_of_another_range_are_judged_by_that_range() -> None:
    """From 1 to 7: a rise of 0.45 is noise there, and not the jump that it would be between 0 and 1."""
    rows = (healthy_row(step, lambda step: 0.5) | {"reward/mean": 6.0 if step < 20 else 6.45} for step in STEPS)
    assert told(rows) == []


CURVES: dict[str, Callable[[int], float]] = {
    "rises and stays": learns,
    "starts slowly": lambda step: 0.05 if step < 15 else min(0.6, 0.05 + 0.03 * (step - 15)),
    "is solved": lambda step: min(0.995, 0.3 + 0.04 * step),
    "learns a little": lambda step: 0.4 + 0.002 * step,
    "is given random rewards": lambda step: 0.5,
}


def test_noise_alone_raises_an_alarm_in_less_than_one_healthy_run_of_fifty() -> None:
    """300 runs with the noise of 64 answers a step and 160 a validation; a monitor grader that goes nowhere."""
    found: Counter[str] = Counter()
    for number in range(300):
        noise = random.Random(number)
        level = list(CURVES.values())[number % len(CURVES)]
        rows = [healthy_row(step, level, noise) for step in STEPS]
        seen = [validation(step, 0.9 * level(step), 0.5, noise) for step in range(0, 49, 4)]
        found.update({alarm.code for alarm in told(rows, seen)})
    assert found.total() <= 6, found


EVIDENCE = {
    "grader_errors": ([answer(0, 1.0), answer(1, None, has_failed=True)], [(0, 1)]),
    "truncation": ([answer(0, 0.0), answer(1, 0.2, is_cut=True), answer(2, 1.0, is_cut=True)], [(0, 1)]),
    "repetition": ([answer(0, 0.5), answer(1, 0.1, token_ids=(1, 2) * 20)], [(0, 1)]),
    "sameness": (
        [answer(0, 0.0, "x"), answer(1, 0.0, "x"), answer(0, 0.0, prompt=1), answer(1, 0.0, prompt=1)], [(0, 0)]
    ),
    "one_answer": (
        [answer(n, float(n % 2), "YES " if n % 2 else "", prompt=p) for p in range(4) for n in range(5)],
        [(0, 1), (1, 1), (2, 1), (3, 1), (0, 3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", EVIDENCE)
def test_an_alarm_names_the_answers_that_show_it_the_best_paid_first(code: str) -> None:
    answers, expected = EVIDENCE[code]
    _, plant = PLANTED[code]
    (alarm,) = told((healthy_row(step) | plant(step) for step in STEPS), rollouts=answers)
    assert [(one.line - 1, one.sample) for one in alarm.evidence] == expected


def test_the_evidence_of_hacking_is_what_the_two_graders_disagree_about_most() -> None:
    answers = [answer(n, 1.0, source="validation", monitored=(0.9, 0.1, 0.5)[n], prompt=n) for n in range(3)]
    _, seen = AT_VALIDATION["reward_hacking"]
    alarms = told((healthy_row(step) for step in STEPS), seen, answers=answers)
    (alarm,) = [alarm for alarm in alarms if alarm.code == "reward_hacking"]
    assert [one.line for one in alarm.evidence] == [2, 3, 1]
    assert {one.source for one in alarm.evidence} == {"validation"}
