"""One text earns nearly all of what is paid, whatever is asked."""

from collections.abc import Sequence

from openrft.diagnosis.watch.answers import Answer, most_paid, plain_text, top_paid
from openrft.diagnosis.watch.history import WINDOW, Facts, History
from openrft.diagnosis.watch.rule import Rule

NEARLY_ALL = 0.9  # of the well paid answers, over all prompts
BEFORE = 0.5  # at most, in the first steps: data that want one answer most of the time do so from the start


def _sign(run: History) -> str | None:
    before, now = run.early("answers/top_paid_share"), run.late_known("answers/top_paid_share")
    if before is None or now is None or now < NEARLY_ALL or before > BEFORE or run.step < 2 * WINDOW:
        return None
    return (
        f"one and the same text makes up {now:.0%} of the well paid answers of the last {WINDOW} steps, to different "
        f"prompts; at the start it was {before:.0%}"
    )


def _same(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    text, _ = top_paid(answers)
    return most_paid([answer for answer in answers if plain_text(answer.text) == text])


RULE = Rule(
    code="one_answer",
    severity="error",
    sign=_sign,
    advice="if this text is not the right answer to these prompts, the grader pays for it by mistake: let it compare "
    "with the row's reference",
    evidence=_same,
)
