"""The base model passes nearly everything already."""

from openrft.diagnosis.watch.history import WINDOW, History
from openrft.diagnosis.watch.rule import Rule

ALL_PASS = 0.8  # of the groups of the first steps, and still


def is_too_easy(run: History) -> bool:
    """Whether nearly all groups pass whole, from the first steps on and by the base's own validation."""
    early, late = run.early("groups/all_pass_share"), run.late("groups/all_pass_share")
    if early is None or late is None or min(early, late) < ALL_PASS:
        return False
    base = run.base_pass_share
    return base is None or base >= ALL_PASS


def _sign(run: History) -> str | None:
    if not is_too_easy(run):
        return None
    return (
        f"from the first {WINDOW} steps on all answers passed for {run.early('groups/all_pass_share'):.0%} of the "
        "prompts: the base model can do this already, and there is nearly nothing to learn from"
    )


RULE = Rule(
    code="too_easy",
    severity="warn",
    sign=_sign,
    advice="take harder rows, or a grader that asks for more; check that it does not pay for everything",
)
