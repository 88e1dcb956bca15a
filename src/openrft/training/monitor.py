"""The monitor grader: a second opinion on answers that the job's grader has graded. It is watched, and nothing else.

It never trains and never chooses. Whatever goes wrong with it leaves answers without its score and goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from openrft.errors import OpenRFTError
from openrft.evaluation.evaluation import Evaluation, plain_grade
from openrft.types import Grade, GradeError, Grader, GradingRequest, Metrics, RolloutGroup, total_usage


def add_second_opinion(
    evaluation: Evaluation, monitor: Grader, groups: Sequence[RolloutGroup], *, noise: tuple[int, ...]
) -> Evaluation:
    """``evaluation``, which was made from ``groups``, with the monitor grader's grades of the same answers beside."""
    requests = [
        GradingRequest(item=group.example.item, sample=rollout.sample, noise=(*noise, number, rollout.sample_index))
        for number, group in enumerate(groups)
        for rollout in group.rollouts
    ]
    grades = _grade(monitor, requests)
    usage = dict(evaluation.usage)
    for model, spent in total_usage(grades).items():
        usage[model] = usage[model] + spent if model in usage else spent
    rest = iter(grades)
    rows = [
        replace(row, monitor_grades=[plain_grade(next(rest)) for _ in group.rollouts])
        for row, group in zip(evaluation.rows, groups, strict=True)
    ]
    return replace(evaluation, rows=rows, usage=usage)


def monitor_metrics(evaluation: Evaluation) -> Metrics:
    """What the monitor grader says of a validation pass; nothing without one."""
    seen = evaluation.monitored
    if seen is None:
        return {}
    metrics = {"valid/monitor_ungraded_share": seen.ungraded_share}
    if seen.mean is not None and seen.interval is not None:
        metrics["valid/monitor_mean"] = seen.mean
        metrics["valid/monitor_low"] = seen.interval.low
        metrics["valid/monitor_high"] = seen.interval.high
    return metrics


def monitor_failure(evaluation: Evaluation) -> str | None:
    """A sentence about answers that the monitor grader could not grade; None where there are none."""
    seen = evaluation.monitored
    if seen is None or not seen.num_ungraded:
        return None
    error = next(error for row in seen.rows for error in row.errors if error is not None)
    return (
        f"the monitor grader could not grade {seen.num_ungraded} of {seen.num_completions} answers of "
        f"{evaluation.name}; the job goes on without. The first error: {error}"
    )


def _grade(monitor: Grader, requests: Sequence[GradingRequest]) -> list[Grade]:
    try:
        return monitor.grade(requests)
    except Exception as error:  # a grader promises not to raise; the job must not hang on the promise of this one
        words = error.message if isinstance(error, OpenRFTError) else f"{type(error).__name__}: {error}"
        failure = GradeError(kind="other_error", message=words, grader=monitor.name)
        return [Grade(grader=monitor.name, score=None, error=failure) for _ in requests]
