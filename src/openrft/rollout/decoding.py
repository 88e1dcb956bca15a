"""How a wave's logits come about: through the decoder written out here, or through transformers' own forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from openrft.models.decoder.cache import PREFILL_TOKENS
from openrft.rollout.forward import PolicyForward
from openrft.rollout.kv_cache import DecodeMask, WaveCache


class Decoding(Protocol):
    """Keys and values of a wave's rows. ``prompts[g]`` has ``counts[g]`` rows, in order of the prompts."""

    def read_prompts(self) -> Tensor:
        """Read every prompt, once; logits ``[R, V]`` of the rows' first tokens."""
        ...

    def next_logits(self, token_ids: Tensor) -> Tensor:
        """Logits ``[R, V]`` after one more token ``[R]`` of every row."""
        ...

    def compact(self, live: Sequence[bool]) -> list[int]:
        """Forget the rows that are not live; returns the numbers that the others had, in their new order."""
        ...


class TransformersDecoding:
    """Every row carries a copy of its prompt's keys and values; prompts are left-padded to the longest."""

    def __init__(
        self, forward: PolicyForward, prompts: Sequence[list[int]], counts: Sequence[int], max_tokens: int
    ) -> None:
        self._forward = forward
        self._prompts, self._counts = prompts, counts
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=forward.device)
        self._positions = (
            lengths.repeat_interleave(torch.tensor(counts, device=forward.device)) - 1
        )  # [R] of the newest
        self._width = max(map(len, prompts))
        # The last token drawn is never fed back, so its column is not needed.
        self._capacity = self._width + max_tokens - 1
        self._cache = WaveCache(forward.config, num_rows=sum(counts), width=self._width, capacity=self._capacity)
        self._mask: DecodeMask | None = None
        self._context: int | None = getattr(forward.config, "max_position_embeddings", None)

    def read_prompts(self) -> Tensor:
        """Store every prompt's keys and values for all its rows."""
        device = self._forward.device
        logits, start = [], 0
        for first, last in self._chunks():
            repeats = torch.tensor(self._counts[first:last], device=device)
            source = torch.repeat_interleave(torch.arange(last - first, device=device), repeats)  # [rows]
            rows = slice(start, start + len(source))
            start = rows.stop
            self._cache.begin_chunk(rows, source)
            prompts = list(self._prompts[first:last])
            logits.append(prefill_prompts(self._forward, prompts, self._cache).index_select(0, source))
        self._cache.end_prefill()
        padding = self._width - 1 - self._positions  # [R]
        ready_made = self._forward.takes_ready_masks
        config, dtype = self._forward.config, self._forward.dtype
        self._mask = DecodeMask(config, padding, self._capacity, dtype, ready_made=ready_made)
        return torch.cat(logits)

    def next_logits(self, token_ids: Tensor) -> Tensor:
        """All rows write the same column."""
        assert self._mask is not None
        self._positions += 1
        if self._context is not None:  # rows that have finished wait for compaction, and shall not pass the end
            self._positions.clamp_(max=self._context - 1)
        mask = self._mask.at(self._cache.columns.length)
        positions = self._positions.unsqueeze(1)
        logits = self._forward.last_logits(token_ids.unsqueeze(1), mask, positions, self._cache)
        self._cache.advance()
        return logits

    def compact(self, live: Sequence[bool]) -> list[int]:
        """The last live rows move into the places of finished ones, so that few are copied."""
        assert self._mask is not None
        kept = sum(live)
        target = [row for row in range(kept) if not live[row]]
        source = [row for row in range(kept, len(live)) if live[row]]
        to = torch.tensor(target, dtype=torch.long, device=self._forward.device)
        of = torch.tensor(source, dtype=torch.long, device=self._forward.device)
        self._cache.move_rows(of, to, kept)
        self._mask.move_rows(of, to, kept)
        self._positions[to] = self._positions[of]
        self._positions = self._positions[:kept]
        order = list(range(kept))
        for place, row in zip(target, source, strict=True):
            order[place] = row
        return order

    def _chunks(self) -> list[tuple[int, int]]:
        """Prompts in order, cut so that a chunk holds at most PREFILL_TOKENS padded tokens."""
        chunks, first, longest = [], 0, 0
        for number, prompt in enumerate(self._prompts):
            longest = max(longest, len(prompt))
            if number > first and (number - first + 1) * longest > PREFILL_TOKENS:
                chunks.append((first, number))
                first, longest = number, len(prompt)
        return [*chunks, (first, len(self._prompts))]


def prefill_prompts(forward: PolicyForward, prompts: list[list[int]], cache: WaveCache) -> Tensor:
    """Read prompts, left-padded to the longest, into ``cache``; logits ``[prompts, V]`` of the first tokens."""
    width = max(len(prompt) for prompt in prompts)
    padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=forward.device)
    padding = torch.tensor([width - len(prompt) for prompt in prompts], device=padded.device).unsqueeze(1)
    columns = torch.arange(width, device=padded.device).unsqueeze(0)
    positions = (columns - padding).clamp_(min=0)  # [prompts, width]
    return forward.last_logits(padded, (columns >= padding).long(), positions, cache)
