"""What a run may spend: by hand on literal records, then whole runs on the bundled tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openrft.errors import BudgetSpent, InvalidRequest
from openrft.evaluation.evaluation import Evaluation
from openrft.training.budget import GRANT_FILE, Budget, Grant, Spent, grant_of
from openrft.training.progress import Silence
from openrft.training.run import resume_run, start_run
from openrft.training.run_folder import RunFolder
from rollouts import make_group
from run_settings import settings
from small_job import read_metrics, small_job


def step_row(budget: Budget, step: int, *, tokens: int, seconds: float = 6.0, minutes: float = 0.0) -> dict[str, Any]:
    """The record of a step that sampled two answers of ``tokens / 2`` each."""
    metrics = {
        "rollout/count": 2.0,
        "rollout/completion_tokens_mean": tokens / 2,
        "time/step_seconds": seconds,
        "time/grader_outage_seconds": 0.0,
    }
    row = {"step": step, **metrics, **budget.account(metrics, minutes=minutes)}
    budget.see(step, row)
    return row


def base_evaluation(*lengths: int) -> Evaluation:
    return Evaluation.from_groups("base", 0, "sampled", [make_group([1.0] * len(lengths), lengths=lengths)])


def test_a_step_is_refused_when_the_mean_of_the_last_five_no_longer_fits() -> None:
    budget = Budget(settings(budget_tokens=1000))
    for step, tokens in enumerate([500, 50, 60, 70, 80, 90], start=1):
        budget.stop_before_step(step, 20, is_validated=False)
        step_row(budget, step, tokens=tokens)
    # 850 are spent and the last five took 70 on average.
    budget.stop_before_step(7, 20, is_validated=False)
    step_row(budget, 7, tokens=100)  # 950, and 80 on average
    with pytest.raises(BudgetSpent, match=r"paused before step 8 of 20: 950 of 1,000 tokens .* about 80") as caught:
        budget.stop_before_step(8, 20, is_validated=False)
    assert caught.value.step == 7
    assert caught.value.spent == {"minutes": 0.0, "tokens": 950, "grader_cost": 0.0}


def test_a_step_that_is_validated_takes_what_the_last_validation_took_on_top() -> None:
    budget = Budget(settings(budget_tokens=100), num_validated=4)
    budget.add_evaluation(base_evaluation(5, 5, 5, 5))
    row = {"time/evaluation_seconds": 1.0, "valid/completion_tokens_mean": 5.0}
    budget.see(0, {**row, **budget.account(row, minutes=0.1)})
    step_row(budget, 1, tokens=62)  # 82 with the base's 20
    step_row(budget, 2, tokens=2)  # 84, and 32 on average: too many
    with pytest.raises(BudgetSpent):
        budget.stop_before_step(3, 20, is_validated=False)
    for step in range(3, 7):
        step_row(budget, step, tokens=1)  # 88, and the last five 1.2 on average
    budget.stop_before_step(7, 20, is_validated=False)
    with pytest.raises(BudgetSpent, match="88 of 100 tokens"):
        budget.stop_before_step(7, 20, is_validated=True)


def test_minutes_in_which_a_grader_was_away_are_not_a_steps() -> None:
    budget = Budget(settings(budget_minutes=1.0))
    row = {"time/step_seconds": 3600.0, "time/grader_outage_seconds": 3590.0}
    budget.see(1, {**row, **budget.account(row, minutes=0.5)})
    budget.stop_before_step(2, 20, is_validated=False)


def test_the_cost_of_graders_is_summed_and_limited() -> None:
    budget = Budget(settings(budget_grader_cost=1.0))
    for step in (1, 2):
        row = {"grade/cost": 0.4, "time/step_seconds": 1.0}
        budget.see(step, {**row, **budget.account(row, minutes=0.0)})
    with pytest.raises(BudgetSpent, match=r"0\.8 of 1 of grading cost are spent"):
        budget.stop_before_step(3, 20, is_validated=False)


def test_a_resumed_run_finds_in_its_records_what_it_has_spent() -> None:
    first = Budget(settings(budget_tokens=1000))
    rows = [step_row(first, step, tokens=300) for step in (1, 2, 3)]
    again = Budget(settings(budget_tokens=1000))
    for row in rows:
        again.see(row["step"], row)
    for budget in (first, again):
        with pytest.raises(BudgetSpent, match="900 of 1,000"):
            budget.stop_before_step(4, 20, is_validated=False)


def test_a_grant_is_as_much_again_and_at_least_one_step() -> None:
    budget = Budget(settings(budget_tokens=100), grant=Grant(step=1, spent=Spent(tokens=90)))
    step_row(budget, 1, tokens=90)
    budget.stop_before_step(2, 20, is_validated=False)
    step_row(budget, 2, tokens=500)  # far beyond, but what people had asked for
    with pytest.raises(BudgetSpent, match="590 of 190"):
        budget.stop_before_step(3, 20, is_validated=False)


def test_fewer_tokens_than_answers_of_the_base_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="budget_tokens is 10, but the base is evaluated on 11 answers"):
        Budget(settings(budget_tokens=10)).stop_before_base(11, minutes=0.0)


def test_the_base_is_not_evaluated_further_than_the_budget_reaches() -> None:
    budget = Budget(settings(budget_tokens=100))
    budget.stop_before_base(4, minutes=0.0)
    budget.add_evaluation(base_evaluation(10, 10, 10, 10))
    budget.stop_before_base(6, minutes=0.0)
    with pytest.raises(BudgetSpent, match=r"before the base is evaluated.*40 of 100 tokens.*about 70"):
        budget.stop_before_base(7, minutes=0.0)


def test_only_a_run_that_its_budget_has_paused_is_granted_more(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", fresh=True)
    folder.write("status.json", {"status": "interrupted", "message": "stopped"})
    assert grant_of(folder) is None
    spent = {"minutes": 1.5, "tokens": 7, "grader_cost": 0.0}
    folder.write("status.json", {"status": "interrupted", "code": "budget_spent", "step": 3, "spent": spent})
    granted = Grant(step=3, spent=Spent(minutes=1.5, tokens=7))
    assert grant_of(folder) == granted
    folder.write("status.json", {"status": "running"})  # killed later on: the same grant, no further one
    assert grant_of(folder) == granted
    folder.close()


def weights_of(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_stops_where_its_tokens_end_and_goes_on_to_the_same_weights(repository: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    start_run(small_job(repository, num_steps=4), whole, Silence())
    spent = [row["spent/tokens"] for row in read_metrics(whole)]
    assert spent == sorted(spent) and len(spent) == 5
    limit = int(2 * spent[1] - spent[0])  # enough for a second step like the first, and for no third
    run = tmp_path / "run"
    with pytest.raises(BudgetSpent, match="paused before step 3 of 4"):
        start_run(small_job(repository, num_steps=4, budget_tokens=limit), run, Silence())
    status = json.loads((run / "status.json").read_text())
    assert (status["status"], status["code"], status["step"]) == ("interrupted", "budget_spent", 2)
    assert status["spent"]["tokens"] == spent[2] <= limit
    assert [row["spent/tokens"] for row in read_metrics(run)] == spent[:3]
    # What a kill leaves behind that came before the status was written: nobody has resumed it, so it pauses again.
    (run / "status.json").write_text('{"status": "running"}')
    with pytest.raises(BudgetSpent, match="paused before step 3 of 4"):
        resume_run(run, Silence())
    resume_run(run, Silence())
    assert weights_of(run) == weights_of(whole)
    assert read_metrics(run)[-1]["budget/tokens"] == spent[2] + limit
    assert json.loads((run / GRANT_FILE).read_text())["step"] == 2


def test_a_budget_can_be_raised_where_a_run_is_resumed(repository: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(BudgetSpent, match="paused before the base is evaluated, which comes before the first step"):
        start_run(small_job(repository, num_steps=1, budget_minutes=1e-6), run, Silence())
    assert not (run / "metrics.jsonl").exists()
    resume_run(run, Silence(), budget={"budget_minutes": 60.0})
    assert read_metrics(run)[-1]["budget/minutes"] > 60.0
    job = json.loads((run / "job.json").read_text())
    assert job["method"]["reinforcement"]["hyperparameters"]["budget_minutes"] == 60
