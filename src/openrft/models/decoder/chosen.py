"""Log-probabilities of chosen tokens from hidden states, without a graph over the logits.

Logits are the largest thing in a step (tokens x vocabulary). Here they exist for some rows at a time. Their softmax is
kept for the backward pass, in the compute type, where it is small enough, and computed once more where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from openrft.models.decoder.projection import Gradients, Projection

CHUNK_NUMBERS = 4 << 20
"""Logits computed at once: a few megabytes, which stay in the processor's cache."""

GPU_CHUNK_NUMBERS = 64 << 20
"""The same on a GPU, where a product needs some hundred rows: 441 of them at 152 thousand tokens."""

KEPT_NUMBERS = 256 << 20
"""Probabilities kept for the backward pass. 256 Mi are half a gigabyte in bfloat16."""

_SMALL = 1e-30
"""Below this a probability's own logarithm is not exact any more, and is taken from the logits instead."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which token was chosen in each row, and from what."""

    targets_N: Tensor
    temperature: float
    allowed_MV: Tensor | None = None  # bool masks of allowed tokens
    pattern_N: Tensor | None = None  # which of them holds in a row


def chosen_logprobs(hidden_N: Tensor, head: Projection, choice: Choice) -> Tensor:
    """Log-probability ``[N]``, float32, of each target after temperature and mask, from ``[N, H]``, with gradient."""
    return _chosen(hidden_N, head, choice, wants_likeliest=False)[0]


def chosen_and_likeliest(hidden_N: Tensor, head: Projection, choice: Choice) -> tuple[Tensor, Tensor]:
    """:func:`chosen_logprobs`, and ``[N]`` bool: whether no other token was likelier. One more look at the softmax."""
    return _chosen(hidden_N, head, choice, wants_likeliest=True)


def _chosen(hidden_N: Tensor, head: Projection, choice: Choice, *, wants_likeliest: bool) -> tuple[Tensor, Tensor]:
    trained = [parameter for parameter in head.parameters if parameter.requires_grad]
    if torch.is_grad_enabled() and (trained or hidden_N.requires_grad):
        both: tuple[Tensor, Tensor] = _Chosen.apply(hidden_N, head, choice, wants_likeliest, *trained)  # type: ignore[no-untyped-call]
        return both
    logprobs, likeliest = [], []
    for rows in _chunks(hidden_N, head):
        found, probabilities = _forward(hidden_N, head, choice, rows)
        logprobs.append(found)
        if wants_likeliest:
            likeliest.append(_is_likeliest(probabilities, choice, rows))
    return torch.cat(logprobs), _joined(likeliest, hidden_N)


class _Chosen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_N: Tensor,
        head: Projection,
        choice: Choice,
        wants_likeliest: bool,
        *trained: torch.nn.Parameter,
    ) -> tuple[Tensor, Tensor]:
        keeps = len(hidden_N) * head.num_outputs <= KEPT_NUMBERS
        logprobs, likeliest, ctx.kept = [], [], []
        for rows in _chunks(hidden_N, head):
            found, probabilities = _forward(hidden_N, head, choice, rows)
            logprobs.append(found)
            if wants_likeliest:
                likeliest.append(_is_likeliest(probabilities, choice, rows))
            ctx.kept.append(probabilities.to(hidden_N.dtype) if keeps else None)
        ctx.hidden_N, ctx.head, ctx.choice, ctx.trained = hidden_N.detach(), head, choice, trained
        is_likeliest = _joined(likeliest, hidden_N)
        ctx.mark_non_differentiable(is_likeliest)
        return torch.cat(logprobs), is_likeliest

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Any, ...]:
        hidden_N, head, choice = ctx.hidden_N, ctx.head, ctx.choice
        gradients: Gradients = {}
        parts = []
        for rows, kept in zip(_chunks(hidden_N, head), ctx.kept, strict=True):
            # The gradient of log softmax is (one at the target) - softmax, times that of the log-probability.
            scaled = (gradient[0][rows] / choice.temperature).to(hidden_N.dtype)[:, None]
            if kept is None:
                kept = _forward(hidden_N, head, choice, rows)[1].to(hidden_N.dtype)
            of_logits = kept.mul_(-scaled)
            of_logits.scatter_add_(1, choice.targets_N[rows][:, None], scaled)
            parts.append(head.backward(of_logits, hidden_N[rows], gradients))
        ctx.kept = None
        return (torch.cat(parts), None, None, None, *(gradients.get(parameter) for parameter in ctx.trained))


def _is_likeliest(probabilities: Tensor, choice: Choice, rows: slice) -> Tensor:
    chosen = probabilities.gather(1, choice.targets_N[rows][:, None]).squeeze(1)
    return chosen >= probabilities.amax(dim=-1)


def _joined(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.bool, device=like.device)


def chunk_numbers(device_type: str) -> int:
    """Logits computed at once on a device of this type."""
    return CHUNK_NUMBERS if device_type == "cpu" else GPU_CHUNK_NUMBERS


def _forward(hidden_N: Tensor, head: Projection, choice: Choice, rows: slice) -> tuple[Tensor, Tensor]:
    """(log-probabilities of the targets, all probabilities) of some rows, float32."""
    logits = head(hidden_N[rows]).float()
    if choice.temperature != 1:
        logits /= choice.temperature
    if choice.allowed_MV is not None and choice.pattern_N is not None:
        logits.masked_fill_(~choice.allowed_MV[choice.pattern_N[rows]], -torch.inf)
    targets = choice.targets_N[rows][:, None]
    probabilities = torch.softmax(logits, dim=-1)
    found = probabilities.gather(1, targets).squeeze(1)
    logprobs = found.log()
    rare = ~(found > _SMALL)  # NaN is rare, too
    if bool(rare.any()):
        logprobs[rare] = torch.log_softmax(logits[rare], dim=-1).gather(1, targets[rare]).squeeze(1)
    return logprobs, probabilities


def _chunks(hidden_N: Tensor, head: Projection) -> list[slice]:
    size = max(1, chunk_numbers(hidden_N.device.type) // head.num_outputs)
    return [slice(first, first + size) for first in range(0, len(hidden_N), size)]
