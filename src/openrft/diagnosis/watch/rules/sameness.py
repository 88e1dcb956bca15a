"""The policy gives the same answer every time it is asked, and the answer fails."""

from collections.abc import Sequence

from openrft.diagnosis.watch.alarm import MOST_EVIDENCE
from openrft.diagnosis.watch.answers import Answer, grouped, is_same_failing
from openrft.diagnosis.watch.history import WINDOW, Facts, History
from openrft.diagnosis.watch.rule import Rule

MANY = 0.5  # of the prompts
BEFORE = 0.25  # at most, in the first steps


def _sign(run: History) -> str | None:
    before, now = run.early("answers/same_failing_share"), run.late("answers/same_failing_share")
    if before is None or now is None or now < MANY or before > BEFORE or run.has_gained:
        return None
    return (
        f"for {now:.0%} of the prompts of the last {WINDOW} steps all answers were one and the same text that does not "
        f"pass ({before:.0%} at the start): nothing is tried any more"
    )


def _same(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    return [group[0] for group in grouped(answers) if is_same_failing(group, facts.passing_score)][:MOST_EVIDENCE]


RULE = Rule(
    code="sameness",
    severity="warn",
    sign=_sign,
    advice="take a lower learning rate or an earlier checkpoint, and check that something else than this text is paid",
    evidence=_same,
)
