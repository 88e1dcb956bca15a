"""Answers cannot be graded."""

from collections.abc import Sequence

from openrft.diagnosis.watch.answers import Answer, most_paid
from openrft.diagnosis.watch.history import Facts, History
from openrft.diagnosis.watch.rule import Rule

STEPS = 4
MANY = 0.05  # of all answers
TWICE = 2  # steps with failures: one bad moment is none


def _sign(run: History) -> str | None:
    ungraded = run.values("grade/ungraded_share", STEPS)
    if ungraded is None:
        return None
    replaced = run.values_or_zero("grade/replaced_share", STEPS)
    failed = [a + b for a, b in zip(ungraded, replaced, strict=True)]
    share = sum(failed) / STEPS
    if share < MANY or sum(one > 0 for one in failed) < TWICE:
        return None
    what = "train with invalid_grade" if sum(replaced) > sum(ungraded) else "are left out of training"
    return f"{share:.0%} of the answers of the last {STEPS} steps could not be graded and {what}"


def _ungraded(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    return most_paid([answer for answer in answers if answer.has_failed])


RULE = Rule(
    code="grader_errors",
    severity="warn",
    sign=_sign,
    advice="read the errors in these rollouts and mend the grader; `openrft grade` tries it on single answers",
    evidence=_ungraded,
)
