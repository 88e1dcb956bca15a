"""From hidden states to logits, for chosen positions only.

The head of a language model is its most expensive layer, and most positions' logits are never read. Some
architectures shape their logits after the head (Gemma caps them, Granite and Cohere scale them); ``check_head``
proves at load time that nothing else happens, so an unknown shaping is a refusal and never a silent error.
"""

from __future__ import annotations

from typing import Any

import torch

from openrft.errors import ModelError


def decoder_of(network: Any) -> Any:
    """The module that turns token ids into hidden states: the network without its head."""
    return network.get_decoder()


def logits_of(network: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Logits ``[…, V]`` in fp32 for hidden states ``[…, hidden]`` of the decoder's last layer."""
    config = network.config.get_text_config()
    logits: torch.Tensor = network.get_output_embeddings()(hidden)
    scaling = getattr(config, "logits_scaling", None)  # Granite divides
    if scaling is not None:
        logits = logits / scaling
    scale = getattr(config, "logit_scale", None)  # Cohere multiplies
    if scale is not None:
        logits = logits * scale
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma 2 and 3
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits.float()


@torch.no_grad()
def check_head(network: Any) -> None:
    """Compare decoder + :func:`logits_of` with the network's own forward pass on three tokens.

    Raises :class:`ModelError` when they differ: training on such logits would be silently wrong.
    """
    vocabulary = network.get_input_embeddings().num_embeddings
    tokens = torch.tensor([[1, vocabulary // 2, vocabulary - 1]], device=network.device)
    expected = network(input_ids=tokens, use_cache=False).logits.float()
    found = logits_of(network, decoder_of(network)(input_ids=tokens, use_cache=False).last_hidden_state)
    if not torch.isfinite(expected).all():
        raise ModelError("the model's logits are not finite on a plain input; its weights are damaged", param="model")
    gap = (expected - found).abs().max().item()
    if gap > 1e-3 * max(1.0, expected.abs().max().item()):
        raise ModelError(
            f"{type(network).__name__} shapes its logits in a way openrft does not know (gap {gap:.3g}); "
            "please report the architecture",
            param="model",
        )
