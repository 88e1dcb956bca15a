"""An alarm is told when it begins and when it is over, and never floods."""

from __future__ import annotations

from openrft.diagnosis.watch.alarm import Alarm
from openrft.diagnosis.watch.history import History
from openrft.diagnosis.watch.rule import Rule
from openrft.diagnosis.watch.watch import CALM_STEPS, MOST_TIMES, Watch
from watched import FACTS, answer, validation


def rule(bad: set[int], **changes: object) -> Rule:
    def sign(run: History) -> str | None:
        return f"bad at {run.step}" if run.step in bad else None

    values: dict[str, object] = {"code": "bad", "severity": "warn", "sign": sign, "advice": "mend it", **changes}
    return Rule(**values)  # type: ignore[arg-type]


def news(one: Rule, num_steps: int = 60, **options: object) -> list[tuple[int, Alarm]]:
    """At which step what was told."""
    watch = Watch(FACTS, [one])
    return [
        (step, alarm)
        for step in range(1, num_steps + 1)
        for alarm in watch.see({"step": float(step)}, **options)  # type: ignore[arg-type]
    ]


def test_an_alarm_is_told_when_it_begins_and_once_when_it_is_over() -> None:
    found = news(rule({10, 11, 12, 14}))
    assert [(step, alarm.step, alarm.ended_step) for step, alarm in found] == [(10, 10, None), (18, 10, 18)]
    assert found[0][1].sentence == "bad at 10"
    assert 14 + CALM_STEPS == 18


def test_a_rule_raises_its_alarm_at_most_three_times() -> None:
    found = news(rule(set(range(5, 60, 8))))
    assert [alarm.step for _, alarm in found if alarm.ended_step is None] == [5, 13, 21]
    assert MOST_TIMES == 3


def test_a_moment_is_never_over_and_may_come_again() -> None:
    found = news(rule({10, 11, 30}, is_moment=True))
    assert [(alarm.step, alarm.ended_step) for _, alarm in found] == [(10, None), (30, None)]


def test_answers_are_read_only_where_an_alarm_begins() -> None:
    read = []

    def rollouts() -> list[object]:
        read.append(1)
        return [answer(0, 1.0)]

    found = news(rule({10, 11, 12}), rollouts=rollouts)
    assert len(read) == 1
    assert [one.example for one in found[0][1].evidence] == ["e0"]


def test_a_rule_of_validation_passes_is_asked_at_those_only() -> None:
    one, told = rule({10, 20}, at_validation=True), []
    watch = Watch(FACTS, [one])
    for step in range(1, 31):
        told += watch.see({"step": float(step)}, validation(step, 0.5) if step in (20, 30) else None)
    assert [(alarm.step, alarm.ended_step) for alarm in told] == [(20, None), (20, 30)]


def test_an_alarm_survives_being_written_down() -> None:
    (_, alarm), *_ = news(rule({10}), rollouts=lambda: [answer(0, 1.0), answer(1, None, prompt=1)])
    assert Alarm.from_json(alarm.to_json()) == alarm
    assert len(alarm.evidence) == 2
