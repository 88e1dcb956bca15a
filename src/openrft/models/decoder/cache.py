"""Keys and values while sampling: a prompt's once for its group, and each completion's own.

    prompts   [G, K, P, D]       a group's prompt, read once, seen by all of its completions
    own       [G, K, S, C, D]    place s of group g has a completion; C columns, more as completions grow

All completions of a wave have the same number of tokens, so a token goes into the same column everywhere. Completions
that end leave empty places; :meth:`GroupCache.compact` makes the grid smaller when that saves something.

Letters: R live rows (one per completion), G groups, S places of a group, C columns, P prompt tokens, Q query heads,
K key heads, D numbers per head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from openrft.models.decoder.attention import joint_softmax
from openrft.models.decoder.block import Block, Store, lone_norm
from openrft.models.decoder.decoder import Decoder
from openrft.models.decoder.graph import Replayed
from openrft.models.decoder.rows import pack_rows

COLUMNS = 32
"""Columns by which a cache grows: attention covers unwritten ones, and short-type products want whole tensors."""

GPU_COLUMNS = 256
"""The same on a GPU, where unwritten columns cost little and other shapes a new graph."""

PREFILL_TOKENS = 8192
"""Prompt tokens read in one forward pass (one prompt may be longer): bounds the activations' memory."""


class _Layer:
    """Keys and values of one layer, and the shapes in which they are multiplied."""

    def __init__(self, groups: int, places: int, prompt: int, columns: int, decoder: Decoder, block: Block) -> None:
        shape, options = decoder.shape, {"dtype": decoder.dtype, "device": decoder.device}
        # Zeros, because what is masked still takes part in the arithmetic: what was left there might be NaN.
        prompts = (2, groups, shape.num_key_heads, prompt, shape.head_dim)
        self.prompts = torch.zeros(prompts, **options)  # type: ignore[call-overload]
        own = (2, groups, shape.num_key_heads, places, columns, shape.head_dim)
        self.own = torch.zeros(own, **options)  # type: ignore[call-overload]
        self.head_weights = block.head_weights()
        self._look()

    def grow(self, columns: int) -> None:
        """Append empty columns."""
        more = list(self.own.shape)
        more[4] = columns
        self.own = torch.cat([self.own, self.own.new_zeros(more)], dim=4)
        self._look()

    def keep(self, groups: Tensor, places: Tensor) -> None:
        """Keep ``groups`` ``[G']``, and of each of them ``places`` ``[G', S']``."""
        self.prompts = self.prompts.index_select(1, groups)
        kept = self.own.index_select(1, groups)
        wanted = places[None, :, None, :, None, None].expand(*kept.shape[:3], -1, *kept.shape[4:])
        self.own = kept.gather(3, wanted)
        self._look()

    def _look(self) -> None:
        """The views that every token needs."""
        _, groups, heads, places, columns, width = self.own.shape
        self.alone, self.together = (groups * heads * places, -1, width), (groups * heads, -1, width)
        self.own_keys_t = self.own[0].view(groups * heads * places, columns, width).transpose(1, 2)
        self.own_values = self.own[1].view(groups * heads * places, columns, width)
        self.prompt_keys_t = self.prompts[0].view(groups * heads, -1, width).transpose(1, 2)
        self.prompt_values = self.prompts[1].view(groups * heads, -1, width)


class GroupCache:
    """Samples a wave's completions token by token with a :class:`Decoder`.

    ``prompts[g]`` has ``counts[g]`` completions; rows are ordered by group. Call :meth:`read_prompts` first.
    """

    def __init__(self, decoder: Decoder, prompts: Sequence[list[int]], counts: Sequence[int], max_tokens: int) -> None:
        self._decoder = decoder
        self._prompts = prompts
        device = decoder.device
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self._growth = COLUMNS if device.type == "cpu" else GPU_COLUMNS
        longest, columns = max(map(len, prompts)), min(self._growth, max(1, max_tokens - 1))
        self._layers = [_Layer(len(prompts), max(counts), longest, columns, decoder, block) for block in decoder.blocks]
        self._lengths = lengths  # [G]
        self._hidden = self._padding(longest)  # [G, 1, 1, P] or None
        self._places = [(group, place) for group, count in enumerate(counts) for place in range(count)]  # of each row
        self._grid = (len(prompts), max(counts))
        self._num_written = 0  # columns
        # What a recorded step reads instead of Python's numbers: the column of the newest token, and what hides the
        # columns that are unwritten.
        self._column = torch.zeros(1, dtype=torch.long, device=device)
        self._unwritten = torch.full((columns,), -torch.inf, dtype=decoder.dtype, device=device)
        self._is_recorded = device.type != "cpu"
        self._replayed = Replayed(device)
        self._index_rows()

    def read_prompts(self) -> Tensor:
        """Read every prompt; logits ``[R, V]`` of the first tokens."""
        parts = [self._read(first, last) for first, last in self._prefill_chunks()]
        return torch.cat(parts).index_select(0, self._group_of_row)

    def next_logits(self, token_ids: Tensor) -> Tensor:
        """Logits ``[R, V]`` after one more token ``[R]`` of every row. The next call may write over them."""
        if self._num_written == len(self._unwritten):
            for layer in self._layers:
                layer.grow(self._growth)
            more = self._unwritten.new_full((self._growth,), -torch.inf)
            self._unwritten = torch.cat([self._unwritten, more])
            self._replayed.forget()
        logits = self._replayed(self._step, token_ids)
        self._num_written += 1
        return logits

    def _step(self, token_ids: Tensor) -> Tensor:
        """:meth:`next_logits` where there is a column free: tensors of the same shapes, and no wait for the device."""
        decoder = self._decoder
        self._unwritten.index_fill_(0, self._column, 0)
        turn = decoder.turn(self._positions)
        x = decoder.embed(token_ids)
        for block, layer in zip(decoder.blocks, self._layers, strict=True):
            heads = block.begin(x, turn, layer.head_weights)
            x = block.finish(x, self._attend(layer, heads))
        self._column += 1
        self._positions += 1
        return decoder.head(lone_norm(x, decoder.final_norm, decoder.shape))

    def compact(self, live: Sequence[bool]) -> list[int]:
        """Keep the live rows, in order; returns the numbers they had."""
        kept = [row for row, is_live in enumerate(live) if is_live]
        places = [self._places[row] for row in kept]
        counts = [0] * self._grid[0]
        for group, _ in places:
            counts[group] += 1
        groups = [group for group, count in enumerate(counts) if count]
        most = max(counts)
        # Copying prompts is dear, so groups go by quarters; places go as soon as all groups have one less.
        if 4 * len(groups) <= 3 * self._grid[0] or most < self._grid[1]:
            places = self._lay_out(groups, most, places)
        self._places = places
        self._index_rows()
        self._replayed.forget()
        return kept

    def _lay_out(self, groups: list[int], most: int, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Make the grid ``len(groups)`` by ``most``; returns the rows' new places."""
        device = self._decoder.device
        number = {group: new for new, group in enumerate(groups)}
        old = [[0] * most for _ in groups]  # an empty place copies whatever was in the first
        filled = [0] * len(groups)
        moved = []
        for group, place in places:
            new = number[group]
            old[new][filled[new]] = place
            moved.append((new, filled[new]))
            filled[new] += 1
        of_group, of_place = torch.tensor(groups, device=device), torch.tensor(old, device=device)
        for layer in self._layers:
            layer.keep(of_group, of_place)
        self._lengths = self._lengths[of_group]
        self._hidden = self._padding(self._layers[0].prompts.shape[3])
        self._grid = (len(groups), most)
        return moved

    def _attend(self, layer: _Layer, heads: Tensor) -> Tensor:
        """Attended values ``[R, Q D]`` of the newest tokens, from ``[R, Q + 2 K, D]``; they are stored on the way."""
        (groups, places), shape = self._grid, self._decoder.shape
        num_keys, width = shape.num_key_heads, shape.head_dim
        if self._row_of_place is not None:
            heads = heads[self._row_of_place]
        grid = heads.view(groups, places, -1, num_keys, width)  # queries of one key head are neighbours: Q = K x Q/K
        newest = grid[:, :, -2:].permute(2, 0, 3, 1, 4)  # [2, G, K, S, D]
        if self._is_recorded:
            layer.own.index_copy_(4, self._column, newest.unsqueeze(4))
        else:  # twice as fast
            layer.own[:, :, :, :, self._num_written] = newest
        q = heads[:, : shape.num_heads].view(groups, places, num_keys, -1, width).transpose(1, 2).contiguous()
        own = torch.baddbmm(self._unwritten, q.view(layer.alone), layer.own_keys_t)  # [G K S, Q / K, C]
        before = torch.bmm(q.view(layer.together), layer.prompt_keys_t)  # [G K, S Q / K, P]
        length = before.shape[2]
        if self._hidden is not None:
            before.view(groups, num_keys, -1, length).masked_fill_(self._hidden, -torch.inf)
        of_prompt, of_own = joint_softmax(before, own)
        mixed = torch.bmm(of_own, layer.own_values)
        mixed += torch.bmm(of_prompt, layer.prompt_values).view_as(mixed)
        rows = mixed.view(groups, num_keys, places, -1, width).transpose(1, 2).reshape(groups * places, -1)
        return rows if self._place_of_row is None else rows[self._place_of_row]

    def _read(self, first: int, last: int) -> Tensor:
        """Logits ``[last - first, V]`` after these prompts, whose keys and values go into the cache."""
        decoder, prompts = self._decoder, self._prompts[first:last]
        rows, predicting = pack_rows(prompts, [[[0]]] * len(prompts), decoder.device)
        lengths = self._lengths[first:last]
        groups = torch.arange(first, last, device=decoder.device).repeat_interleave(lengths)

        def store_into(layer: _Layer) -> Store:
            def store(k: Tensor, v: Tensor) -> None:
                layer.prompts[0][groups, :, rows.positions] = k
                layer.prompts[1][groups, :, rows.positions] = v

            return store

        hidden = decoder.read(rows, [store_into(layer) for layer in self._layers])
        return decoder.head(hidden[predicting])

    def _prefill_chunks(self) -> list[tuple[int, int]]:
        chunks, first, tokens = [], 0, 0
        for number, prompt in enumerate(self._prompts):
            if number > first and tokens + len(prompt) > PREFILL_TOKENS:
                chunks.append((first, number))
                first, tokens = number, 0
            tokens += len(prompt)
        return [*chunks, (first, len(self._prompts))]

    def _padding(self, longest: int) -> Tensor | None:
        """[G, 1, 1, P]: True where a shorter prompt has no token; None where all are as long."""
        columns = torch.arange(longest, device=self._lengths.device)
        hidden = columns[None, :] >= self._lengths[:, None]
        return hidden[:, None, None, :] if bool(hidden.any()) else None

    def _index_rows(self) -> None:
        """Which row stands in which place of the grid; None where the rows are the grid."""
        device, (groups, places) = self._decoder.device, self._grid
        self._group_of_row = torch.tensor([group for group, _ in self._places], device=device)
        self._positions = self._lengths[self._group_of_row] + self._num_written  # [R] of the next token
        self._row_of_place: Tensor | None = None
        self._place_of_row: Tensor | None = None
        if len(self._places) < groups * places:
            numbers = [group * places + place for group, place in self._places]
            self._place_of_row = torch.tensor(numbers, device=device)
            self._row_of_place = torch.zeros(groups * places, dtype=torch.long, device=device)
            self._row_of_place[self._place_of_row] = torch.arange(len(numbers), device=device)
