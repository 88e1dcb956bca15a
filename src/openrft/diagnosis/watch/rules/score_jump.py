"""The training reward jumps up from one step to the next, far beyond its usual ups and downs."""

import statistics

from openrft.diagnosis.watch.history import WINDOW, History
from openrft.diagnosis.watch.rule import Rule

JUMP = 0.4  # of the scores' range
DEVIATIONS = 6.0  # robust ones, of the steps before
AFTER = 2  # steps that must agree
_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_LEAST = 0.02  # of the range: rewards that hardly vary have no scale of their own


def _sign(run: History) -> str | None:
    before, after = run.values("reward/mean", WINDOW, skip=AFTER), run.values("reward/mean", AFTER)
    if before is None or after is None or run.has_returned(WINDOW + AFTER):
        return None
    middle = statistics.median(before)
    spread = _MAD_TO_SIGMA * statistics.median(abs(value - middle) for value in before)
    least = max(JUMP * run.scale, DEVIATIONS * max(spread, _LEAST * run.scale))
    if min(after) < max(before) or min(after) - middle < least:
        return None
    return (
        f"the training reward has jumped from {middle:.2f} to {statistics.fmean(after):.2f} within {AFTER} steps: "
        "learning is rarely that sudden, a hole in a grader is found at once"
    )


RULE = Rule(
    code="score_jump",
    severity="warn",
    sign=_sign,
    advice="read these answers: are they as good as their scores?",
    is_moment=True,
)
