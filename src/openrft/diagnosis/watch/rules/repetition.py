"""Answers go round in circles."""

from collections.abc import Sequence

from openrft.diagnosis.watch.answers import Answer, most_paid
from openrft.diagnosis.watch.history import Facts, History
from openrft.diagnosis.watch.rule import Rule

STEPS = 4
MUCH = 0.2  # of all runs of four tokens
MORE = 0.1  # than in the first steps
_CIRCLES = 0.5  # of one answer's


def _sign(run: History) -> str | None:
    before, now = run.early("rollout/repeated_4gram_share"), run.late("rollout/repeated_4gram_share", STEPS)
    if before is None or now is None or now < MUCH or now < before + MORE:
        return None
    return (
        f"{now:.0%} of every four tokens in the answers of the last {STEPS} steps were in the same answer before, "
        f"{before:.0%} at the start: they repeat themselves"
    )


def _repeating(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    return most_paid([answer for answer in answers if _repeated_share(answer.token_ids) >= _CIRCLES])


def _repeated_share(tokens: Sequence[int]) -> float:
    count = len(tokens) - 3
    return 1 - len({*zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False)}) / count if count > 0 else 0.0


RULE = Rule(
    code="repetition",
    severity="warn",
    sign=_sign,
    advice="if such answers are well paid, close that hole in the grader; if not, take a lower learning rate",
    evidence=_repeating,
)
