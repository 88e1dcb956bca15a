"""Attention of packed groups by torch's flex_attention: one kernel for all rows, which GPUs compute well.

A row sees its prompt, and its own sequence up to itself: three numbers per row. From these follow which blocks of rows
see which, and of those which see all of it; the kernel leaves out the others. Nothing is padded but the end, to a whole
block. On a CPU, where flex_attention has no backward pass, attention is written out (see attention.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from openrft.models.decoder.attention import Attended, Attention, WrittenOut
from openrft.models.decoder.rows import Rows, pack_rows

BLOCK = 128
"""Rows of a block of the mask."""

_SIZES = frozenset({16, 32, 64, 128, 256})  # numbers per head that the kernel takes
_TOLERANCE = 0.05  # of numbers around 1, in a short type

Kernel = Callable[..., Any]
"""``flex_attention``, or what it was compiled to."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """Per row, padding included: the first row of its own sequence, and its prompt's rows, empty for a prompt."""

    own_first: Tensor  # [M] int32
    prompt_first: Tensor  # [M]
    prompt_end: Tensor  # [M]


class Fused:
    """:class:`~openrft.models.decoder.attention.Attention` by flex_attention; the mask is built once for all layers."""

    def __init__(self, rows: Rows, kernel: Kernel) -> None:
        self._kernel = kernel
        self._mask = block_mask(visibility(rows))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, only_last: bool, keep: Attended | None) -> Tensor:
        """See :class:`~openrft.models.decoder.attention.Attention`; all rows are computed, ``only_last`` or not."""
        num_rows = len(q)
        if keep is None:
            return _rows(self._run(*(self._heads(part) for part in (q, k, v))), num_rows)
        with torch.enable_grad():  # its backward pass is its own
            parts = tuple(self._heads(part.detach()).requires_grad_() for part in (q, k, v))
            out = self._run(*parts)
        keep.graph = (parts, out)
        return _rows(out.detach(), num_rows)

    def backward(
        self,
        g: Tensor,
        out: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gradients: tuple[Tensor, Tensor, Tensor],
        *,
        only_last: bool,
        kept: Attended,
    ) -> None:
        """See :class:`~openrft.models.decoder.attention.Attention`."""
        assert kept.graph is not None
        parts, result = kept.graph
        kept.graph = None
        found = torch.autograd.grad(result, parts, self._heads(g))
        for target, gradient in zip(gradients, found, strict=True):
            target.copy_(_rows(gradient, len(target)))

    def _run(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = self._kernel(q, k, v, block_mask=self._mask, scale=1.0, enable_gqa=q.shape[1] != k.shape[1])
        return out

    def _heads(self, rows: Tensor) -> Tensor:
        """``[1, heads, M, D]`` from ``[N, heads, D]``, zeros at the end."""
        padded = rows.new_zeros(rows.shape[1], self._mask.seq_lengths[0], rows.shape[2])
        padded[:, : len(rows)] = rows.transpose(0, 1)
        return padded[None]


def visibility(rows: Rows) -> Visibility:
    """What each row sees, from where its sequence lies. Rows of the padding see themselves."""
    device, count = rows.token_ids.device, len(rows.token_ids)
    own_first = torch.arange(-(-count // BLOCK) * BLOCK, device=device, dtype=torch.int32)
    prompt_first, prompt_end = torch.zeros_like(own_first), torch.zeros_like(own_first)
    for cluster in rows.clusters:
        prompts = cluster.prompts
        first = prompts.index[:, :, :1]  # [G, 1, 1]
        end = first + (prompts.shape[2] if prompts.valid is None else prompts.valid.sum(2, keepdim=True))
        for block in (prompts, *cluster.completions):
            is_token = slice(None) if block.valid is None else block.valid

            def put(target: Tensor, value: Tensor, block: Any = block, is_token: Any = is_token) -> None:
                target[block.index[is_token]] = value.expand(block.shape)[is_token].int()

            put(own_first, block.index[:, :, :1])
            if block is not prompts:
                put(prompt_first, first)
                put(prompt_end, end)
    return Visibility(own_first, prompt_first, prompt_end)


def block_mask(seen: Visibility) -> BlockMask:
    """The mask that :class:`Visibility` says, and which of its blocks are empty, and which full."""
    own_first, prompt_first, prompt_end = seen.own_first, seen.prompt_first, seen.prompt_end

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        of_own = (key >= own_first[query]) & (key <= query)
        return of_own | ((key >= prompt_first[query]) & (key < prompt_end[query]))

    rows = torch.arange(len(own_first), device=own_first.device)[:, None]  # [M, 1]
    own, start, end = own_first[:, None], prompt_first[:, None], prompt_end[:, None]
    first = rows[::BLOCK].T  # [1, M / BLOCK] the first key of each block …
    last = first + BLOCK - 1  # … and its last
    some = ((first <= rows) & (last >= own)) | ((start < end) & (first < end) & (last >= start))
    every = ((first >= own) & (last <= rows)) | ((first >= start) & (last < end))
    full = every.view(-1, BLOCK, first.shape[1]).all(1)  # [M / BLOCK, M / BLOCK]
    partial = some.view(-1, BLOCK, first.shape[1]).any(1) & ~full
    size = len(own_first)
    return BlockMask.from_kv_blocks(
        *_ordered(partial), *_ordered(full), BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(size, size)
    )


def attention_for(rows: Rows, *, num_heads: int, num_key_heads: int, head_dim: int, dtype: torch.dtype) -> Attention:
    """Who attends: the one place where that is chosen, by the device and what its kernel takes."""
    if is_fused(rows.token_ids.device, num_heads, num_key_heads, head_dim, dtype):
        return Fused(rows, _compiled())
    return WrittenOut(rows.clusters)


@cache
def is_fused(device: torch.device, num_heads: int, num_key_heads: int, head_dim: int, dtype: torch.dtype) -> bool:
    """Whether attention of these sizes is one kernel on ``device``. It is compiled and has to prove itself first."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16) or head_dim not in _SIZES:
        return False
    try:
        gap = gap_to_written_out(_compiled(), device, num_heads, num_key_heads, head_dim, dtype)
    except Exception as error:  # a compiler, a driver, a limit of this GPU: whatever it is, there is another way
        problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    else:
        if gap <= _TOLERANCE:
            return True
        problem = f"its results are off by {gap:.3g}"
    logging.getLogger(__name__).warning(
        "flex_attention does not work here (%s); attention is computed by products, which is slower", problem
    )
    return False


def gap_to_written_out(
    kernel: Kernel, device: torch.device, num_heads: int, num_key_heads: int, head_dim: int, dtype: torch.dtype
) -> float:
    """The largest difference of values and gradients between both ways, on groups of some hundred rows."""
    tokens = [[1] * 150, [1] * 40]
    rows, _ = pack_rows(tokens, [[[1] * 90, [1] * 3, [1] * 140], [[1] * 60, [1] * 60]], device)
    generator = torch.Generator("cpu").manual_seed(0)
    count = len(rows.token_ids)

    def normal(heads: int) -> Tensor:
        return torch.randn(count, heads, head_dim, generator=generator, device="cpu").to(device, dtype)

    q, k, v, g = normal(num_heads) * head_dim**-0.5, normal(num_key_heads), normal(num_key_heads), normal(num_heads)
    found = []
    for attention in (WrittenOut(rows.clusters), Fused(rows, kernel)):
        kept = Attended()
        out = attention.attend(q, k, v, only_last=False, keep=kept)
        gradients = (torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v))
        attention.backward(g, out, q, k, v, gradients, only_last=False, kept=kept)
        found.append([out, *gradients])
    # Gradients of keys add up over all that see them, so they are compared by their own size.
    return max(
        float((one - other).abs().max() / other.abs().max().clamp(min=1.0))
        for one, other in zip(found[1], found[0], strict=True)
    )


@cache
def _compiled() -> Kernel:
    compiled: Kernel = torch.compile(flex_attention)
    return compiled


def _rows(heads: Tensor, count: int) -> Tensor:
    """``[N, heads, D]`` from ``[1, heads, M, D]``."""
    return heads[0, :, :count].transpose(0, 1).contiguous()


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``[B, B]``: how many are set in a line, ``[1, 1, B]``, and their numbers first, ``[1, 1, B, B]``."""
    numbers = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[None, None], numbers.int()[None, None].contiguous()
