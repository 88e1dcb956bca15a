"""A probe of the bundled tiny model: what it measures, and that it leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openrft.diagnosis.projection import GradeSpending
from openrft.training.job_plan import JobPlan, Range
from openrft.training.plan import Work, project
from openrft.training.prepare import PreparedReinforcement, prepare
from openrft.training.probe import Probe, choose_prompts, probe, with_signal
from openrft.training.progress import Silence
from openrft.training.rehearsal_numbers import JobPasses
from openrft.training.update_cost import UpdateCost
from rollouts import make_group
from run_settings import settings
from small_job import small_job


@pytest.fixture(scope="module")
def prepared(repository: Path) -> Iterator[PreparedReinforcement]:
    made = prepare(small_job(repository, budget_tokens=10_000), Silence())
    yield made
    made.close()


@pytest.fixture(scope="module")
def found(prepared: PreparedReinforcement) -> Probe:
    return probe(prepared, Silence(), seconds=1000, num_prompts=6)


def weights_of(prepared: PreparedReinforcement) -> str:
    digest = hashlib.sha256()
    for tensor in prepared.policy.network.parameters():
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def literal_probe(scores: list[list[float | None]], **changes: Any) -> Probe:
    """A probe in which everything takes a second: of a token, an answer, a grade, a checkpoint."""
    values: dict[str, Any] = {
        "lines": list(range(1, len(scores) + 1)), "scores": scores, "num_samples": len(scores[0]),
        "lengths": [10] * (len(scores) * len(scores[0])), "truncated_share": 0.0, "prompt_tokens_mean": 5.0,
        "is_whole_batch": True, "sampling_seconds_per_token": 1.0, "grading_seconds_per_answer": 0.5,
        "waiting_seconds_per_answer": 0.5, "other_seconds_per_answer": 0.0, "record_seconds": 1.0,
        "evaluation_seconds_per_answer": 2.0, "evaluation_tokens_mean": 8.0, "grade_seconds": [1.0],
        "spending": [GradeSpending(model="judge", prompt_tokens=90.0, completion_tokens=10.0, cost=0.5)],
        "update": UpdateCost(
            seconds_per_token=1.0, optimizer_seconds=3.0, checkpoint_seconds=7.0, checkpoint_bytes=1000
        ),
        "loaded_bytes": 5e8, "peak_bytes": 1e9, "seconds": 1.0,
    }  # fmt: skip
    return Probe(**{**values, **changes})


def test_a_probe_changes_no_weight_and_leaves_no_gradient(prepared: PreparedReinforcement) -> None:
    before = weights_of(prepared)
    probe(prepared, Silence(), seconds=1.0, num_prompts=1)
    assert weights_of(prepared) == before
    assert all(tensor.grad is None for tensor in prepared.policy.network.parameters())


def test_a_probe_measures_every_part_of_a_step(prepared: PreparedReinforcement, found: Probe) -> None:
    size = prepared.settings.group_size
    assert [len(scores) for scores in found.scores] == [size] * 6
    assert len(found.lengths) == 6 * size and all(0 < length <= 96 for length in found.lengths)
    assert found.is_whole_batch
    assert found.sampling_seconds_per_token > 0
    assert found.evaluation_seconds_per_answer is not None and found.evaluation_seconds_per_answer > 0
    assert found.update.seconds_per_token is not None and found.update.seconds_per_token > 0
    assert found.update.optimizer_seconds is not None and found.update.checkpoint_seconds is not None
    trained = sum(tensor.numel() for _, tensor in prepared.policy.trained_parameters())
    assert 12 * trained < found.update.checkpoint_bytes < 13 * trained  # weights and two moments of 4 bytes
    assert found.peak_bytes > 100e6


def test_the_answers_to_a_prompt_do_not_depend_on_how_many_are_probed(
    prepared: PreparedReinforcement, found: Probe
) -> None:
    fewer = probe(prepared, Silence(), seconds=1000, num_prompts=3)
    assert fewer.lines == found.lines[:3]
    assert fewer.scores == found.scores[:3]


def test_a_probe_without_time_answers_one_prompt(prepared: PreparedReinforcement) -> None:
    short = probe(prepared, Silence(), seconds=0.001)
    assert len(short.scores) == 1
    assert not short.is_whole_batch
    assert short.evaluation_seconds_per_answer is None
    assert short.update.seconds_per_token is not None


def test_a_probe_is_the_same_after_json(found: Probe) -> None:
    assert Probe.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_prompts_are_chosen_by_the_seed_alone() -> None:
    prompts: list[Any] = list(range(100))
    assert choose_prompts(prompts, 5, seed=1) == choose_prompts(prompts, 8, seed=1)[:5]
    assert choose_prompts(prompts, 5, seed=1) != choose_prompts(prompts, 5, seed=2)


def test_every_group_of_a_measured_update_has_a_signal() -> None:
    group = make_group([0.0, 0.0, None], lengths=[1, 2, 3])
    assert [rollout.reward for rollout in with_signal(group).rollouts] == [0.0, 1.0, 0.0]
    assert [rollout.reward for rollout in group.rollouts] == [0.0, 0.0, None]


def test_the_work_of_a_job_follows_from_lengths_and_scores() -> None:
    # Two prompts at group size 2: of four answers half right, 1 - (1 + 1) / 6 = 2/3 of the groups have a signal; of
    # four alike none has. In all 1/3, and half of that over the run.
    found = literal_probe([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    passes = JobPasses(validations=2, validated=3, reported=5)
    asked = settings(num_steps=4, batch_size=3, group_size=2, max_completion_tokens=15, eval_interval=2)
    work = Work.of(asked, passes, found)
    assert work.rollouts == 24
    assert work.length == Range(expected=10.0, low=5.0, high=15.0)  # twice as long would be cut off
    assert work.trained.expected == pytest.approx(24 * 10 / 6)
    assert (work.trained.low, work.trained.high) == (pytest.approx(24 * 5 / 12), 24 * 15)
    assert work.updates == 1  # 12 groups, a sixth of them with a signal, 8 to an update
    assert work.base_tokens == (3 + 5) * 8
    assert work.sampled.expected == 240 + 64 + (2 * 3 + 5) * 8


def test_answers_come_to_be_as_long_as_those_that_are_paid() -> None:
    # Scores above the lowest, 0.2: 0.8, 0, 0.4, none. (0.8 * 40 + 0.4 * 10) / 1.2 = 30.
    found = literal_probe([[1.0, 0.2], [0.6, None]], lengths=[40, 12, 10, 18])
    assert found.mean_length == 20.0
    assert found.paid_length == pytest.approx(30.0)
    work = Work.of(settings(max_completion_tokens=100), JobPasses(validations=1, validated=1, reported=1), found)
    assert work.length.expected == pytest.approx(0.25 * 20 + 0.75 * 30)
    assert work.growth.expected == pytest.approx(27.5 / 20)
    assert literal_probe([[1.0, 1.0]], lengths=[10, 20]).paid_length == 15.0


def test_a_plan_adds_up_and_says_where_a_budget_ends(prepared: PreparedReinforcement) -> None:
    scores: list[list[float | None]] = [[1.0, 0.0] * 4] * 4
    plan = project(prepared, literal_probe(scores, lengths=[10] * 32), loading=11.0)
    valid = len(prepared.valid)
    answers = 3 * 4 * 8
    assert plan.rollouts == answers
    assert plan.evaluation_answers == 2 * valid + 2 * 5 * valid  # eval_samples 1; the report's on the same rows
    expected = {name: span.expected for name, span in plan.phases.items()}
    assert expected == {
        "loading": 11.0,
        "base evaluation": 6 * valid * 2.0,
        "sampling": answers * 10.0,
        "grading": answers * 1.0,
        "update": pytest.approx(answers * 10.0 / 2 + 6 * 3.0),  # half of 12 groups, one to an update
        "validation": valid * 2.0,
        "records and checkpoints": 3 * 1.0 + 7.0,
        "report": 5 * valid * 2.0,
    }
    assert plan.seconds.expected == pytest.approx(sum(expected.values()))
    assert plan.grader_calls == plan.rollouts + plan.evaluation_answers
    [judge] = plan.graders
    assert (judge.tokens, judge.cost) == (100.0 * plan.grader_calls, 0.5 * plan.grader_calls)
    [limit] = plan.budget
    assert limit.name == "budget_tokens"
    assert limit.needed.expected == 6 * valid * 8 + answers * 10 + valid * 8
    assert limit.pause_after is None
    assert plan.outcomes == {"mixed": 4}


@pytest.mark.parametrize(("tokens", "pause_after"), [(2304 + 319, 0), (2304 + 320, 1), (2304 + 640, 2), (10_000, None)])
def test_the_last_step_that_fits_is_named(repository: Path, tokens: int, pause_after: int | None) -> None:
    prepared = prepare(small_job(repository, budget_tokens=tokens), Silence())
    assert 6 * len(prepared.valid) * 8 == 2304  # tokens of the base's answers; a step has 4 * 8 * 10
    plan = project(prepared, literal_probe([[1.0, 0.0] * 4] * 4), loading=0.0)
    assert [limit.pause_after for limit in plan.budget] == [pause_after]
    assert any("too small" in warning for warning in plan.warnings) == (pause_after == 0)
    prepared.close()


def test_a_plan_is_plain_json(prepared: PreparedReinforcement, found: Probe) -> None:
    document = json.loads(json.dumps(project(prepared, found, loading=1.0).to_json()))
    assert document["type"] == "plan"
    assert set(document) == {"type", *JobPlan.__dataclass_fields__}
