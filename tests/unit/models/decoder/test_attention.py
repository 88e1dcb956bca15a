"""Attention of packed groups, in float64: equal to attention under a mask over all rows, up to the last digits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from openrft.models.decoder import attention, rows
from openrft.models.decoder.attention import Attended, WrittenOut
from openrft.models.decoder.rows import Rows, pack_rows

Lengths = tuple[list[int], list[list[int]]]

LENGTHS: dict[str, Lengths] = {
    "one row": ([1], [[1]]),
    "prompts alone": ([7, 4], [[1], [1, 1]]),
    "of one size": ([5, 5], [[7, 7, 7], [7, 7, 7]]),
    "of all sizes": ([5, 9, 6], [[12, 3, 2, 1], [5], [1, 8]]),
    "far apart": ([2, 30, 3], [[20, 2], [4, 4, 4], [9]]),
}


def packed_rows(lengths: Lengths) -> tuple[Rows, Tensor]:
    """Rows, and which row may see which ``[N, N]``, by the definition of a prompt and its completions."""
    prompts, completions = lengths
    packed, _ = pack_rows(
        [[1] * n for n in prompts], [[[2] * n for n in of] for of in completions], torch.device("cpu")
    )
    count = len(packed.token_ids)
    sees = torch.zeros(count, count, dtype=torch.bool)
    start = 0
    for prompt, answers in zip(prompts, completions, strict=True):
        sees[start : start + prompt, start : start + prompt] = True
        begin = start + prompt
        for answer in answers:
            sees[begin : begin + answer - 1, start : start + prompt] = True
            sees[begin : begin + answer - 1, begin : begin + answer - 1] = True
            begin += answer - 1
        start = begin
    return packed, sees.tril()


def plain_attention(q: Tensor, k: Tensor, v: Tensor, sees: Tensor) -> Tensor:
    """``[N, Q, D]``; key head k serves the query heads k Q / K and those after it."""
    share = q.shape[1] // k.shape[1]
    keys, values = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)
    scores = torch.einsum("nqd,mqd->qnm", q, keys).masked_fill(~sees, -torch.inf)
    return torch.einsum("qnm,mqd->nqd", scores.softmax(-1), values)


@pytest.mark.parametrize("kept", [1 << 20, 0])
@pytest.mark.parametrize("chunk", [1, 3, 64])
@pytest.mark.parametrize("most", [0, 1 << 40])
@pytest.mark.parametrize("only_last", [False, True])
@pytest.mark.parametrize("heads", [(4, 2), (3, 3), (4, 1)], ids=str)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_values_and_gradients_are_those_of_masked_attention(
    lengths: str, heads: tuple[int, int], only_last: bool, most: int, chunk: int, kept: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rows, "CLUSTER_SCORES", most)
    monkeypatch.setattr(rows, "MUCH_SHORTER", 2 if most == 0 else 50)
    monkeypatch.setattr(attention, "CHUNK", {torch.float64: chunk})
    monkeypatch.setattr(attention, "KEPT_NUMBERS", kept)
    packed, sees = packed_rows(LENGTHS[lengths])
    count = len(packed.token_ids)
    random = torch.Generator().manual_seed(1)
    together = torch.randn(count, heads[0] + 2 * heads[1], 4, generator=random, dtype=torch.float64)
    sizes = [heads[0], heads[1], heads[1]]
    q, k, v = together.split(sizes, dim=1)  # as they come out of one product
    exact = [part.clone().requires_grad_() for part in (q, k, v)]
    expected = plain_attention(*exact, sees)
    read = packed.needed if only_last else torch.arange(count)
    g = torch.zeros(count, heads[0], 4, dtype=torch.float64)
    g[read] = torch.randn(len(read), heads[0], 4, generator=random, dtype=torch.float64)
    expected.backward(g)

    state = Attended()
    out = WrittenOut(packed.clusters).attend(q, k, v, only_last=only_last, keep=state)
    assert (out - expected)[read].abs().max() < 1e-12
    gradients = torch.zeros_like(together).split(sizes, dim=1)
    WrittenOut(packed.clusters).backward(g, out, q, k, v, gradients, only_last=only_last, kept=state)
    for found, tensor in zip(gradients, exact, strict=True):
        assert tensor.grad is not None
        assert (found - tensor.grad).abs().max() < 1e-12


def test_without_keeping_the_values_are_the_same() -> None:
    packed, _ = packed_rows(LENGTHS["of all sizes"])
    q, k, v = torch.randn(len(packed.token_ids), 8, 4, generator=torch.Generator().manual_seed(2)).split([4, 2, 2], 1)
    state = Attended()
    kept = WrittenOut(packed.clusters).attend(q, k, v, only_last=False, keep=state)
    assert torch.equal(kept, WrittenOut(packed.clusters).attend(q, k, v, only_last=False, keep=None))


def test_more_probabilities_than_may_be_kept_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, sees = packed_rows(LENGTHS["of all sizes"])
    q, k, v = torch.randn(len(packed.token_ids), 8, 4, generator=torch.Generator().manual_seed(2)).split([4, 2, 2], 1)

    def keeps(numbers: int) -> bool:
        monkeypatch.setattr(attention, "KEPT_NUMBERS", numbers)
        state = Attended()
        WrittenOut(packed.clusters).attend(q, k, v, only_last=False, keep=state)
        return bool(state.kept)

    assert keeps(1 << 20)
    assert not keeps(4 * int(sees.sum()))  # four heads; what a mask hides counts, too


def test_scores_too_large_for_an_exponential_have_finite_probabilities() -> None:
    packed, sees = packed_rows(LENGTHS["of all sizes"])
    q, k, v = torch.randn(len(packed.token_ids), 8, 4, generator=torch.Generator().manual_seed(2)).split([4, 2, 2], 1)
    found = WrittenOut(packed.clusters).attend(200 * q, k, v, only_last=False, keep=None)
    expected = plain_attention(200 * q.double(), k.double(), v.double(), sees)
    assert (found - expected).abs().max() < 1e-3
