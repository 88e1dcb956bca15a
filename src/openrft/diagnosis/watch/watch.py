"""Goes through a run step by step; every rule is quiet, raised, or over. Each change is told once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from openrft.diagnosis.watch.alarm import Alarm
from openrft.diagnosis.watch.answers import Answer
from openrft.diagnosis.watch.history import Facts, History, Row, ValidationPass
from openrft.diagnosis.watch.rule import Rule
from openrft.diagnosis.watch.rules import RULES

CALM_STEPS = 4
"""An alarm is over when its sign has been gone for so many steps, or at one validation pass where it is read there."""
MOST_TIMES = 3
"""One rule raises its alarm at most so often in a run: who did not act on three does not need a fourth."""

Answers = Callable[[], Sequence[Answer]]
"""Reads answers, where there is an alarm that needs them."""


@dataclass(slots=True)
class _State:
    raised: Alarm | None = None
    times: int = 0
    calm: int = 0


class Watch:
    """Sees every step of a run in order, and says what begins and what is over."""

    def __init__(self, facts: Facts, rules: Sequence[Rule] = RULES) -> None:
        self._history = History(facts)
        self._facts = facts
        self._rules = rules
        self._states = {rule.code: _State() for rule in rules}
        self.alarms: list[Alarm] = []

    @property
    def step(self) -> int:
        """The step that was seen last; -1 before the first."""
        return self._history.step

    def see(
        self,
        row: Row,
        validation: ValidationPass | None = None,
        *,
        rollouts: Answers = tuple,
        validation_answers: Answers = tuple,
    ) -> list[Alarm]:
        """Take the next step in: what began with it, and what ended (``ended_step`` is that step)."""
        self._history.add(row, validation)
        changed = []
        for rule in self._rules:
            if rule.at_validation and validation is None:
                continue
            answers = validation_answers if rule.at_validation else rollouts
            news = self._follow(rule, rule.sign(self._history), answers)
            if news is not None:
                changed.append(news)
        return changed

    def _follow(self, rule: Rule, sentence: str | None, answers: Answers) -> Alarm | None:
        state = self._states[rule.code]
        if sentence is not None:
            state.calm = 0
            return self._raise(rule, state, sentence, answers)
        state.calm += 1
        if state.raised is None or state.calm < (1 if rule.at_validation else CALM_STEPS):
            return None
        before, state.raised = state.raised, None
        if rule.is_moment:
            return None
        over = replace(before, ended_step=self.step)
        self.alarms[self.alarms.index(before)] = over
        return over

    def _raise(self, rule: Rule, state: _State, sentence: str, answers: Answers) -> Alarm | None:
        if state.raised is not None or state.times == MOST_TIMES:
            return None
        alarm = Alarm(
            code=rule.code,
            severity=rule.severity,
            sentence=sentence,
            advice=rule.advice,
            step=self.step,
            evidence=tuple(answer.reference for answer in rule.evidence(answers(), self._facts)),
        )
        state.raised, state.times = alarm, state.times + 1
        self.alarms.append(alarm)
        return alarm
