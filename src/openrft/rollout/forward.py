"""The policy's own forward pass, as decoding needs it: what the model accepts, and its modes meanwhile."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from openrft.errors import EngineError
from openrft.rollout.kv_cache import WaveCache, layer_windows


class PolicyForward:
    """Calls a transformers model, or a PEFT model around one, without copying or changing its weights."""

    def __init__(self, model: Any, autocast: torch.dtype | None = None) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
            raise EngineError("the native engine cannot generate with prompt-learning adapters; use LoRA instead")
        if base.config.is_encoder_decoder:
            raise EngineError(f"the native engine needs a decoder-only model, not {base.config.model_type!r}")
        self.model = model
        self._autocast = autocast
        self.config = base.config.get_text_config(decoder=True)
        layer_windows(self.config)  # refuses layers it does not know now rather than at the first prompt
        accepted = inspect.signature(base.forward).parameters
        self._options = {"use_cache": True} | ({"logits_to_keep": 1} if "logits_to_keep" in accepted else {})
        self._takes_positions = "position_ids" in accepted
        # The flag says that transformers itself hands this architecture finished 4D masks (with its static
        # cache).
        kinds = set(getattr(self.config, "layer_types", None) or ["full_attention"])
        self.takes_ready_masks = (
            getattr(base, "_can_compile_fullgraph", False)
            and self._takes_positions
            and self.config._attn_implementation in ("sdpa", "eager")
            and kinds <= {"full_attention", "sliding_attention"}
        )

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the hidden states."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.dtype

    @property
    def vocabulary_size(self) -> int:
        """Token ids are below this."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def token_bytes(self) -> int:
        """Memory of one token's keys and values in a cache."""
        config = self.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * heads * head_dim * self.dtype.itemsize)

    def last_logits(self, token_ids: Tensor, mask: Any, positions: Tensor, cache: WaveCache) -> Tensor:
        """Logits ``[B, V]`` after the last of ``token_ids`` ``[B, L]``; ``cache`` takes keys and values."""
        options = self._options | {"position_ids": positions} if self._takes_positions else self._options
        output = self.model(input_ids=token_ids, attention_mask=mask, past_key_values=cache, **options)
        logits: Tensor = output.logits[:, -1]
        return logits

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Evaluation mode without gradients; afterwards every module is as it was.

        Plain ``no_grad`` and not ``inference_mode``: models may keep tensors made during a forward (rotary
        tables that grow, for instance), and an inference tensor kept there would break the next training
        step.
        """
        training = [module for module in self.model.modules() if module.training]
        for module in training:
            module.training = False
        try:
            with torch.no_grad(), torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None):
                yield
        finally:
            # Inside an autocast region the weights' casts are kept, and those made here would hide the
            # weights from the gradient of a training step in the same region.
            torch.clear_autocast_cache()
            for module in training:
                module.training = True
