"""How much memory the work has taken at most, and how large a microbatch may be for what is free."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from openrft.models.decoder import attention
from openrft.models.decoder.footprint import Footprint
from openrft.models.load import Policy
from openrft.models.memory import free_bytes

MOST_TOKENS = {"cpu": 2048, "cuda": 32768}
"""Larger microbatches are no faster. Measured on CPUs, where smaller ones stay in the cache; a guess on GPUs."""

MOST_PADDED_TOKENS = 16384
"""The same where transformers computes: a prompt counts once for every completion there."""

ENOUGH_TOKENS = 2048
"""From here on products are large enough to be fast: rather than smaller ones, layers are computed twice."""

LEAST_TOKENS = 256
"""A microbatch below this is all overhead: one that does not fit even so is halved when it fails."""

SHARE = {"cpu": 0.25, "cuda": 0.4}
"""Of what is free once gradients and the optimizer have theirs. On a CPU graders and other jobs live beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What is free when the model is loaded, and what a pass of it takes."""

    free_bytes: int
    device_type: str  # "cpu" or "cuda"
    num_parameters: int
    footprint: Callable[[torch.dtype], Footprint] | None  # of the decoder; None where transformers computes
    padded_row_bytes: int  # of a position, where transformers computes


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What of a job decides how much memory an update takes."""

    precision: str
    weights: str
    has_reference: bool  # a frozen copy of the base
    prompt: int  # tokens of the longest
    completion: int  # tokens of the longest
    group_size: int


def room_of(policy: Policy) -> Room:
    """Measured now: before there are gradients, an optimizer or a cache of keys and values."""
    device = policy.network.device
    return Room(
        free_bytes=free_bytes(device),
        device_type=device.type,
        num_parameters=policy.num_parameters,
        footprint=None if policy.decoder is None else policy.decoder.footprint,
        padded_row_bytes=_padded_row_bytes(policy.network.config),
    )


def fitting_tokens(room: Room, plan: Plan) -> tuple[int, str]:
    """The largest microbatch that fits, a power of two, and why it is that one."""
    left = room.free_bytes - _fixed_bytes(room, plan)
    budget = SHARE[room.device_type] * max(0, left)
    most = MOST_PADDED_TOKENS if room.footprint is None else MOST_TOKENS[room.device_type]
    sizes = [most >> power for power in range(most.bit_length()) if most >> power >= LEAST_TOKENS]
    choices = [(size, False) for size in sizes if size >= ENOUGH_TOKENS or room.footprint is None]
    if room.footprint is not None:
        choices += [(size, True) for size in sizes if size <= ENOUGH_TOKENS]
    for size, recomputed in choices:
        needed = pass_bytes(room, plan, size, recomputed=recomputed)
        if needed <= budget:
            break
    how = ", layers computed twice" if recomputed else ""
    words = f"about {needed / 1e9:.1f} GB{how}, of {room.free_bytes / 1e9:.1f} GB that were free"
    if size == most:
        words += "; larger ones are no faster"
    return size, f"{words}. The result does not depend on it"


def pass_bytes(room: Room, plan: Plan, num_tokens: int, *, recomputed: bool = False) -> int:
    """Most that forward and backward of ``num_tokens`` take, by formula; see :mod:`openrft.models.decoder.footprint`.

    Prompts and completions are taken to be as long as the longest.
    """
    if room.footprint is None:
        return num_tokens * room.padded_row_bytes
    size = room.footprint(getattr(torch, plan.precision))
    probabilities = 0
    if not size.is_fused:
        rows_of_group = plan.prompt + plan.group_size * plan.completion
        scores = plan.prompt**2 + plan.group_size * plan.completion * (plan.prompt + plan.completion)
        probabilities = min(attention.KEPT_NUMBERS, size.num_heads * scores * num_tokens // rows_of_group)
    return size.layers(num_tokens, probabilities, recomputed=recomputed) + size.head(num_tokens)


def _fixed_bytes(room: Room, plan: Plan) -> int:
    """What training adds to the loaded model: gradients, old and new, AdamW's two moments, copies in a short type.

    An adapter's own are small. On a GPU its frozen base is cast down, which gives memory back.
    """
    short = 2 if plan.precision == "bfloat16" else 0
    if plan.weights == "lora":
        return room.num_parameters * (-short if room.device_type == "cuda" else short)
    return room.num_parameters * (16 + short + (4 + short if plan.has_reference else 0))


def _padded_row_bytes(config: Any) -> int:
    """A position in transformers' own forward pass, counted generously: what autograd keeps of it, and its logits."""
    config = config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return int(4 * (config.num_hidden_layers * (20 * config.hidden_size + 6 * inner) + 4 * config.vocab_size))


def peak_bytes(device: torch.device) -> float:
    """Most bytes at any moment so far: of this process, or on a GPU of torch's tensors there."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    try:
        # What getrusage says begins with the size of the process that started this one; the kernel's own mark does not.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return 1024.0 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)
