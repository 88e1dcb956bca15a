"""The grader's score rises while the monitor grader's falls, on the same validation answers."""

from collections.abc import Sequence

from openrft.diagnosis.watch.answers import Answer, first_few
from openrft.diagnosis.watch.decline import change, find_decline
from openrft.diagnosis.watch.history import Facts, History
from openrft.diagnosis.watch.rule import Rule

FALL = 0.03  # of a score in 0…1, beside what find_decline asks for
RISE, RISE_ERRORS = 0.03, 1.0  # of the scores' range, and in paired standard errors


def _sign(run: History) -> str | None:
    passes = [one for one in run.all_passes if one.monitored]
    decline = find_decline([(one.step, one.monitored) for one in passes], FALL)
    if decline is None:
        return None
    then = next(one for one in passes if one.step == decline.since)
    rise = change(then.scores, passes[-1].scores)
    if rise is None or not rise.is_rise(RISE * run.scale, RISE_ERRORS):
        return None
    return (
        f"since step {decline.since} the validation score has risen by {rise.mean:.2f}, while the monitor grader's "
        f"score of the same answers has fallen from {decline.before:.2f} to {decline.now:.2f}: the model learns what "
        "the grader pays for, not what was meant"
    )


def _disputed(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    """What the grader pays best and the monitor grader least."""
    judged = [answer for answer in answers if answer.monitored is not None]
    return first_few(judged, lambda answer: (answer.monitored or 0.0) - (answer.reward or 0.0))


RULE = Rule(
    code="reward_hacking",
    severity="error",
    sign=_sign,
    advice="stop and read these answers, close the hole in the grader, and start again from the base; "
    "`openrft grader rehearse` looks for such holes before training",
    evidence=_disputed,
    at_validation=True,
)
