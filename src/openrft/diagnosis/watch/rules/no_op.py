"""Updates change nothing, though there is something to learn from."""

from openrft.diagnosis.watch.history import History
from openrft.diagnosis.watch.rule import Rule

STEPS = 3


def _sign(run: History) -> str | None:
    trained, updated = run.values("groups/trained_share", STEPS), run.values("optimizer/updates", STEPS)
    if trained is None or updated is None or min(trained) <= 0.0 or min(updated) < 1.0:
        return None
    for name, what in (("optimizer/relative_update", "the weights"), ("optimizer/gradient_norm", "the gradient")):
        if run.values(name, STEPS) == [0.0] * STEPS:
            change = "have not changed" if name == "optimizer/relative_update" else "was zero"
            return f"in the last {STEPS} steps {what} {change}, though answers were told apart"
    return None


RULE = Rule(
    code="no_op",
    severity="error",
    sign=_sign,
    advice="this is a fault of openrft or of the model's code: please report it with config.json and metrics.jsonl",
)
