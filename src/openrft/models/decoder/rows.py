"""The token rows of a microbatch: every prompt once, its completions after it, nothing padded.

    rows      P P P P A A A B B  P P P C C C C D    P of a prompt, A and B its completions, then the next group

Linear layers see these rows and no others. Attention alone wants rectangles: groups of like size are attended together
(a :class:`Cluster`), and there a shorter sequence leaves places that count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

MUCH_SHORTER = 2
"""Sequences less than half as long as the longest are attended apart from it."""

CLUSTER_SCORES = 256 << 10
"""Scores per head that one cluster may need: larger ones leave the processor's cache, smaller ones are more calls."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where sequences of a cluster lie: those of group g, sequence s, token t, ``[G, S, T]``."""

    shape: tuple[int, int, int]
    index: Tensor  # [G, S, T] rows; where a sequence is shorter, some row of its own group
    valid: Tensor | None  # [G, S, T] bool, or None where every place is a token
    first: int | None  # of a block without gaps: its first row …
    stride: int = 0  # … and how many rows lie between one group's first and the next's
    known: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def take(self, rows: Tensor, first: int, last: int) -> Tensor:
        """Tokens ``first`` to ``last`` of every sequence, ``[G, S, last - first, …]`` from ``[N, …]``."""
        if self.first is not None:
            return self._view(rows)[:, :, first:last]
        everywhere, _, _ = self._tokens(first, last)
        taken = rows.flatten(1).index_select(0, everywhere)
        return taken.view(*self.shape[:2], last - first, *rows.shape[1:])

    def put(self, rows: Tensor, values: Tensor, first: int, last: int) -> None:
        """Write back what :meth:`take` gave."""
        if self.first is not None:
            self._view(rows)[:, :, first:last] = values
            return
        everywhere, places, there = self._tokens(first, last)
        flat = values.flatten(0, 2)
        rows.index_copy_(0, there, flat if there is everywhere else flat.index_select(0, places))

    def _tokens(self, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of tokens ``first`` to ``last``: the rows of all places; which places are tokens; the rows of those."""
        if (first, last) not in self.known:
            everywhere = self.index[:, :, first:last].flatten()
            places, there = everywhere, everywhere
            if self.valid is not None:
                places = self.valid[:, :, first:last].flatten().nonzero().squeeze(1)
                there = everywhere[places]
            self.known[first, last] = (everywhere, places, there)
        return self.known[first, last]

    def _view(self, rows: Tensor) -> Tensor:
        (groups, sequences, tokens), step = self.shape, rows.stride(0)
        return rows.as_strided(
            (groups, sequences, tokens, *rows.shape[1:]),
            (self.stride * step, tokens * step, step, *rows.stride()[1:]),
            rows.storage_offset() + (self.first or 0) * step,
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """Groups that are attended together: their prompts, and their completions in blocks of like length."""

    prompts: Block  # S = 1
    completions: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Token rows, group after group. Of a completion the last token is no row: nothing is predicted from it."""

    token_ids: Tensor  # [N]
    positions: Tensor  # [N] position in the sequence, prompt included
    clusters: tuple[Cluster, ...]
    needed: Tensor  # [U] rows from which something is predicted: prompts' last and all of the completions


@dataclass(frozen=True, slots=True)
class _Group:
    prompt: range
    completions: list[range]  # longest first, none empty

    @property
    def num_scores(self) -> int:
        longest = len(self.completions[0]) if self.completions else 0
        return len(self.prompt) ** 2 + len(self.completions) * longest * (len(self.prompt) + longest)


def pack_rows(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[Sequence[int]]], device: torch.device
) -> tuple[Rows, Tensor]:
    """Rows of ``prompts`` with the ``completions`` of each, and which needed row predicts each completion token.

    The second is ``[tokens of all completions]``, completion after completion, as indices into ``Rows.needed``: a
    completion's token 0 is predicted from its prompt's last row, token t from the row of its token t - 1.
    """
    token_ids: list[int] = []
    positions: list[int] = []
    groups: list[_Group] = []
    needed: list[int] = []
    predicting: list[int] = []
    for prompt, answers in zip(prompts, completions, strict=True):
        prompt_rows = range(len(token_ids), len(token_ids) + len(prompt))
        token_ids += prompt
        positions += range(len(prompt))
        last_prompt_row = len(needed)
        needed.append(prompt_rows[-1])
        spans = []
        for answer in answers:
            predicting += [last_prompt_row, *range(len(needed), len(needed) + len(answer) - 1)]
            spans.append(range(len(token_ids), len(token_ids) + len(answer) - 1))
            token_ids += answer[:-1]
            positions += range(len(prompt), len(prompt) + len(answer) - 1)
            needed += spans[-1]
        groups.append(_Group(prompt_rows, sorted(filter(None, spans), key=len, reverse=True)))

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, device=device)

    clusters = tuple(_cluster(members, device) for members in _alike(groups))
    return Rows(tensor(token_ids), tensor(positions), clusters, tensor(needed)), tensor(predicting)


def _alike(groups: Sequence[_Group]) -> list[list[_Group]]:
    """Neighbours in order, together while their prompts are of like length and their scores few."""
    clusters: list[list[_Group]] = []
    for group in groups:
        if clusters:
            lengths = [len(member.prompt) for member in (*clusters[-1], group)]
            scores = (len(clusters[-1]) + 1) * max(member.num_scores for member in (*clusters[-1], group))
            if max(lengths) <= MUCH_SHORTER * min(lengths) and scores <= CLUSTER_SCORES:
                clusters[-1].append(group)
                continue
        clusters.append([group])
    return clusters


def _cluster(groups: Sequence[_Group], device: torch.device) -> Cluster:
    prompts = _block([[group.prompt] for group in groups], device)
    blocks, first, most = [], 0, max(len(group.completions) for group in groups)
    lengths = [
        max(len(group.completions[rank]) for group in groups if rank < len(group.completions)) for rank in range(most)
    ]
    for rank in range(1, most + 1):
        if rank == most or lengths[rank] * MUCH_SHORTER < lengths[first]:
            blocks.append(_block([group.completions[first:rank] for group in groups], device))
            first = rank
    return Cluster(prompts, tuple(blocks))


def _block(spans: Sequence[Sequence[range]], device: torch.device) -> Block:
    """``spans[g][s]`` has the rows of a sequence; missing ones are filled up with a row of another."""
    tokens = max(len(span) for group in spans for span in group)
    sequences = max(len(group) for group in spans)
    shape = (len(spans), sequences, tokens)
    if all(len(group) == sequences and all(len(span) == tokens for span in group) for group in spans):
        starts = [[span.start for span in group] for group in spans]
        stride = starts[1][0] - starts[0][0] if len(spans) > 1 else 0
        expected = [[starts[0][0] + g * stride + s * tokens for s in range(sequences)] for g in range(len(spans))]
        index = torch.tensor(starts, device=device)[:, :, None] + torch.arange(tokens, device=device)
        return Block(shape, index, None, starts[0][0] if starts == expected else None, stride)
    spare = next(span.start for group in spans for span in group)
    padded = [[*group, *[range(0)] * (sequences - len(group))] for group in spans]
    index = torch.tensor(
        [[[*span, *[spare] * (tokens - len(span))] for span in group] for group in padded], device=device
    )
    sizes = torch.tensor([[len(span) for span in group] for group in padded], device=device)
    return Block(shape, index, torch.arange(tokens, device=device) < sizes[:, :, None], None)
