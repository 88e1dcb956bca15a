"""Random networks of the decoder's family, and log-probabilities by the book: each rollout a sequence of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from random_models import SIZE

FAMILY: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": False},  # queries, keys and values have biases
    "qwen3": {"tie_word_embeddings": True},  # heads have norms
}


def random_network(kind: str, *, seed: int = 0, **options: Any) -> Any:
    """A network whose norms and biases are no ones and zeros either."""
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZE, **FAMILY[kind], **options}))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    return network.eval()


def exact_copy(network: Any) -> Any:
    """The same weights in float64."""
    return copy.deepcopy(network).double()


def plain_logprobs(
    network: Any,
    prompts: Sequence[list[int]],
    completions: Sequence[Sequence[list[int]]],
    *,
    temperature: float = 1.0,
    allowed_NV: Tensor | None = None,
) -> Tensor:
    """Log-probability ``[N]`` of every completion token, rollout after rollout, by the network's own forward pass."""
    logits, targets = [], []
    for prompt, answers in zip(prompts, completions, strict=True):
        for answer in answers:
            whole = network(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
            logits.append(whole[len(prompt) - 1 : -1])
            targets += answer
    scaled = torch.cat(logits) / temperature
    if allowed_NV is not None:
        scaled = scaled.masked_fill(~allowed_NV, -torch.inf)
    return torch.log_softmax(scaled, dim=-1).gather(1, torch.tensor(targets)[:, None]).squeeze(1)


def gradients_of(network: Any) -> dict[str, Tensor]:
    """What a backward pass left, by name; parameters without a gradient are missing."""
    return {name: tensor.grad for name, tensor in network.named_parameters() if tensor.grad is not None}


def assert_near(found: Tensor, expected: Tensor, within: float, name: str = "") -> None:
    """``within`` is a share of the largest number that was expected, or of 1."""
    assert found.shape == expected.shape, name
    gap = (found.double() - expected.double()).abs().max().item() if found.numel() else 0.0
    allowed = within * max(1.0, expected.abs().max().item() if expected.numel() else 0.0)
    assert gap <= allowed, f"{name}: differs by {gap:.3g}, more than {allowed:.3g}"
