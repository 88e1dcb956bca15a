"""Token by token with a cache: logits are those of the network's forward pass of every row by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from openrft.models.decoder import Decoder, GroupCache, build_decoder, cache
from plain_forward import FAMILY, assert_near, exact_copy, random_network

WITHIN = 1e-5


def new_token(row: int, step: int) -> int:
    """What row ``row`` has as its token ``step``."""
    return (29 * row + 13 * step + 7 * row * step + 5) % 255


class Sampling:
    """A cache, and the sequences that it should stand for."""

    def __init__(
        self,
        network: Any,
        prompts: list[list[int]],
        counts: list[int],
        max_tokens: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        decoder = build_decoder(network, dtype)
        assert decoder is not None
        self.decoder: Decoder = decoder
        decoder.refresh()
        self.network = exact_copy(network)
        self.sequences = [list(prompt) for prompt, count in zip(prompts, counts, strict=True) for _ in range(count)]
        self.names = list(range(len(self.sequences)))
        self.step = 0
        self.cache = GroupCache(decoder, prompts, counts, max_tokens)

    @torch.no_grad()
    def check(self, found: Tensor, within: float = WITHIN) -> None:
        assert found.shape == (len(self.sequences), self.decoder.vocabulary_size)
        for logits, sequence in zip(found, self.sequences, strict=True):
            expected = self.network(input_ids=torch.tensor([sequence]), use_cache=False).logits[0, -1]
            assert_near(logits, expected, within, str(sequence))

    @torch.no_grad()
    def read(self) -> Tensor:
        return self.cache.read_prompts()

    @torch.no_grad()
    def advance(self) -> Tensor:
        token_ids = [new_token(name, self.step) for name in self.names]
        self.step += 1
        for sequence, token_id in zip(self.sequences, token_ids, strict=True):
            sequence.append(token_id)
        return self.cache.next_logits(torch.tensor(token_ids))

    def compact(self, *gone: int) -> None:
        """The rows with these names have finished."""
        order = self.cache.compact([name not in gone for name in self.names])
        assert sorted(self.names[row] for row in order) == sorted(set(self.names) - set(gone))
        self.sequences, self.names = [self.sequences[row] for row in order], [self.names[row] for row in order]


PROMPTS = [[5, 6, 7, 8], [9], [10, 11, 12, 13, 14, 15, 16], [20, 21]]


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize(
    ("prompts", "counts"),
    [
        (PROMPTS[:1], [1]),
        (PROMPTS[:1], [5]),
        (PROMPTS, [1, 1, 1, 1]),
        (PROMPTS, [3, 3, 3, 3]),
        (PROMPTS, [1, 4, 2, 3]),
        ([[5, 6, 7]] * 3, [2, 2, 2]),  # nothing is hidden, every place has a row
    ],
    ids=str,
)
def test_logits_are_those_of_full_sequences(kind: str, prompts: list[list[int]], counts: list[int]) -> None:
    sampling = Sampling(random_network(kind), prompts, counts, max_tokens=6)
    sampling.check(sampling.read())
    for _ in range(5):
        sampling.check(sampling.advance())


@pytest.mark.parametrize("columns", [1, 3, 32])
def test_columns_are_added_as_completions_grow(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "COLUMNS", columns)
    sampling = Sampling(random_network("qwen3"), PROMPTS[:3], [2, 1, 3], max_tokens=80)
    sampling.check(sampling.read())
    for step in range(1, 70):
        found = sampling.advance()
        if step % 8 == 1 or step in (32, 33, 34, 64, 65, 66):
            sampling.check(found)


@pytest.mark.parametrize("most", [1, 5, 11, 8192])
def test_how_prompts_are_cut_for_reading_makes_no_difference(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PREFILL_TOKENS", most)
    sampling = Sampling(random_network("qwen2"), PROMPTS, [1, 2, 1, 3], max_tokens=4)
    sampling.check(sampling.read())
    for _ in range(3):
        sampling.check(sampling.advance())


# Names of the rows: 0 1 2 | 3 4 5 | 6 7 8 | 9 10 11
ENDINGS: dict[str, list[tuple[int, ...]]] = {
    "one by one": [(5,), (0,), (11,), (6,), (4,), (3,), (8, 7), (1,), (9,), (2,)],
    "a group at once": [(3, 4, 5), (0, 1, 2)],
    "the last group": [(9, 10, 11)],
    "a group and a place of each other": [(3, 4, 5, 0, 7, 11), (1, 6, 9)],
    "places only": [(0, 4, 8, 10), (2, 3, 7, 9)],
    "the first of each": [(0, 3, 6, 9)],
    "all but one": [(0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11)],
    "nothing": [()],
    "groups that stay without a row": [(0, 1, 2), (3, 4, 5)],
}


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_that_end_leave_the_others_as_they_were(kind: str, ending: str) -> None:
    sampling = Sampling(random_network(kind), PROMPTS, [3, 3, 3, 3], max_tokens=40)
    sampling.check(sampling.read())
    for gone in ENDINGS[ending]:
        sampling.check(sampling.advance())
        sampling.advance()
        sampling.compact(*gone)
        sampling.check(sampling.advance())


def test_rows_end_before_the_first_token_is_read_and_while_columns_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "COLUMNS", 2)
    sampling = Sampling(random_network("llama"), PROMPTS, [2, 1, 3, 2], max_tokens=40)
    sampling.read()
    sampling.compact(2, 0)  # a completion of one token
    sampling.check(sampling.advance())
    for gone in (3, 7, 1):
        sampling.check(sampling.advance())
        sampling.compact(gone)
        sampling.check(sampling.advance())


def shape_of(sampling: Sampling) -> tuple[int, int]:
    """Groups and places in memory."""
    own = sampling.cache._layers[0].own
    return own.shape[1], own.shape[3]


def test_the_cache_becomes_smaller_when_places_or_a_quarter_of_the_groups_are_empty() -> None:
    sampling = Sampling(random_network("llama"), PROMPTS, [3, 3, 3, 3], max_tokens=8)
    sampling.read()
    sampling.advance()
    sampling.compact(0, 3, 6)
    assert shape_of(sampling) == (4, 3)  # the last group still has three
    sampling.compact(10)
    assert shape_of(sampling) == (4, 2)
    sampling.compact(1, 2)
    assert shape_of(sampling) == (3, 2)
    sampling.check(sampling.advance())


def test_what_was_left_in_a_place_does_not_matter_even_if_it_is_no_number() -> None:
    """A row whose weights gave NaN has ended; the place is masked for the others."""
    sampling = Sampling(random_network("llama"), PROMPTS, [2, 2, 2, 2], max_tokens=8)
    sampling.read()
    sampling.advance()
    sampling.cache._layers[0].own[:, 0, :, 1] = torch.nan
    sampling.compact(1)
    sampling.check(sampling.advance())


@pytest.mark.parametrize("kind", FAMILY)
def test_logits_in_bfloat16_are_near(kind: str) -> None:
    """Off by 1.3 % of the largest logit at most when this was written."""
    network = random_network(kind, initializer_range=0.1)
    sampling = Sampling(network, PROMPTS, [1, 4, 2, 3], max_tokens=40, dtype=torch.bfloat16)
    sampling.check(sampling.read(), within=0.03)
    for _ in range(36):
        found = sampling.advance()
    sampling.check(found, within=0.03)
