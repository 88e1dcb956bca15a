"""The policy does worse on the validation examples than the untouched base."""

from collections.abc import Sequence

from openrft.diagnosis.watch.answers import Answer, first_few
from openrft.diagnosis.watch.decline import change, mean_of
from openrft.diagnosis.watch.history import Facts, History
from openrft.diagnosis.watch.rule import Rule

FALL, ERRORS = 0.05, 3.0  # of the scores' range, and in paired standard errors, in two passes running


def _sign(run: History) -> str | None:
    if run.base is None or len(run.passes) < 2:
        return None
    falls = [change(run.base.scores, one.scores) for one in list(run.passes)[-2:]]
    if any(fall is None or not fall.is_fall(FALL * run.scale, ERRORS) for fall in falls):
        return None
    now = mean_of(run.passes[-1].scores)
    return f"the validation score, {now:.2f}, is below that of the untouched base, {mean_of(run.base.scores):.2f}"


def _worst(answers: Sequence[Answer], facts: Facts) -> list[Answer]:
    return first_few([answer for answer in answers if answer.reward is not None], lambda answer: answer.reward or 0.0)


RULE = Rule(
    code="worse_than_base",
    severity="error",
    sign=_sign,
    advice="take a lower learning rate; if the training reward has risen meanwhile, the training rows are unlike the "
    "validation rows",
    evidence=_worst,
    at_validation=True,
)
