"""What the pace and the usage of a few grades mean for the whole job."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from openrft.types import Grade, total_usage


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSize:
    """How many answers a job samples and grades."""

    num_steps: int
    answers_per_step: int  # batch size times group size
    evaluation_answers: int  # all passes over validation and test rows together

    @property
    def num_answers(self) -> int:
        """All of them."""
        return self.num_steps * self.answers_per_step + self.evaluation_answers


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long grades took while answers were being sampled, as they are in training."""

    num_grades: int
    p50_seconds: float
    p95_seconds: float
    max_seconds: float
    grades_per_second: float  # while at least one grade was in work
    collect_seconds: float  # sampling and grading together
    waiting_seconds: float  # of them, those in which sampling stood still or was over: nothing but grading


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What the latency means. Updates of the weights come on top; they cannot be known before training."""

    step_seconds: float  # sampling and grading one step
    waiting_seconds: float  # of them, waiting for the grader alone
    job_seconds: float  # sampling and grading the whole job, evaluations included


@dataclass(frozen=True, kw_only=True, slots=True)
class GradeSpending:
    """Tokens that one model spends on a grade, on average; the cost is None without a price."""

    model: str
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    cached_tokens: float = 0.0
    cost: float | None = None

    @property
    def tokens(self) -> float:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Spending:
    """Tokens of one model that grades: per grade, for the whole job, and what the rehearsal itself spent.

    Costs are None without a price.
    """

    model: str
    prompt_tokens: float  # per grade
    completion_tokens: float
    cached_tokens: float
    cost: float | None
    job_tokens: int  # prompt and completion
    job_cost: float | None
    rehearsal_tokens: int  # grading again and trying exploits included
    rehearsal_cost: float | None


def measure(
    seconds: Sequence[float],
    spans: Sequence[tuple[float, float]],
    *,
    collect_seconds: float,
    waiting_seconds: float,
) -> Latency:
    """From the seconds of each grade, and when the grader began and ended each batch of them."""
    ordered = sorted(seconds)
    busy = busy_seconds(spans)
    return Latency(
        num_grades=len(ordered),
        p50_seconds=quantile(ordered, 0.5),
        p95_seconds=quantile(ordered, 0.95),
        max_seconds=ordered[-1] if ordered else 0.0,
        grades_per_second=len(ordered) / busy if busy > 0 else 0.0,
        collect_seconds=collect_seconds,
        waiting_seconds=waiting_seconds,
    )


def project_pace(latency: Latency, size: JobSize) -> Pace:
    """Seconds of a step and of the job, at the measured pace."""
    each = latency.collect_seconds / latency.num_grades if latency.num_grades else 0.0
    waiting = latency.waiting_seconds / latency.num_grades if latency.num_grades else 0.0
    return Pace(
        step_seconds=each * size.answers_per_step,
        waiting_seconds=waiting * size.answers_per_step,
        job_seconds=each * size.num_answers,
    )


def project_spending(
    grades: Sequence[Grade], size: JobSize, *, tried: Sequence[Grade] = (), priced: Collection[str] = ()
) -> list[Spending]:
    """The job's spending follows from ``grades``, those of the sampled answers.

    ``tried`` are the further grades of the rehearsal; ``priced`` are the models whose price is known.
    """
    each_of = {spent.model: spent for spent in spending_per_grade(grades, priced=priced)}
    found = []
    for model, spent in total_usage([*grades, *tried]).items():
        has_price = model in priced or spent.cost > 0
        each = each_of.get(model) or GradeSpending(model=model, cost=0.0 if has_price else None)
        found.append(
            Spending(
                model=model,
                prompt_tokens=each.prompt_tokens,
                completion_tokens=each.completion_tokens,
                cached_tokens=each.cached_tokens,
                cost=each.cost,
                job_tokens=round(each.tokens * size.num_answers),
                job_cost=None if each.cost is None else each.cost * size.num_answers,
                rehearsal_tokens=spent.prompt_tokens + spent.completion_tokens,
                rehearsal_cost=spent.cost if has_price else None,
            )
        )
    return found


def spending_per_grade(grades: Sequence[Grade], *, priced: Collection[str] = ()) -> list[GradeSpending]:
    """Means over ``grades``, by model; ``priced`` are the models whose price is known."""
    count = max(1, len(grades))
    return [
        GradeSpending(
            model=model,
            prompt_tokens=total.prompt_tokens / count,
            completion_tokens=total.completion_tokens / count,
            cached_tokens=total.cached_tokens / count,
            cost=total.cost / count if model in priced or total.cost > 0 else None,
        )
        for model, total in total_usage(grades).items()
    ]


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ordered values that ``share`` of them do not exceed; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def busy_seconds(spans: Sequence[tuple[float, float]]) -> float:
    """How long at least one of the (begin, end) spans was open."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
