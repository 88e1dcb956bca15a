"""One part of a multi grader rises at the cost of another."""

import statistics

from openrft.diagnosis.watch.history import WINDOW, History
from openrft.diagnosis.watch.rule import Rule

CHANGE = 0.1
ERRORS = 4.0  # standard errors: the means of a few prompts go up and down


def _sign(run: History) -> str | None:
    changes = {part: moved for part in _parts(run) if (moved := _change(run, part)) is not None}
    fallen = [part for part, (mean, error) in changes.items() if mean < -max(CHANGE, ERRORS * error)]
    risen = [part for part, (mean, error) in changes.items() if mean > max(CHANGE, ERRORS * error)]
    if not fallen or not risen:
        return None
    loser = min(fallen, key=lambda part: changes[part][0])
    winner = max(risen, key=lambda part: changes[part][0])
    return (
        f"the part {winner} of the grader has risen by {changes[winner][0]:.2f} since the first {WINDOW} steps, while "
        f"{loser} has fallen by {-changes[loser][0]:.2f}: the one is bought with the other"
    )


def _parts(run: History) -> list[str]:
    """The keys of a multi grader's parts, which have means beside the whole grade's."""
    names = (name.split("/") for name in run.names)
    return [parts[1] for parts in names if len(parts) == 3 and parts[0] == "grade" and parts[2] == "mean"]


def _change(run: History, part: str) -> tuple[float, float] | None:
    """How much a part's mean has moved since the first steps, and the standard error of that."""
    early, late = run.early_values(f"grade/{part}/mean"), run.values(f"grade/{part}/mean")
    if run.step < 2 * WINDOW or early is None or late is None or len(early) < 2:
        return None
    error = (statistics.variance(early) / len(early) + statistics.variance(late) / len(late)) ** 0.5
    return statistics.fmean(late) - statistics.fmean(early), error


RULE = Rule(
    code="one_part_wins",
    severity="warn",
    sign=_sign,
    advice="give the falling part more weight in calculate_output, or multiply the parts so that none can be given up",
)
