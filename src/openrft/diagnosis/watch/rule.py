"""What a rule is: when something is wrong, in one sentence; what to do about it; and which answers show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openrft.diagnosis.watch.alarm import Severity
from openrft.diagnosis.watch.answers import Answer, most_paid
from openrft.diagnosis.watch.history import Facts, History


def best_paid(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    """Where the rule is about no answers in particular: what is paid best."""
    return most_paid(answers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One thing that can go wrong. ``sign`` gives the sentence as long as it is so."""

    code: str
    severity: Severity
    sign: Callable[[History], str | None]
    advice: str
    evidence: Callable[[Sequence[Answer], Facts], list[Answer]] = best_paid
    is_moment: bool = False  # it happens and is past, so nobody is told that it is over
    at_validation: bool = False  # the sign is read, and evidence taken, from validation passes
