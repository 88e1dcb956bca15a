"""The key/value cache of one wave: allocated once, written in place, shared by prompt columns and sampled
columns.

    columns   0 ………………… width      …………… capacity
    row 0     · · P P P P P   T T T _ _ _ _ _      · padding, P prompt, T sampled, _ free
    row 1     · · P P P P P   T T T _ _ _ _ _      row 1 is another completion of row 0's prompt
    row 2     P P P P P P P   T T T _ _ _ _ _

All rows write the same column at the same time. The classes follow transformers' own cache contract (a layer
answers ``update``, ``get_mask_sizes`` and ``get_seq_length``), so the model's forward runs unchanged: during
prefill it sees the prompts of a chunk, during decoding all rows with one token each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DummyLayer, get_layer_types_and_kwargs

from openrft.errors import EngineError

SUPPORTED_LAYER_TYPES = frozenset({"full_attention", "sliding_attention", "dummy"})


@dataclass(slots=True)
class PrefillChunk:
    """Where the prompts of one prefill forward go."""

    rows: slice  # cache rows that get their keys and values
    source: Tensor  # [rows] which prompt of the chunk each of these rows repeats


@dataclass(slots=True)
class Columns:
    """The state that all layers of a cache share."""

    num_rows: int
    width: int  # prompt columns
    capacity: int  # all columns
    length: int = 0  # columns written before the present forward
    chunk: PrefillChunk | None = None  # set during prefill


class WaveLayer(CacheLayerMixin):
    """Keys and values of one attention layer, ``[R, heads, capacity, head_dim]`` each.

    A sliding layer keeps every column (a window rarely is much shorter than an answer) but hands out only its
    window.
    """

    is_compileable = False
    keys: Tensor
    values: Tensor

    def __init__(self, columns: Columns, window: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.columns = columns
        self.window = window
        self.is_sliding = window is not None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for all rows of the wave; type, device and head sizes are those of the first keys seen."""
        self.keys = self._allocate(key_states)
        self.values = self._allocate(value_states)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store new keys and values ``[B, heads, new, head_dim]``; returns all that they may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        chunk = self.columns.chunk
        if chunk is not None:
            self._store_prompts(self.keys, key_states, chunk)
            self._store_prompts(self.values, value_states, chunk)
            return key_states, value_states
        column = self.columns.length
        self.keys[:, :, column : column + 1].copy_(key_states)
        self.values[:, :, column : column + 1].copy_(value_states)
        first = self.first_visible()
        return self.keys[:, :, first : column + 1], self.values[:, :, first : column + 1]

    def first_visible(self) -> int:
        """First column that the token written next may attend to."""
        return 0 if self.window is None else max(0, self.columns.length + 1 - self.window)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many columns ``update`` will hand out, and which is the first."""
        if self.columns.chunk is not None:
            return query_length, 0
        first = self.first_visible()
        return self.columns.length + query_length - first, first

    def get_seq_length(self) -> int:
        """Columns written before this forward, padding included."""
        return 0 if self.columns.chunk is not None else self.columns.length

    def get_max_length(self) -> int:
        """All columns there are."""
        return self.columns.capacity

    def move_rows(self, source: Tensor, target: Tensor, num_rows: int) -> None:
        """Copy rows ``source`` over rows ``target``, then keep the first ``num_rows``."""
        length = self.columns.length
        for name in ("keys", "values"):
            stored: Tensor = getattr(self, name)
            if source.numel():
                written = stored[:, :, :length]
                written.index_copy_(0, target, written.index_select(0, source))
            setattr(self, name, stored[:num_rows])

    def _allocate(self, states: Tensor) -> Tensor:
        shape = (self.columns.num_rows, states.shape[1], self.columns.capacity, states.shape[3])
        return torch.empty(shape, dtype=states.dtype, device=states.device)

    def _store_prompts(self, stored: Tensor, states: Tensor, chunk: PrefillChunk) -> None:
        start = self.columns.width - states.shape[2]
        # A masked column still takes part in the arithmetic: what was left in this memory might be NaN.
        stored[chunk.rows, :, :start].zero_()
        stored[chunk.rows, :, start : self.columns.width].copy_(states.index_select(0, chunk.source))


class WaveCache(Cache):
    """One :class:`WaveLayer` per attention layer of the model."""

    def __init__(self, config: Any, *, num_rows: int, width: int, capacity: int) -> None:
        self.columns = Columns(num_rows=num_rows, width=width, capacity=capacity)
        super().__init__(
            layers=[
                DummyLayer() if window == "dummy" else WaveLayer(self.columns, window)
                for window in layer_windows(config)
            ]
        )

    def begin_chunk(self, rows: slice, source: Tensor) -> None:
        """The next forward is a prefill whose prompt ``source[i]`` fills cache row ``rows.start + i``."""
        self.columns.chunk = PrefillChunk(rows=rows, source=source)

    def end_prefill(self) -> None:
        """All prompts are stored: from now on each forward adds one column to every row."""
        self.columns.chunk = None
        self.columns.length = self.columns.width

    def advance(self) -> None:
        """One column was written by all layers."""
        self.columns.length += 1

    def move_rows(self, source: Tensor, target: Tensor, num_rows: int) -> None:
        """Compact: rows ``source`` replace the finished rows ``target``, and the first ``num_rows`` stay."""
        for layer in self.layers:
            if isinstance(layer, WaveLayer) and layer.is_initialized:
                layer.move_rows(source, target, num_rows)
        self.columns.num_rows = num_rows


class DecodeMask:
    """The attention mask of decoding, built once per wave and sliced for each token.

    Which columns of a row are padding never changes, and a sliding layer hands out no column outside its
    window, so a token's mask is a slice. ``ready_made`` says that the model accepts masks in their final form
    (transformers passes such masks to it for its own static cache); other models get the plain 2D mask and
    build theirs from it.
    """

    def __init__(self, config: Any, padding: Tensor, capacity: int, dtype: torch.dtype, *, ready_made: bool) -> None:
        columns = torch.arange(capacity, device=padding.device)
        visible = columns.unsqueeze(0) >= padding.unsqueeze(1)  # [R, C] from padding [R]
        self._windows: dict[str, int | None] = {}
        self._by_type = getattr(config, "layer_types", None) is not None
        self._mask: Tensor | None
        if not ready_made:
            self._mask = visible.long()
            return
        self._windows = attention_windows(config)
        self._mask = visible[:, None, None, :]  # [R, 1, 1, C]
        if config._attn_implementation == "eager":
            self._mask = torch.where(self._mask, 0.0, torch.finfo(dtype).min).to(dtype)
        elif not bool((padding > 0).any()):
            self._mask = None  # nothing is hidden from anybody, and attention is faster without a mask

    def at(self, length: int) -> Any:
        """What the model takes as ``attention_mask`` for the token in column ``length``."""
        if not self._windows:
            assert self._mask is not None
            return self._mask[:, : length + 1]
        masks = {}
        for layer_type, window in self._windows.items():
            first = 0 if window is None else max(0, length + 1 - window)
            masks[layer_type] = None if self._mask is None else self._mask[..., first : length + 1]
        return masks if self._by_type else next(iter(masks.values()))

    def move_rows(self, source: Tensor, target: Tensor, num_rows: int) -> None:
        """Compact as :meth:`WaveCache.move_rows` does."""
        if self._mask is not None:
            kept = self._mask.index_copy(0, target, self._mask.index_select(0, source))
            self._mask = kept[:num_rows]


def layer_windows(config: Any) -> list[int | Literal["dummy"] | None]:
    """Per layer: its sliding window, None for full attention, ``"dummy"`` for one without keys of its own."""
    types, options = get_layer_types_and_kwargs(config)
    unknown = sorted(set(types) - SUPPORTED_LAYER_TYPES)
    if unknown:
        raise EngineError(
            f"the native engine cannot generate with layers of type {', '.join(unknown)} (model type "
            f"{config.model_type!r}), only with full and sliding attention. Choose another base model"
        )
    return [
        "dummy" if kind == "dummy" else option.get("sliding_window")
        for kind, option in zip(types, options, strict=True)
    ]


def attention_windows(config: Any) -> dict[str, int | None]:
    """Per layer type of the model: its sliding window, or None for full attention."""
    types = getattr(config, "layer_types", None)
    if types is None:
        window = getattr(config, "sliding_window", None)
        return {"full_attention" if window is None else "sliding_attention": window}
    return {kind: config.sliding_window if kind == "sliding_attention" else None for kind in sorted(set(types))}
