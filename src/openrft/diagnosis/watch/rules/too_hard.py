"""No answer to nearly any prompt gets more than the lowest score, from the base model on."""

from openrft.diagnosis.watch.history import WINDOW, History
from openrft.diagnosis.watch.rule import Rule

SILENT = 0.9  # of all groups
LOW = 0.05  # of the scores' range, above its lower end


def is_too_hard(run: History) -> bool:
    """Whether there is no signal because hardly anything is ever paid."""
    silent, reward = run.late("groups/no_signal_share"), run.late("reward/mean")
    if silent is None or reward is None or silent < SILENT:
        return False
    level = run.lowest + LOW * run.scale
    return reward <= level and (run.base_mean is None or run.base_mean <= level)


def _sign(run: History) -> str | None:
    if not is_too_hard(run):
        return None
    reward = run.late("reward/mean")
    return (
        f"hardly any answer of the last {WINDOW} steps was paid (mean reward {reward:.3f}), nor were the untouched "
        "base's: the task is too hard for this model as it is graded"
    )


RULE = Rule(
    code="too_hard",
    severity="error",
    sign=_sign,
    advice="give partial credit, show the form of a good answer in the prompt, take easier rows or a stronger base, "
    "or train on good answers first; also check that the grader can pay at all",
)
