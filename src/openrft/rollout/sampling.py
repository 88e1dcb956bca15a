"""Drawing one token per row from logits: one uniform number each, by inverse CDF.

Probabilities are an fp32 softmax. The cumulative distribution is summed in two levels, because one long
running sum per row would cost more than the softmax: blocks of 64 ids are summed first, then a block is
chosen, then an id within it. The sums that decide are float64, those of a block's 64 probabilities fp32; a
token's chance therefore differs from its fp32 probability by a relative 1e-6 at most. A token of probability
0 is never drawn: the first index whose running sum *exceeds* the target raised that sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 64
_BELOW_ONE = 1 - 2.0**-53


def draw(logits: Tensor, uniform: Tensor, *, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """Next tokens and their log-probabilities, both ``[R]``, from logits ``[R, V]`` and numbers in [0, 1)
    ``[R]``.

    The log-probability is that of the distribution sampled, after temperature and top-p; for ``temperature``
    0 the token is the most likely one (the lowest id among equals) and its log-probability that of the
    unscaled softmax. NaN logits give a NaN log-probability; whoever reads it must not use the token.
    """
    if temperature == 0:
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        # Looked for among the logits themselves: rounding in the softmax can make equals of unequals.
        tokens = logits.argmax(dim=-1)
        return tokens, _at(logprobs, tokens)
    scaled = logits.float()
    if temperature != 1:
        scaled = scaled / temperature
    probabilities = torch.softmax(scaled, dim=-1)
    if top_p < 1:
        return _draw_from_nucleus(probabilities, uniform, top_p)
    tokens = _draw_by_blocks(probabilities, uniform)
    # The logarithm of one fp32 probability is as exact as log-softmax here, and saves a pass over the
    # vocabulary.
    return tokens, _at(probabilities, tokens).log()


def _draw_by_blocks(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Ids ``[R]`` in the order of the vocabulary: block first, then the id within the block."""
    rows, size = probabilities.shape
    if size % _BLOCK:
        probabilities = torch.nn.functional.pad(probabilities, (0, _BLOCK - size % _BLOCK))
    blocks = probabilities.view(rows, -1, _BLOCK)
    sums = torch.cumsum(blocks.sum(dim=-1), dim=-1, dtype=torch.float64)  # [R, V / 64]
    target = uniform * sums[:, -1]
    block = _first_above(sums, target)  # [R]
    reached = _at(sums, block)
    before = torch.where(block > 0, _at(sums, (block - 1).clamp_(min=0)), 0.0)
    # A share of the block rather than a remainder: however the two sums were rounded, it cannot point past
    # the block.
    share = ((target - before) / (reached - before)).clamp_(max=_BELOW_ONE)
    inside = blocks[torch.arange(rows, device=block.device), block]  # [R, 64]
    running = torch.cumsum(inside, dim=-1, dtype=torch.float64)
    tokens = block * _BLOCK + _first_above(running, share * running[:, -1])
    return tokens.clamp_(max=size - 1)  # only NaN gets into the padding


def _draw_from_nucleus(probabilities: Tensor, uniform: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Draw from the fewest most likely tokens whose probabilities reach ``top_p`` (at least one token)."""
    ordered, ids = torch.sort(probabilities, dim=-1, descending=True, stable=True)  # [R, V]; equals in order of id
    running = torch.cumsum(ordered, dim=-1, dtype=torch.float64)
    # The token that reaches top_p is the first whose sum is not below it; its sum is the nucleus's mass.
    last = (running < top_p).sum(dim=-1).clamp_(max=running.shape[-1] - 1)
    mass = _at(running, last)
    ranks = _first_above(running, uniform * mass)
    return _at(ids, ranks), (_at(ordered, ranks) / mass).log().to(ordered.dtype)


def _first_above(running: Tensor, target: Tensor) -> Tensor:
    """Index ``[R]`` of the first running sum in ``[R, N]`` above ``target`` ``[R]``."""
    found = torch.searchsorted(running, target.unsqueeze(-1), right=True).squeeze(-1)
    return found.clamp_(max=running.shape[-1] - 1)  # only NaN gets past the end


def _at(values: Tensor, ids: Tensor) -> Tensor:
    return values.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
