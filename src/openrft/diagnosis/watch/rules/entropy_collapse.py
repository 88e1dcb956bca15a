"""The policy has become certain without having become better."""

from openrft.diagnosis.watch.history import WINDOW, History
from openrft.diagnosis.watch.rule import Rule

LEFT = 0.1  # of the entropy of the first steps
SOLVED = 0.5  # of the groups pass whole: then certainty is what one wants


def _sign(run: History) -> str | None:
    before, now = run.early("policy/entropy"), run.late("policy/entropy")
    if run.step < 2 * WINDOW or before is None or now is None or now >= LEFT * before or run.has_gained:
        return None
    if (run.late("groups/all_pass_share") or 0.0) >= SOLVED:
        return None
    return (
        f"the entropy of the policy has fallen from {before:.3f} to {now:.3f} nats per token, while the reward has not "
        "risen: it tries nothing new any more"
    )


RULE = Rule(
    code="entropy_collapse",
    severity="warn",
    sign=_sign,
    advice="take a lower learning rate, or kl_beta above 0; check that the grader's scores are not mere chance",
)
