"""Optimizer steps that cannot fail in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, Self

import torch

from openrft.errors import OpenRFTError, TrainingDiverged
from openrft.models.load import Policy
from openrft.models.memory import is_out_of_memory, release_memory
from openrft.training.batch import Microbatch, Minibatch
from openrft.training.optimizer import relative_update
from openrft.training.threads import updating
from openrft.types import Metrics


class LossSums(Protocol):
    """What a loss says about a microbatch: sums that add up over microbatches, then become metrics."""

    def __add__(self, other: Self, /) -> Self: ...

    def as_metrics(self) -> Metrics:
        """The whole batch as named metrics."""
        ...

    def mismatch_metrics(self) -> Metrics:
        """How far trainer and sampler are apart, of tokens computed with the very weights that sampled them."""
        ...


Loss = Callable[[Policy, Microbatch], tuple[torch.Tensor, LossSums]]
"""A microbatch's share of the whole loss, with gradient, and what there is to say about it."""


@updating()
def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    minibatches: Iterable[Minibatch],
    loss: Loss,
    *,
    learning_rate: float,
    max_grad_norm: float,
) -> Metrics:
    """An optimizer step for each minibatch, over the sum of its microbatches' losses.

    No microbatch means that nothing in the batch has a gradient: the weights stay as they are and
    ``optimizer/updates`` is 0. A microbatch that does not fit into memory is halved until it does. Raises
    :class:`TrainingDiverged` before that minibatch touches any weight when its loss or gradient is not finite.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    sums: LossSums | None = None
    mismatch: Metrics = {}
    norms: list[float] = []
    for minibatch in minibatches:
        optimizer.zero_grad(set_to_none=True)
        found = add_gradients(policy, minibatch, loss)
        if found is None:
            continue
        if sums is None:  # no update has been made since the batch was sampled
            mismatch = found.mismatch_metrics()
        norms.append(_clip(policy, max_grad_norm))
        optimizer.step()
        sums = found if sums is None else sums + found
    metrics = {"optimizer/learning_rate": learning_rate, "optimizer/updates": float(len(norms))}
    if sums is not None:
        metrics["optimizer/gradient_norm"] = sum(norms) / len(norms)
        metrics |= sums.as_metrics() | mismatch
        if isinstance(optimizer, torch.optim.AdamW):
            metrics["optimizer/relative_update"] = relative_update(optimizer)
    return metrics


def add_gradients(policy: Policy, minibatch: Minibatch, loss: Loss) -> LossSums | None:
    """Add the gradients of all microbatches to what trains; what the loss says of them, None where there are none."""
    sums: LossSums | None = None
    for microbatch in minibatch.microbatches:
        parts = [microbatch]
        while parts:
            found = _add_gradients(policy, parts[0], loss, minibatch.scale)
            if found is None:  # outside of the handler, which would hold on to what is to be given back
                release_memory()
                parts[:1] = _halves(parts[0])
            else:
                sums = found if sums is None else sums + found
                del parts[0]
    return sums


def _add_gradients(policy: Policy, microbatch: Microbatch, loss: Loss, scale: float) -> LossSums | None:
    """Add a microbatch's gradients to what trains, all or none of them: None when it did not fit into memory.

    A backward pass hands its gradients over one by one, so those before it are put aside meanwhile. That takes no more
    memory than adding does, which needs old and new side by side as well.
    """
    trained = [tensor for _, tensor in policy.trained_parameters()]
    before = [parameter.grad for parameter in trained]
    for parameter in trained:
        parameter.grad = None
    try:
        value, sums = loss(policy, microbatch)
        if not torch.isfinite(value):
            raise TrainingDiverged(f"the loss is {value.item()}")
        (value * scale).backward()
    except FloatingPointError as error:
        raise TrainingDiverged(str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        for parameter, known in zip(trained, before, strict=True):
            parameter.grad = known
        return None
    for parameter, known in zip(trained, before, strict=True):
        if known is not None:
            parameter.grad = known if parameter.grad is None else known.add_(parameter.grad)
    return sums


def _halves(microbatch: Microbatch) -> list[Microbatch]:
    if microbatch.halve is None:
        raise OpenRFTError("a microbatch does not fit into memory and cannot be cut", code="out_of_memory")
    return microbatch.halve()


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
