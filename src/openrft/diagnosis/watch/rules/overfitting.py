"""Prompts that were trained on go on rising while validation falls."""

from openrft.diagnosis.watch.decline import find_decline
from openrft.diagnosis.watch.history import History
from openrft.diagnosis.watch.rule import Rule

GAP = 0.05  # of the scores' range: how much the gap between training and validation has grown
FALL = 0.03  # of it, beside what find_decline asks for
STEADY = 0.02  # of it: training that falls as well is no overfitting


def _sign(run: History) -> str | None:
    if not run.shown_twice or run.has_returned():
        return None
    decline = find_decline([(one.step, one.scores) for one in run.passes], FALL * run.scale)
    if decline is None:
        return None
    then = next(one.train_reward for one in run.passes if one.step == decline.since)
    now = run.passes[-1].train_reward
    if then is None or now is None or now < then - STEADY * run.scale:
        return None
    if now - then + decline.before - decline.now < GAP * run.scale:
        return None
    return (
        f"validation has fallen from {decline.before:.3f} around step {decline.since} to {decline.now:.3f}, while the "
        f"training reward, by now of prompts seen before, went from {then:.2f} to {now:.2f}: the rows are being "
        "learned by heart"
    )


RULE = Rule(
    code="overfitting",
    severity="warn",
    sign=_sign,
    advice="the best checkpoint by validation ships all the same; take fewer steps, a lower learning rate, or more "
    "rows",
    at_validation=True,
)
