"""Models of several jobs on the held-out rows that they share, over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.evaluation.losses import LossEvaluation, LossRow
from openrft.evaluation.statistics import paired_difference
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import GRADER, body, supervised


def score_row(name: str, index: int, *scores: float | None) -> EvaluationRow:
    count = len(scores)
    return EvaluationRow(
        example_id=name, index=index, line=index + 1, prompt_text=name, scores=list(scores), outputs=["out"] * count,
        errors=[None if score is not None else "broken" for score in scores], completion_tokens=[1] * count,
        truncated=[False] * count,
    )  # fmt: skip


def loss_row(name: str, index: int, loss: float) -> LossRow:
    return LossRow(
        example_id=name, index=index, line=index + 1, prompt_text=name, answer="a", tokens=2, loss=loss, hits=1
    )


@pytest.fixture
def ship(client, store: Store) -> Callable[..., str]:
    """Makes a job whose report is about these rows of its step 4; its id."""

    def make(rows: list[Any], dataset: str = "validation", **changes: Any) -> str:
        job_id: str = client.fine_tuning.jobs.create(**body(client, **changes)).id
        is_loss = isinstance(rows[0], LossRow)
        evaluation = (
            LossEvaluation(name="step 4", step=4, rows=rows)
            if is_loss
            else Evaluation(name="step 4", step=4, mode="sampled", num_samples=len(rows[0].scores), rows=rows)
        )
        documents = {
            "documents/report.json": {"shipped_step": 4, "rows_kind": "validation"},
            f"evaluations/step-000004-{dataset}-{'loss' if is_loss else 'sampled'}.json": evaluation.to_json(),
        }
        for name, content in documents.items():
            store.artifacts.write(f"jobs/{job_id}/{name}", [json.dumps(content).encode()])
        return job_id

    return make


@pytest.fixture
def compare(http) -> Callable[..., Any]:
    def ask(*jobs: str, status: int = 200) -> Any:
        answer = http.get("/v1/fine_tuning/comparisons", params={"jobs": ",".join(jobs)})
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def test_rows_are_paired_by_content_and_the_difference_is_that_of_the_statistics(ship, compare) -> None:
    one = ship([score_row("a", 0, 0.0, 0.5), score_row("b", 1, 0.5, 0.5), score_row("only here", 2, 1.0, 1.0)])
    other = ship([score_row("b", 0, 1.0, 1.0), score_row("a", 1, 0.75, 0.75), score_row("c", 2, 0.0, 0.0)])
    found = compare(one, other)
    assert [job["rows"] for job in found["jobs"]] == [3, 3]
    [pair] = found["pairs"]
    assert (pair["first"], pair["second"], pair["metric"], pair["problem"]) == (one, other, "mean score", None)
    assert pair["rows"] == {"paired": 2, "only_in_first": 1, "only_in_second": 1}
    expected = paired_difference([0.25, 0.5], [0.75, 1.0], 2, ["a", "b"])
    assert (pair["first_mean"], pair["second_mean"], pair["difference"]) == (0.375, 0.875, 0.5)
    assert pair["interval"] == [expected.interval.low, expected.interval.high]
    assert pair["p_value"] == expected.p_value
    assert (pair["better"], pair["worse"], pair["same"], pair["same_grader"]) == (2, 0, 0, True)


def test_of_losses_less_is_better_and_the_validation_serves_where_there_is_no_pass_of_its_own(ship, compare) -> None:
    made = [
        ship([loss_row("a", 0, first), loss_row("b", 1, 1.0)], "valid", method=supervised()) for first in (2.0, 0.5)
    ]
    [pair] = compare(*made)["pairs"]
    assert (pair["metric"], pair["difference"]) == ("loss", -0.75)
    assert (pair["better"], pair["worse"], pair["same"]) == (1, 0, 1)


def test_another_grader_is_told_and_a_row_without_a_grade_counts_nowhere(ship, compare) -> None:
    grader = {**GRADER, "operation": "ilike"}
    rows = [score_row("a", 0, 1.0), score_row("b", 1, 1.0), score_row("c", 2, None)]
    one = ship(rows)
    other = ship(rows, method={"type": "reinforcement", "reinforcement": {"grader": grader}})
    [pair] = compare(one, other)["pairs"]
    assert (pair["same_grader"], pair["rows"]["paired"], pair["same"]) == (False, 3, 2)


def test_where_nothing_can_be_compared_the_pair_says_why(client, ship, compare) -> None:
    scores = ship([score_row("a", 0, 1.0), score_row("b", 1, 1.0)])
    elsewhere = ship([score_row("y", 0, 1.0), score_row("z", 1, 1.0)])
    losses = ship([loss_row("a", 0, 1.0)], method=supervised())
    young = client.fine_tuning.jobs.create(**body(client)).id
    problems = [pair["problem"] for pair in compare(scores, elsewhere, losses, young)["pairs"]]
    assert problems == [
        "their reports share fewer than two held-out rows with a grade in both",
        "one is measured by graded answers and the other by loss",
        f"{young} has no report with held-out rows yet",
    ]


def test_one_job_twice_the_same_and_foreign_ones_are_refused(
    client, ship, compare, anonymous, other_key: str, project: Project
) -> None:
    made = ship([score_row("a", 0, 1.0)])
    for jobs in ([made], [made, made], [made] * 9):
        assert compare(*jobs, status=400)["error"]["param"] == "jobs"
    assert compare(made, "ftjob-none", status=404)["error"]["message"]
    answer = anonymous.get(
        f"/v1/fine_tuning/comparisons?jobs={made},ftjob-b", headers={"Authorization": f"Bearer {other_key}"}
    )
    assert answer.status_code == 404
