"""Evaluations and reports from literal scores."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from openrft.evaluation.evaluation import Evaluation, EvaluationRow, Mode
from openrft.evaluation.report import Report, build_report

Scores = Sequence[Sequence[float | None]]


def evaluation_of(
    scores: Scores, *, name: str = "base", step: int = 0, mode: Mode = "sampled", output: str | None = None
) -> Evaluation:
    rows = [
        EvaluationRow(
            example_id=f"e{index}",
            index=index,
            line=index + 1,
            prompt_text=f"question {index}",
            scores=list(row),
            outputs=[output if output is not None else f"{name} {index}.{number}" for number in range(len(row))],
            errors=[None if score is not None else "other_error: broken" for score in row],
            completion_tokens=[10 + number for number in range(len(row))],
            truncated=[False] * len(row),
        )
        for index, row in enumerate(scores)
    ]
    return Evaluation(name=name, step=step, mode=mode, num_samples=max(map(len, scores), default=0), rows=rows)


def report_of(base: Scores, tuned: Scores, *, greedy: tuple[Scores, Scores] | None = None, **more: Any) -> Report:
    if greedy is not None:
        more["base_greedy"] = evaluation_of(greedy[0], mode="greedy")
        more["tuned_greedy"] = evaluation_of(greedy[1], name="step 40", step=40, mode="greedy")
    return build_report(
        job=more.pop("job", {"grader": "exact", "seed": 7, "minutes": 1.5}),
        base_sampled=evaluation_of(base),
        tuned_sampled=evaluation_of(tuned, name="step 40", step=40),
        **more,
    )


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    return evaluation_of


@pytest.fixture
def make_report() -> Callable[..., Report]:
    return report_of
