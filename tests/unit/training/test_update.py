"""One optimizer step: what it does, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from openrft.errors import TrainingDiverged
from openrft.models.load import Policy, load_policy
from openrft.training.batch import Minibatch
from openrft.training.optimizer import build_optimizer, learning_rate_at
from openrft.training.update import update
from openrft.types import Metrics
from random_models import write_random_model
from run_settings import settings


@dataclass(frozen=True)
class Sums:
    value: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.value + other.value)

    def as_metrics(self) -> Metrics:
        return {"policy/loss": self.value}

    def mismatch_metrics(self) -> Metrics:
        return {}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load_policy(str(write_random_model(tmp_path_factory.mktemp("model"), "llama")))


def snapshot(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in policy.trained_parameters()}


def sgd(policy: Policy) -> torch.optim.Optimizer:
    return torch.optim.SGD([tensor for _, tensor in policy.trained_parameters()], lr=0.0)


def first(policy: Policy) -> torch.Tensor:
    return next(policy.trained_parameters())[1]


def run(policy: Policy, factors: list[float], *, max_grad_norm: float = 1e9, rate: float = 0.1) -> Metrics:
    def loss(policy: Policy, factor: float) -> tuple[torch.Tensor, Sums]:
        value = factor * first(policy).sum()
        return value, Sums(factor)

    return update(policy, sgd(policy), [Minibatch(factors)], loss, learning_rate=rate, max_grad_norm=max_grad_norm)  # type: ignore[arg-type]


def test_microbatches_add_up_and_the_learning_rate_is_the_one_given(policy: Policy) -> None:
    before = snapshot(policy)
    metrics = run(policy, [1.0, 2.0], rate=0.5)
    name, tensor = next(policy.trained_parameters())
    torch.testing.assert_close(tensor, before[name] - 0.5 * 3.0)  # gradient 1 + 2 everywhere
    assert metrics["policy/loss"] == 3.0
    assert metrics["optimizer/updates"] == 1.0


def test_each_minibatch_is_a_step_of_its_own_with_a_gradient_as_large_as_that_of_the_whole(policy: Policy) -> None:
    before, seen = snapshot(policy), []

    def loss(policy: Policy, factor: float) -> tuple[torch.Tensor, Sums]:
        seen.append(first(policy).flatten()[0].item())
        return factor * first(policy).sum(), Sums(factor)

    minibatches = [Minibatch([1.0, 2.0], scale=2.0), Minibatch([3.0], scale=2.0), Minibatch([])]  # type: ignore[list-item]
    metrics = update(policy, sgd(policy), minibatches, loss, learning_rate=0.5, max_grad_norm=1e9)  # type: ignore[arg-type]
    name, tensor = next(policy.trained_parameters())
    torch.testing.assert_close(tensor, before[name] - 0.5 * 2.0 * 3.0 - 0.5 * 2.0 * 3.0)
    assert seen[0] == seen[1]
    assert seen[2] == pytest.approx(seen[0] - 0.5 * 2.0 * 3.0, abs=1e-5)  # computed after the first step
    assert metrics["policy/loss"] == 6.0  # that of the whole batch
    assert metrics["optimizer/updates"] == 2.0
    assert metrics["optimizer/gradient_norm"] == pytest.approx(6.0 * tensor.numel() ** 0.5, rel=1e-4)


def test_a_long_gradient_is_scaled_down_and_its_true_length_reported(policy: Policy) -> None:
    before = snapshot(policy)
    metrics = run(policy, [1.0], max_grad_norm=0.5, rate=1.0)
    name, tensor = next(policy.trained_parameters())
    length = tensor.numel() ** 0.5
    assert metrics["optimizer/gradient_norm"] == pytest.approx(length, rel=1e-4)
    assert (before[name] - tensor).norm().item() == pytest.approx(0.5, rel=1e-3)


def test_a_batch_without_microbatches_leaves_the_weights_untouched(policy: Policy) -> None:
    before = snapshot(policy)
    metrics = run(policy, [])
    assert metrics["optimizer/updates"] == 0.0
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.trained_parameters())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_fails_the_job_and_leaves_the_weights_untouched(policy: Policy, bad: float) -> None:
    before = snapshot(policy)
    with pytest.raises(TrainingDiverged, match="loss is"):
        run(policy, [1.0, bad])
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.trained_parameters())


def test_a_gradient_that_is_not_finite_is_named_by_its_tensor(policy: Policy) -> None:
    def loss(policy: Policy, _: float) -> tuple[torch.Tensor, Sums]:
        # sqrt at 0 has value 0 and gradient infinity
        return (first(policy).sum() * 0.0).clamp(min=0.0).sqrt(), Sums(0.0)

    before = snapshot(policy)
    name = next(policy.trained_parameters())[0]
    with pytest.raises(TrainingDiverged, match=f"gradient is not finite, first in {name}"):
        update(policy, sgd(policy), [Minibatch([1.0])], loss, learning_rate=0.1, max_grad_norm=1.0)  # type: ignore[list-item,arg-type]
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.trained_parameters())


def test_the_learning_rate_rises_over_the_warm_up_and_falls_to_a_tenth() -> None:
    rates = [learning_rate_at(step, settings()) for step in range(11)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == pytest.approx([0.85, 0.7, 0.55, 0.4, 0.25, 0.1])  # 1 - 0.9 * k / 6


def test_a_constant_schedule_stays_at_the_peak_after_the_warm_up() -> None:
    rates = [learning_rate_at(step, settings(learning_rate_schedule="constant", warmup_steps=1)) for step in range(4)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 1.0])


def way(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """How far the weights went, by their length now."""
    moved = sum(float((after[name] - before[name]).square().sum()) for name in before)
    return float(moved / sum(float(tensor.square().sum()) for tensor in after.values())) ** 0.5


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_relative_update_is_the_way_that_the_weights_went(policy: Policy, decay: float) -> None:
    optimizer = build_optimizer(policy, settings(weight_decay=decay))

    def loss(policy: Policy, factor: float) -> tuple[torch.Tensor, Sums]:
        value = factor * sum(tensor.square().sum() for _, tensor in policy.trained_parameters())
        return value, Sums(factor)

    for factor in (1.0, -3.0):  # the moments of a second step are not those of the first
        before = snapshot(policy)
        metrics = update(policy, optimizer, [Minibatch([factor])], loss, learning_rate=0.01, max_grad_norm=1e9)  # type: ignore[arg-type]
        assert metrics["optimizer/relative_update"] == pytest.approx(way(before, snapshot(policy)), rel=1e-4)


def test_weights_without_a_gradient_have_not_moved(policy: Policy) -> None:
    optimizer = build_optimizer(policy, settings())

    def loss(policy: Policy, factor: float) -> tuple[torch.Tensor, Sums]:
        return factor * first(policy).sum(), Sums(factor)

    before = snapshot(policy)
    metrics = update(policy, optimizer, [Minibatch([1.0])], loss, learning_rate=0.01, max_grad_norm=1e9)  # type: ignore[arg-type]
    assert metrics["optimizer/relative_update"] == pytest.approx(way(before, snapshot(policy)), rel=1e-4)
