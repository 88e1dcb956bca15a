"""Log-probabilities of chosen tokens and their gradients, whatever the size of a chunk and whatever is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from openrft.models.decoder import Choice, chosen, chosen_and_likeliest, chosen_logprobs
from openrft.models.decoder.projection import Projection

TARGETS = torch.tensor([3, 0, 19, 7, 7, 4, 12])


def head_of(bias: bool = False) -> tuple[torch.nn.Linear, Projection]:
    torch.manual_seed(0)
    module = torch.nn.Linear(6, 20, bias=bias)
    read = Projection([module], torch.float32)
    read.refresh()
    return module, read


def by_the_book(module: torch.nn.Linear, hidden: Tensor, choice: Choice) -> Tensor:
    logits = module(hidden).double() / choice.temperature
    if choice.allowed_MV is not None and choice.pattern_N is not None:
        logits = logits.masked_fill(~choice.allowed_MV[choice.pattern_N], -torch.inf)
    return torch.log_softmax(logits, dim=-1).gather(1, choice.targets_N[:, None]).squeeze(1)


ALLOWED = torch.zeros(2, 20, dtype=torch.bool)
ALLOWED[0, :13] = ALLOWED[1, 3::4] = True
CHOICES = {
    "plain": Choice(TARGETS, 1.0),
    "warm": Choice(TARGETS, 1.7),
    "masked": Choice(TARGETS, 0.6, ALLOWED, torch.tensor([0, 0, 1, 1, 0, 0, 0])),
    "one token": Choice(TARGETS[:1], 1.0),
}


@pytest.mark.parametrize("kept", [1 << 20, 0])
@pytest.mark.parametrize("numbers", [1, 40, 79, 1 << 20])  # one row, two, three, all
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", CHOICES)
def test_values_and_gradients_are_those_of_a_log_softmax(
    name: str, bias: bool, numbers: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "CHUNK_NUMBERS", numbers)
    monkeypatch.setattr(chosen, "KEPT_NUMBERS", kept)
    choice = CHOICES[name]
    module, read = head_of(bias)
    hidden = torch.randn(len(choice.targets_N), 6, requires_grad=True)
    g = torch.randn(len(hidden))
    expected = by_the_book(module, hidden, choice)
    wanted = torch.autograd.grad(expected, [hidden, *module.parameters()], g.double())
    found = chosen_logprobs(hidden, read, choice)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=1e-5)
    for got, gradient in zip(torch.autograd.grad(found, [hidden, *module.parameters()], g), wanted, strict=True):
        assert torch.allclose(got, gradient, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(chosen_logprobs(hidden, read, choice), found)


@pytest.mark.parametrize("numbers", [1, 40, 1 << 20])  # one row, two, all
@pytest.mark.parametrize("name", CHOICES)
def test_a_target_is_the_likeliest_where_no_logit_is_higher(
    name: str, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "CHUNK_NUMBERS", numbers)
    module, read = head_of()
    hidden = torch.randn(len(CHOICES[name].targets_N), 6, requires_grad=True)
    every = torch.arange(20).expand(len(hidden), -1)
    likeliest = torch.stack([by_the_book(module, hidden, replace(CHOICES[name], targets_N=one)) for one in every.T])
    best = likeliest.argmax(0)
    targets = torch.where(torch.arange(len(hidden)) % 2 == 0, best, CHOICES[name].targets_N)
    choice = replace(CHOICES[name], targets_N=targets)
    logprobs, hits = chosen_and_likeliest(hidden, read, choice)
    assert torch.equal(hits, targets == best)
    assert torch.equal(logprobs, chosen_logprobs(hidden, read, choice))
    logprobs.sum().backward()  # hits have no gradient and do not stand in the way of the others'
    with torch.no_grad():
        assert torch.equal(chosen_and_likeliest(hidden, read, choice)[1], hits)


def test_a_frozen_head_passes_the_gradient_on_and_has_none() -> None:
    module, read = head_of()
    module.requires_grad_(False)
    hidden = torch.randn(7, 6, requires_grad=True)
    (wanted,) = torch.autograd.grad(by_the_book(module, hidden, CHOICES["plain"]).sum(), hidden)
    chosen_logprobs(hidden, read, CHOICES["plain"]).sum().backward()
    assert hidden.grad is not None
    assert torch.allclose(hidden.grad, wanted, atol=1e-5)
    assert module.weight.grad is None


@pytest.mark.parametrize("gap", [10.0, 68.0, 70.0, 86.0, 88.0, 95.0, 104.0, 500.0])
def test_a_log_probability_is_exact_however_small_the_probability(gap: float) -> None:
    module, read = head_of()
    with torch.no_grad():
        module.weight.zero_()
        module.weight[3, 0] = -gap
    hidden = torch.tensor([[1.0, 0, 0, 0, 0, 0]], requires_grad=True)
    choice = Choice(torch.tensor([3]), 1.0)
    found = chosen_logprobs(hidden, read, choice)
    expected = by_the_book(module, hidden, choice)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    (got,) = torch.autograd.grad(found, hidden)
    (wanted,) = torch.autograd.grad(expected, hidden)
    assert torch.allclose(got, wanted, rtol=1e-5)


def test_weights_that_are_not_numbers_are_seen_in_the_result() -> None:
    module, read = head_of()
    with torch.no_grad():
        module.weight[5, 2] = torch.nan
    assert chosen_logprobs(torch.randn(7, 6), read, CHOICES["plain"]).isnan().all()
