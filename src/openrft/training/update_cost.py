"""What an update costs, measured: forward, backward, optimizer step and a checkpoint, of which nothing is kept."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from openrft.models.checkpoint import save_checkpoint
from openrft.models.load import Policy
from openrft.models.memory import release_memory
from openrft.training.batch import Microbatch, Minibatch
from openrft.training.choices import Hyperparameters
from openrft.training.optimizer import build_optimizer
from openrft.training.threads import updating
from openrft.training.update import Loss, add_gradients

_LARGEST_CHECKPOINT = 1_000_000_000  # bytes; larger ones are not written to be measured


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateCost:
    """Seconds, None where they were not measured, and the bytes of a checkpoint."""

    seconds_per_token: float | None  # forward and backward, by token that trains
    optimizer_seconds: float | None  # a step of the optimizer
    checkpoint_seconds: float | None
    checkpoint_bytes: int


def measure_update(
    policy: Policy,
    settings: Hyperparameters,
    microbatches: Callable[[], Iterable[Microbatch]],
    loss: Loss,
    *,
    until: float,
) -> UpdateCost:
    """Compute a batch's gradients until the moment ``until``, at least those of one microbatch.

    ``microbatches`` gives the batch anew at each call. The first microbatch is computed once before, which does not
    count. Gradients and the optimizer's state are thrown away, the weights stay as they are.
    """
    optimizer = build_optimizer(policy, settings)
    try:
        with updating():
            add_gradients(policy, Minibatch(_first(microbatches())), loss)
            optimizer.zero_grad(set_to_none=True)
            counted, began = _Counted(microbatches(), until=until), now()
            add_gradients(policy, Minibatch(counted), loss)
            seconds = now() - began
            step_seconds = _throwaway_steps(optimizer) if counted.num_tokens else None
        checkpoint_seconds, checkpoint_bytes = _checkpoint(policy, optimizer)
        return UpdateCost(
            seconds_per_token=seconds / counted.num_tokens if counted.num_tokens else None,
            optimizer_seconds=step_seconds,
            checkpoint_seconds=checkpoint_seconds,
            checkpoint_bytes=checkpoint_bytes,
        )
    finally:
        optimizer.zero_grad(set_to_none=True)
        release_memory()


def now() -> float:
    """Seconds, after all that was handed to an accelerator is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _first(microbatches: Iterable[Microbatch]) -> Iterator[Microbatch]:
    for microbatch in microbatches:
        yield microbatch
        return


class _Counted:
    """Microbatches until a moment has come, at least one of them; and how many of their tokens train."""

    def __init__(self, microbatches: Iterable[Microbatch], *, until: float) -> None:
        self._microbatches, self._until = microbatches, until
        self.num_tokens = 0

    def __iter__(self) -> Iterator[Microbatch]:
        for microbatch in self._microbatches:
            if self.num_tokens and now() > self._until:
                return
            self.num_tokens += int(microbatch.trained_mask.sum())
            yield microbatch


def _throwaway_steps(optimizer: torch.optim.Optimizer) -> float | None:
    """Seconds of an optimizer step. At a learning rate of 0 it computes all that it does otherwise and moves nothing.

    The first, which makes room for the moments, does not count. None where a gradient is not finite: it would move
    weights even so.
    """
    gradients = [tensor.grad for group in optimizer.param_groups for tensor in group["params"]]
    if not all(gradient is None or bool(torch.isfinite(gradient).all()) for gradient in gradients):
        return None
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    began = now()
    optimizer.step()
    return now() - began


def _checkpoint(policy: Policy, optimizer: torch.optim.Optimizer) -> tuple[float | None, int]:
    """Seconds and bytes of a checkpoint; a large one's bytes are counted, weights and two moments, not written."""
    size = sum(3 * tensor.numel() * tensor.element_size() for _, tensor in policy.trained_parameters())
    if size > _LARGEST_CHECKPOINT:
        return None, size
    with tempfile.TemporaryDirectory(prefix="openrft-probe-") as folder:
        began = now()
        path = save_checkpoint(Path(folder), step=0, policy=policy, optimizer=optimizer, state={})
        return now() - began, sum(file.stat().st_size for file in path.iterdir())
