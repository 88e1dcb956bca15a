"""Answers fail because they are cut off."""

from collections.abc import Sequence

from openrft.diagnosis.watch.answers import Answer, failing, most_paid
from openrft.diagnosis.watch.history import Facts, History
from openrft.diagnosis.watch.rule import Rule

STEPS = 4
CUT = 0.1  # of all answers
OF_FAILING = 0.5  # of those that do not pass


def _sign(run: History) -> str | None:
    cut, of_failing = run.late("rollout/truncated_share", STEPS), run.late("answers/failing_truncated_share", STEPS)
    if cut is None or of_failing is None or cut < CUT or of_failing < OF_FAILING:
        return None
    return (
        f"{cut:.0%} of the answers of the last {STEPS} steps were cut off at max_completion_tokens, and they are "
        f"{of_failing:.0%} of those that do not pass: the limit explains most failures"
    )


def _cut(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    return most_paid([answer for answer in failing(answers, facts.passing_score) if answer.is_cut])


RULE = Rule(
    code="truncation",
    severity="warn",
    sign=_sign,
    advice="raise max_completion_tokens, or ask for shorter answers in the prompt",
    evidence=_cut,
)
