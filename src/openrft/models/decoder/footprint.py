"""How many bytes a forward and backward pass of the decoder takes: counted, not measured.

Letters as in the other files: N rows, H numbers of the stream, Q query heads, K key heads, D numbers per head, I
numbers inside the MLP, V tokens of the vocabulary. Counted is what :class:`~openrft.models.decoder.block.Kept` has for
every layer; what is alive only inside of one layer is counted as one layer more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from openrft.models.decoder import attention, chosen
from openrft.models.decoder.rows import Block, Cluster, Rows

_WIDE = 4  # bytes of a float32: the stream, the norms and the softmax


@dataclass(frozen=True, slots=True)
class Footprint:
    """A decoder's sizes, and the bytes that follow from them."""

    num_layers: int
    hidden: int  # H
    intermediate: int  # I
    num_heads: int  # Q
    num_key_heads: int  # K
    head_dim: int  # D
    vocabulary: int  # V
    has_head_norms: bool
    itemsize: int  # bytes of a number of the compute type
    device_type: str
    is_fused: bool  # attention runs as one kernel, which keeps no probabilities

    @property
    def layer_row(self) -> int:
        """What one layer keeps of one row, attention's probabilities apart."""
        queries, keys = self.num_heads * self.head_dim, self.num_key_heads * self.head_dim
        of_qkv, of_rotated, of_mixed = queries + 2 * keys, queries + keys, queries
        short = 2 * self.hidden + of_qkv + of_rotated + of_mixed + 3 * self.intermediate
        wide = 2 * (self.hidden + 1) + (self.num_heads + self.num_key_heads if self.has_head_norms else 0)
        if self.is_fused:  # its own order of queries, keys, values and result, and the sums of its softmax
            short += of_qkv + of_mixed
            wide += self.num_heads
        return short * self.itemsize + wide * _WIDE

    @property
    def stream_row(self) -> int:
        """What one layer keeps of one row when it is computed once more in the backward pass: what came in."""
        return self.hidden * _WIDE

    def kept(self, num_rows: int, num_probabilities: int) -> int:
        """What all layers keep together; ``num_probabilities`` is per layer."""
        return self.num_layers * self._layer(num_rows, num_probabilities)

    def layers(self, num_rows: int, num_probabilities: int, *, recomputed: bool) -> int:
        """Most that forward and backward of all layers take."""
        one = self._layer(num_rows, num_probabilities)
        if recomputed:
            return self.num_layers * num_rows * self.stream_row + 2 * one
        return (self.num_layers + 1) * one

    def head(self, num_rows: int) -> int:
        """Most that the log-probabilities of ``num_rows`` chosen tokens take."""
        numbers = num_rows * self.vocabulary
        at_once = min(numbers, chosen.chunk_numbers(self.device_type)) * (self.itemsize + 2 * _WIDE)
        return at_once + (numbers * self.itemsize if numbers <= chosen.KEPT_NUMBERS else 0)

    def probabilities(self, rows: Rows, dtype: torch.dtype) -> int:
        """How many probabilities of attention a layer keeps of ``rows``; see :func:`num_probabilities`."""
        return 0 if self.is_fused else num_probabilities(rows.clusters, self.num_heads, dtype)

    def _layer(self, num_rows: int, num_probabilities: int) -> int:
        return num_rows * self.layer_row + num_probabilities * self.itemsize


def footprint_of(config: Any, dtype: torch.dtype, device_type: str, *, is_fused: bool) -> Footprint:
    """By the sizes in a transformers ``config`` of the family, for products in ``dtype``."""
    config = config.get_text_config()
    return Footprint(
        num_layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        num_heads=config.num_attention_heads,
        num_key_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        vocabulary=config.vocab_size,
        has_head_norms=config.model_type == "qwen3",
        itemsize=dtype.itemsize,
        device_type=device_type,
        is_fused=is_fused,
    )


def num_probabilities(clusters: tuple[Cluster, ...], num_heads: int, dtype: torch.dtype) -> int:
    """Probabilities that written-out attention keeps of a layer: none where they are more than it keeps."""
    chunk, count = attention.CHUNK[dtype], 0

    def of_block(block: Block, before: int) -> int:
        groups, sequences, tokens = block.shape
        own = tokens * (tokens + min(chunk, tokens)) // 2  # a chunk sees no key after its last query
        copied = own if before else 0  # out of the softmax that is over the prompt's keys as well
        return groups * sequences * (own + tokens * before + copied)

    for cluster in clusters:
        prompt = cluster.prompts.shape[2]
        count += of_block(cluster.prompts, 0) + sum(of_block(block, prompt) for block in cluster.completions)
    count *= num_heads
    return count if count <= attention.KEPT_NUMBERS else 0
