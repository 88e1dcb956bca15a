"""One optimizer step that cannot fail in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, Self

import torch

from openrft.errors import TrainingDiverged
from openrft.models.load import Policy
from openrft.training.batch import Microbatch
from openrft.types import Metrics


class LossSums(Protocol):
    """What a loss says about a microbatch: sums that add up over microbatches, then become metrics."""

    def __add__(self, other: Self, /) -> Self: ...

    def as_metrics(self) -> Metrics:
        """The whole batch as named metrics."""
        ...


Loss = Callable[[Policy, Microbatch], tuple[torch.Tensor, LossSums]]
"""A microbatch's share of the whole loss, with gradient, and what there is to say about it."""


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    microbatches: Iterable[Microbatch],
    loss: Loss,
    *,
    learning_rate: float,
    max_grad_norm: float,
) -> Metrics:
    """One optimizer step over the sum of the microbatches' losses.

    No microbatch means that nothing in the batch has a gradient: the weights stay as they are and
    ``optimizer/updated`` is 0. Raises :class:`TrainingDiverged` before any weight is touched when the loss or the
    gradient is not finite.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    sums: LossSums | None = None
    for microbatch in microbatches:
        try:
            value, part = loss(policy, microbatch)
        except FloatingPointError as error:
            raise TrainingDiverged(str(error)) from error
        if not torch.isfinite(value):
            raise TrainingDiverged(f"the loss is {value.item()}")
        value.backward()
        sums = part if sums is None else sums + part
    if sums is None:
        return {"optimizer/learning_rate": learning_rate, "optimizer/updated": 0.0}
    norm = _clip(policy, max_grad_norm)
    optimizer.step()
    return {
        "optimizer/learning_rate": learning_rate,
        "optimizer/updated": 1.0,
        "optimizer/gradient_norm": norm,
        **sums.as_metrics(),
    }


def _clip(policy: Policy, max_grad_norm: float) -> float:
    """Scale the gradient down to ``max_grad_norm`` and return the length it had."""
    norm = torch.nn.utils.clip_grad_norm_([tensor for _, tensor in policy.trained_parameters()], max_grad_norm)
    if not torch.isfinite(norm):
        broken = [
            name
            for name, tensor in policy.trained_parameters()
            if tensor.grad is not None and not tensor.grad.isfinite().all()
        ]
        raise TrainingDiverged(f"the gradient is not finite{', first in ' + broken[0] if broken else ''}")
    return float(norm)
