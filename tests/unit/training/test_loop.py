"""What the loop records of a step's seconds, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from openrft.errors import TrainingDiverged
from openrft.rollout.clock import PhaseClock
from openrft.training.batch import Minibatch
from openrft.training.loop import Batch, train
from openrft.types import Metrics, RolloutGroup
from rollouts import make_group
from run_settings import settings


class Job:
    """A run and its method at once: everything takes the seconds that are written beside it."""

    def __init__(self, **changes: object) -> None:
        self.settings = settings(num_steps=2, eval_interval=2, checkpoint_interval=1, **changes)
        self.next_step, self.stop_asked, self.now = 0, False, 0.0
        self.recorded: list[Metrics] = []
        self.turns: Any = SimpleNamespace(
            learning_rate_scale=1.0, go_back_if_collapsed=lambda: False, is_over=lambda: False
        )

    def next_batch(self, step: int, clock: PhaseClock) -> Batch:
        for _ in clock.each("sampling", self._takes(10)):
            with clock.phase("grading"):
                self.now += 2
        with clock.phase("waiting"):
            self.now += 3
        with clock.phase("outage"):
            self.now += 1000
        self.now += 0.5  # credit
        groups = [make_group([1.0, 0.0], lengths=[30, 10]), make_group([1.0, 1.0], index=1, lengths=[50, 10])]
        for rollout in groups[1].rollouts:
            rollout.left_out = "no_signal"
        return Batch(minibatches=(), groups=groups)

    def loss(self, policy: Any, batch: Any) -> Any:
        raise AssertionError("there is no microbatch")

    def after_update(self, version: int) -> None:
        self.now += 4

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...

    def check_budget(self, step: int) -> None:
        pass

    def make_up_validation(self) -> None:
        self.now += 7777

    def evaluate(self, step: int) -> Metrics:
        self.now += 50
        return {"time/evaluation_seconds": 50.0}

    def record(self, step: int, metrics: Metrics, groups: Sequence[RolloutGroup]) -> None:
        self.now += 0.25
        self.recorded.append(metrics)

    def save(self, step: int, method_state: dict[str, Any]) -> None:
        self.now += 6

    def _takes(self, seconds: float) -> Any:
        self.now += seconds
        yield "a completion"


def recorded_by(job: Job) -> list[Metrics]:
    network = torch.nn.Linear(1, 1)
    policy: Any = SimpleNamespace(
        network=SimpleNamespace(device=torch.device("cpu")), trained_parameters=lambda: network.named_parameters()
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    train(job, job, policy, optimizer, PhaseClock(now=lambda: job.now))
    return job.recorded


def test_the_parts_of_a_step_and_an_outage_add_up_to_it() -> None:
    for metrics in recorded_by(Job()):
        parts = {
            "time/sampling_seconds": 10.0,
            "time/grading_seconds": 2.0,
            "time/waiting_seconds": 3.0,
            "time/update_seconds": 4.0,
            "time/other_seconds": 0.5,
        }
        assert {name: metrics[name] for name in parts} == parts
        assert metrics["time/step_seconds"] == sum(parts.values()) + 1000


def test_what_is_known_only_after_a_step_is_in_the_line_of_the_next() -> None:
    first, second = recorded_by(Job())
    assert "time/record_seconds" not in first  # what was before it is no step of this loop
    assert second["time/record_seconds"] == 6.25
    assert second["time/evaluation_seconds"] == 50.0


class Diverging(Job):
    """A job whose second step has a loss that is not a number."""

    def next_batch(self, step: int, clock: PhaseClock) -> Batch:
        return Batch(minibatches=[Minibatch([step])] if step == 1 else [])  # type: ignore[list-item]

    def loss(self, policy: Any, batch: Any) -> Any:
        return torch.tensor(torch.nan), None


def test_a_step_that_diverges_is_recorded_where_the_run_can_bear_it() -> None:
    job = Diverging()
    borne: list[str] = []
    job.turns.bear = lambda error: borne.append(error.message)
    recorded = recorded_by(job)
    assert borne == ["the loss is nan"]
    assert [metrics.get("optimizer/diverged") for metrics in recorded] == [None, 1.0]
    assert recorded[1]["optimizer/updates"] == 0.0


def test_a_step_that_diverges_fails_the_job_where_it_cannot() -> None:
    def refuse(error: TrainingDiverged) -> None:
        raise error

    job = Diverging()
    job.turns.bear = refuse
    with pytest.raises(TrainingDiverged, match="the loss is nan"):
        recorded_by(job)
    assert len(job.recorded) == 1


def test_a_policy_that_went_back_is_saved_at_once_and_goes_on_with_the_scaled_rate() -> None:
    job = Job()
    job.settings = settings(num_steps=3, eval_interval=3, checkpoint_interval=3, warmup_steps=0)
    job.settings = job.settings.model_copy(update={"learning_rate_schedule": "constant"})
    saved: list[int] = []

    def go_back() -> bool:
        if len(job.recorded) != 1:
            return False
        job.turns.learning_rate_scale = 0.5
        return True

    job.turns.go_back_if_collapsed = go_back
    job.save = lambda step, _state: saved.append(step)  # type: ignore[method-assign]
    rates = [metrics["optimizer/learning_rate"] for metrics in recorded_by(job)]
    assert rates == [1.0, 0.5, 0.5]
    assert saved == [1, 3]


def test_a_run_that_is_over_ends_after_its_checkpoint_and_a_resumed_one_at_once() -> None:
    job = Job()
    job.settings = settings(num_steps=9, eval_interval=2, checkpoint_interval=9)
    saved: list[int] = []
    job.save = lambda step, _state: saved.append(step)  # type: ignore[method-assign]
    job.turns.is_over = lambda: len(job.recorded) == 4
    assert len(recorded_by(job)) == 4
    assert saved == [2, 4]
    job.next_step = 4
    assert len(recorded_by(job)) == 4


def test_speeds_are_tokens_by_the_seconds_of_their_phase() -> None:
    metrics = recorded_by(Job())[0]
    assert metrics["throughput/sampled_tokens_per_second"] == 100 / 10
    assert metrics["throughput/trained_tokens_per_second"] == 40 / 4  # the other group has no gradient
    assert metrics["throughput/tokens_per_second"] == pytest.approx(100 / 1019.5)
    assert metrics["memory/peak_bytes"] > 10_000_000
