"""Two evaluations of a job, compared as its report compares base and tuned."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.evaluation.losses import LossEvaluation, LossRow
from openrft.evaluation.report import build_report
from openrft.store import Store
from openrft.store.rows import Lease, Project
from wire_jobs import body, run_by_hand


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A running job."""
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


def row(index: int, *scores: float | None) -> EvaluationRow:
    count = len(scores)
    return EvaluationRow(
        example_id=f"example-{index}", index=index, line=index + 1, prompt_text=f"{index} + 1?", scores=list(scores),
        outputs=["an answer"] * count, errors=["no grade" if score is None else None for score in scores],
        completion_tokens=[3] * count, truncated=[False] * count,
    )  # fmt: skip


def evaluation(step: int, *rows: EvaluationRow, mode: Any = "sampled") -> Evaluation:
    return Evaluation(name=f"step {step}", step=step, mode=mode, num_samples=2, rows=list(rows))


def put(store: Store, lease: Lease, name: str, content: Evaluation | LossEvaluation) -> None:
    store.artifacts.write(f"jobs/{lease.job_id}/evaluations/{name}.json", [json.dumps(content.to_json()).encode()])


def ask(http: httpx2.Client, lease: Lease, evaluations: str, status: int = 200) -> dict[str, Any]:
    path = f"/v1/fine_tuning/jobs/{lease.job_id}/compare"
    answer = http.get(path, params={"evaluations": evaluations})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_two_evaluations_are_compared_as_the_report_does_it(http: httpx2.Client, store: Store, lease: Lease) -> None:
    base = evaluation(0, row(0, 0.0, 1.0), row(1, 1.0, 1.0), row(2, 0.0, None))
    tuned = evaluation(4, row(0, 1.0, 1.0), row(1, 0.0, 1.0), row(2, 1.0, 1.0))
    put(store, lease, "step-000000-valid-sampled", base)
    put(store, lease, "step-000004-valid-sampled", tuned)
    found = ask(http, lease, "step-000000-valid-sampled,step-000004-valid-sampled")
    wanted = build_report(job={}, base_sampled=base, tuned_sampled=tuned, rows_kind="validation").to_json()
    for name in ("sentence", "outcome", "comparisons", "arms", "rows", "tries", "slices", "power"):
        assert found[name] == wanted[name], name
    assert [one["step"] for one in found["evaluations"]] == [0, 4]
    assert [one["index"] for one in found["rows"]] == [1, 0, 2]  # what got worse comes first
    assert "selection" not in found and "curve" not in found  # these are of a whole run


def test_the_jobs_own_threshold_says_what_passes(http: httpx2.Client, store: Store, lease: Lease) -> None:
    store.queue.set_resolved(lease, {"hyperparameters": {"pass_threshold": 0.5}, "reasons": {}})
    put(store, lease, "step-000000-valid-greedy", evaluation(0, row(0, 0.4), row(1, 0.4), mode="greedy"))
    put(store, lease, "step-000004-valid-greedy", evaluation(4, row(0, 0.5), row(1, 0.4), mode="greedy"))
    found = ask(http, lease, "step-000000-valid-greedy,step-000004-valid-greedy")
    passed = found["comparisons"][1]
    assert (passed["metric"], passed["mode"], passed["base_mean"], passed["tuned_mean"]) == (
        "pass rate",
        "greedy",
        0.0,
        0.5,
    )


def test_losses_are_compared_with_the_row_that_fell_as_a_win(http: httpx2.Client, store: Store, lease: Lease) -> None:
    def losses(step: int, *values: float) -> LossEvaluation:
        rows = [
            LossRow(
                example_id=f"example-{n}",
                index=n,
                line=n + 1,
                prompt_text="?",
                answer="!",
                tokens=2,
                loss=value,
                hits=1,
            )
            for n, value in enumerate(values)
        ]
        return LossEvaluation(name=f"step {step}", step=step, rows=rows)

    put(store, lease, "step-000000-valid-loss", losses(0, 2.0, 1.0))
    put(store, lease, "step-000003-valid-loss", losses(3, 1.0, 1.5))
    found = ask(http, lease, "step-000000-valid-loss,step-000003-valid-loss")
    assert found["kind"] == "loss" and (found["paired"]["wins"], found["paired"]["losses"]) == (1, 1)
    assert [one["difference"] for one in found["rows"]] == [0.5, -1.0]


def test_evaluations_that_cannot_be_compared_are_refused_with_the_reason(
    http: httpx2.Client, store: Store, lease: Lease
) -> None:
    put(store, lease, "step-000000-valid-sampled", evaluation(0, row(0, 1.0)))
    put(store, lease, "step-000004-valid-sampled", evaluation(4, row(1, 1.0)))
    put(store, lease, "step-000004-valid-greedy", evaluation(4, row(0, 1.0), mode="greedy"))
    base = "step-000000-valid-sampled"
    for second, status, said in (
        ("step-000004-valid-sampled", 400, "not evaluated on the same rows"),
        ("step-000004-valid-greedy", 400, "sampled and greedy ones cannot be compared"),
        ("step-000009-valid-sampled", 404, "No such evaluation"),
        ("../documents/job", 404, "No such evaluation"),
        (base, 400, "the ids of two evaluations"),
    ):
        error = ask(http, lease, f"{base},{second}", status)["error"]
        assert said in error["message"] and error["param"] == "evaluations"
