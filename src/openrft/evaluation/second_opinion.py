"""What the monitor grader says of the same answers: base against tuned, and whether it agrees with the grader."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from openrft.evaluation import verdict
from openrft.evaluation.comparison import Comparison, compare_rows, row_pairs
from openrft.evaluation.evaluation import Evaluation


def second_opinion(base: Evaluation, tuned: Evaluation, clusters: Mapping[str, Hashable]) -> Comparison | None:
    """The mean scores by the monitor grader, paired; None where one of the passes was made without it."""
    base_seen, tuned_seen = base.monitored, tuned.monitored
    if base_seen is None or tuned_seen is None:
        return None
    return compare_rows("mean score", base.mode, row_pairs(base_seen, tuned_seen), lambda row: row.mean, clusters)


def opinion_note(monitor: Comparison, outcome: verdict.Outcome) -> str:
    """Whether the monitor grader confirms a verdict with this ``outcome``."""
    if monitor.paired is None:
        return "The monitor grader graded nothing of this, so there is no second opinion."
    seen = f"by the monitor grader, on the same answers, the difference is {verdict.difference_text(monitor.paired)}"
    if outcome == monitor.outcome:
        return f"A second opinion agrees: {seen}."
    if outcome == "better" and monitor.outcome == "worse":
        return f"The two graders disagree: {seen}. The model has learned what the grader pays for, not what was meant."
    if outcome == "better":
        return f"The gain is not confirmed: {seen}."
    return f"The two graders see different things: {seen}."
