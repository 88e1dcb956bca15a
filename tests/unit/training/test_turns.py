"""A policy that goes back: its weights and optimizer are those of the earlier step, or the base's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from openrft.errors import TrainingDiverged
from openrft.models.checkpoint import checkpoint_path, list_checkpoints, save_checkpoint
from openrft.models.load import Policy, load_policy
from openrft.rollout.native import NativeEngine
from openrft.training.optimizer import build_optimizer
from openrft.training.turns import Turns
from random_models import write_random_model
from run_settings import settings


class Collapsing:
    """A policy whose weights are pushed somewhere at each step, with real checkpoints and a real optimizer."""

    def __init__(self, folder: Path, weights: Literal["full", "lora"] = "full", **changes: Any) -> None:
        self.policy: Policy = load_policy(str(write_random_model(folder / "model", "qwen3")), weights=weights)
        self.settings = settings(guard=True, early_stopping=True, num_steps=40, eval_interval=5, **changes)
        self.optimizer = build_optimizer(self.policy, self.settings)
        self.checkpoints = folder / "checkpoints"
        self.told: list[tuple[str, Any]] = []
        self.engine = NativeEngine(self.policy.network, self.policy.tokenizer, decoder=self.policy.decoder)
        self.turns = Turns(
            self.settings,
            policy=self.policy,
            engine=self.engine,
            optimizer=self.optimizer,
            checkpoints=self.checkpoints,
            tell=lambda message, _level, data: self.told.append((message, data)),
        )
        self.states = {0: self.state()}

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and moments."""
        found = {}
        for name, parameter in self.policy.trained_parameters():
            found[name] = parameter.detach().clone()
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{name}/{key}"] = value.clone()
        return found

    def step(self, number: int, **metrics: float) -> None:
        for index, (_, parameter) in enumerate(self.policy.trained_parameters()):
            parameter.grad = torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1000 * number + index)
            )
        self.optimizer.step()
        self.states[number] = self.state()
        if number % 5 == 0:
            self.save(number)
        self.turns.course.see(number, {"reward/mean": 0.5, "policy/entropy": 0.4, **metrics})

    def save(self, number: int) -> None:
        save_checkpoint(self.checkpoints, step=number, policy=self.policy, optimizer=self.optimizer, state={})

    def train(self, means: dict[int, float]) -> None:
        """Steps up to the last validation; the last two are far below the best."""
        best = 0.0
        for number in range(max(means) + 1):
            mean = means.get(number)
            facts = {} if mean is None else {"valid/reward_mean": mean, "valid/worse_than_best": best - mean}
            best = max(best, mean or 0.0)
            if number:
                self.step(number, **facts)
            else:
                self.turns.course.see(0, {"valid/reward_mean": mean})


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


RISEN_AND_FALLEN = {0: 0.3, 5: 0.5, 10: 0.6, 15: 0.7, 20: 0.1, 25: 0.1}


@pytest.mark.parametrize("weights", ["full", "lora"])
@pytest.mark.parametrize(("means", "to"), [(RISEN_AND_FALLEN, 15), ({0: 0.3, 5: 0, 10: 0}, 0)])
def test_weights_and_moments_are_those_of_the_step_it_goes_back_to(
    tmp_path: Path, weights: Literal["full", "lora"], means: dict[int, float], to: int
) -> None:
    run = Collapsing(tmp_path, weights)
    run.train(means)
    at = max(means)
    assert not same(run.state(), run.states[to])
    assert run.turns.go_back_if_collapsed()
    assert same(run.state(), run.states[to])
    assert run.turns.learning_rate_scale == 0.5
    message, data = run.told[-1]
    assert message.startswith(
        f"the policy has collapsed at step {at}; going back to {'the base' if to == 0 else 'step 15'}, now with 0.5 of"
    )
    assert (data["return"]["at"], data["return"]["to"]) == (at, to)
    assert not run.turns.go_back_if_collapsed()  # once


def test_a_checkpoint_of_the_collapsed_policy_makes_room_for_that_of_the_one_put_back(tmp_path: Path) -> None:
    run = Collapsing(tmp_path)
    run.train({0: 0.3, 5: 0.6, 10: 0.1, 15: 0.1})  # step 15 was saved before its validation could be made up
    assert run.turns.go_back_if_collapsed()
    assert [step for step, _ in list_checkpoints(run.checkpoints)] == [5, 10]
    run.save(15)
    run.turns.put_in_place(10)
    run.turns.put_in_place(15, run.optimizer)
    assert same(run.state(), run.states[5])


def test_a_damaged_checkpoint_is_passed_over_for_the_next_best(tmp_path: Path) -> None:
    run = Collapsing(tmp_path)
    run.train(RISEN_AND_FALLEN)
    (checkpoint_path(run.checkpoints, 15) / "weights.safetensors").write_bytes(b"nothing")
    assert run.turns.go_back_if_collapsed()
    assert same(run.state(), run.states[10])
    assert "set aside as damaged-step-000015, going back further" in run.told[0][0]


def test_divergence_is_borne_only_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    run = Collapsing(tmp_path)
    with pytest.raises(TrainingDiverged, match="the loss is nan"):
        run.turns.bear(TrainingDiverged("the loss is nan"))
    run.train({0: 0.3, 5: 0.5})
    run.turns.bear(TrainingDiverged("the loss is nan"))
    assert run.told[-1][0] == "the loss is nan"
    run.step(6, **{"optimizer/diverged": 1.0})
    assert run.turns.go_back_if_collapsed()
    assert same(run.state(), run.states[5])


def test_a_run_that_is_over_says_where_and_why(tmp_path: Path) -> None:
    run = Collapsing(tmp_path)
    for number in range(5):
        run.turns.course.see(5 * number, {"valid/reward_mean": 0.4, "reward/mean": 0.4})
    assert not run.turns.is_over()
    run.turns.course.see(25, {"valid/reward_mean": 0.4, "reward/mean": 0.4})
    assert run.turns.is_over()
    words = "stopped early at step 25 of 40: validation has not risen by 0.01 above 0.400 in 5 validations"
    assert run.told == [(words, None)]
    run.turns.course.see(40, {"valid/reward_mean": 0.4, "reward/mean": 0.4})
    assert not run.turns.is_over()  # it has come to its end
