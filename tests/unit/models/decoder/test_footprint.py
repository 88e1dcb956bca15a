"""Bytes are counted as they are taken, and where they are too many, layers are computed twice to the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from openrft.models.decoder import Choice, Decoder, build_decoder, chosen_logprobs, pack_rows
from openrft.models.decoder import decoder as decoder_module
from openrft.models.decoder.attention import Attended
from openrft.models.decoder.block import Kept
from plain_forward import FAMILY, gradients_of, random_network

CPU = torch.device("cpu")
SHAPES: dict[str, tuple[list[int], list[list[int]]]] = {
    "long prompts": ([90, 70, 85], [[6, 9], [8, 3], [12, 7]]),
    "long completions": ([5, 6], [[80, 60, 75, 70], [90, 90]]),
    "one of each": ([40], [[40]]),
    "many": ([30] * 6, [[20, 18, 25, 22]] * 6),
}


def packed(shape: str) -> tuple[list[list[int]], list[list[list[int]]]]:
    prompts, completions = SHAPES[shape]
    return (
        [[(7 * place + number) % 250 for place in range(length)] for number, length in enumerate(prompts)],
        [[[(5 * place + length) % 250 for place in range(length)] for length in lengths] for lengths in completions],
    )


def tensors_of(kept: Any) -> Iterator[Tensor]:
    for field in fields(kept):
        value = getattr(kept, field.name)
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Attended):
            yield from (part for pair in value.kept or () for part in pair if part is not None)


def bytes_of(tensors: Iterator[Tensor]) -> int:
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def decoder_of(network: Any, dtype: torch.dtype = torch.float32) -> Decoder:
    decoder = build_decoder(network, dtype)
    assert decoder is not None
    return decoder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", FAMILY)
def test_what_a_pass_keeps_is_what_was_counted(kind: str, shape: str, dtype: torch.dtype) -> None:
    decoder = decoder_of(random_network(kind, num_hidden_layers=6), dtype)
    rows, _ = pack_rows(*packed(shape), CPU)
    hidden = decoder.hidden(rows)
    assert hidden.grad_fn is not None
    saved = hidden.grad_fn.saved
    assert all(isinstance(kept, Kept) for kept in saved)
    size = decoder.footprint()
    counted = size.kept(len(rows.token_ids), size.probabilities(rows, dtype))
    taken = bytes_of(tensor for kept in saved for tensor in tensors_of(kept))
    assert counted == pytest.approx(taken, rel=0.2)


def logprobs_of(decoder: Decoder, shape: str) -> Tensor:
    prompts, completions = packed(shape)
    rows, predicting = pack_rows(prompts, completions, CPU)
    targets = torch.tensor([token for answers in completions for answer in answers for token in answer])
    return chosen_logprobs(decoder.hidden(rows)[predicting], decoder.head, Choice(targets, 1.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", FAMILY)
def test_layers_that_are_computed_twice_give_the_very_same_gradients(
    kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for free in (1 << 40, 1):
        network = random_network(kind)
        decoder = decoder_of(network, dtype)
        monkeypatch.setattr(decoder_module, "_SMALL", 0)
        monkeypatch.setattr(decoder_module, "free_bytes", lambda device, free=free: free)
        logprobs = logprobs_of(decoder, "many")
        logprobs.square().sum().backward()
        found.append((logprobs.detach(), gradients_of(network)))
    (values, gradients), (again, recomputed) = found
    assert torch.equal(values, again)
    assert gradients.keys() == recomputed.keys()
    assert all(torch.equal(gradient, recomputed[name]) for name, gradient in gradients.items())


def test_of_a_layer_that_is_computed_twice_only_the_stream_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoder_of(random_network("llama"))
    monkeypatch.setattr(decoder_module, "_SMALL", 0)
    monkeypatch.setattr(decoder_module, "free_bytes", lambda device: 1)
    rows, _ = pack_rows(*packed("many"), CPU)
    hidden = decoder.hidden(rows)
    assert hidden.grad_fn is not None
    saved = hidden.grad_fn.saved
    size = decoder.footprint()
    assert all(isinstance(kept, Tensor) for kept in saved)
    assert bytes_of(iter(saved)) == len(saved) * len(rows.token_ids) * size.stream_row
    assert size.layers(len(rows.token_ids), 0, recomputed=True) > bytes_of(iter(saved))
