"""Nearly every prompt's answers get one and the same score: there is nothing to compare, and nothing is learned."""

from openrft.diagnosis.watch.history import WINDOW, History
from openrft.diagnosis.watch.rule import Rule
from openrft.diagnosis.watch.rules.too_easy import is_too_easy
from openrft.diagnosis.watch.rules.too_hard import is_too_hard

SILENT = 0.9  # of all groups
SOLVED = 0.5  # of them pass whole: then silence is success
FALL = 0.1  # of the scores' range: a policy below its base has lost the signal, which another rule tells


def _sign(run: History) -> str | None:
    silent, reward = run.late("groups/no_signal_share"), run.late("reward/mean")
    if silent is None or reward is None or silent < SILENT or is_too_hard(run) or is_too_easy(run):
        return None
    is_solved = run.has_gained or (run.late("groups/all_pass_share") or 0.0) >= SOLVED
    if is_solved or (run.base_mean is not None and reward < run.base_mean - FALL * run.scale):
        return None
    return (
        f"in the last {WINDOW} steps {silent:.0%} of the prompts had answers that all got the same score, "
        f"{reward:.2f} on average, so that nearly nothing was learned"
    )


RULE = Rule(
    code="no_signal",
    severity="error",
    sign=_sign,
    advice="let the grader tell better answers from worse ones, with partial credit for instance; "
    "`openrft grader rehearse` shows what it says before training",
)
