"""All layers of the decoder: hidden states with gradient, and the log-probabilities of chosen tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from openrft.models.decoder.attention import Attention
from openrft.models.decoder.block import Block, Kept, Shape, Store, norm, norm_backward
from openrft.models.decoder.flex import attention_for, is_fused
from openrft.models.decoder.footprint import Footprint, footprint_of
from openrft.models.decoder.projection import Gradients, Projection, add_gradient
from openrft.models.decoder.rows import Rows, pack_rows
from openrft.models.memory import free_bytes

FAMILY = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Model types whose layers are written out here. Others of the same shape may be added once a test has them."""

KEPT_SHARE = 0.6
"""Share of the free memory that a forward pass may keep for its backward pass; beyond it layers are computed twice."""

_SMALL = 64 << 20  # bytes that are there: asking the system takes longer than it may save

_STATIC_ROTATIONS = frozenset({"default", "linear", "llama3", "yarn"})  # the others depend on the sequence's length
_TOLERANCE = 1e-3
_SHORT_TOLERANCE = 0.1  # of bfloat16 weights: the two round in other places


class Decoder:
    """Computes with the parameters of a transformers network, in ``dtype``; the parameters stay the network's.

    Values and gradients are those of the network's own forward pass up to rounding. One decoder serves sampling and
    training, so that both see the same probabilities.
    """

    def __init__(self, network: Any, dtype: torch.dtype) -> None:
        inner, config = network.get_decoder(), network.config.get_text_config()
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.dtype = dtype
        self.shape = Shape(
            num_heads=config.num_attention_heads,
            num_key_heads=config.num_key_value_heads,
            head_dim=head_dim,
            epsilon=config.rms_norm_eps,
            dtype=dtype,
        )
        self.blocks = [Block(layer, self.shape) for layer in inner.layers]
        self.embedding: Any = inner.embed_tokens
        self.final_norm: torch.nn.Parameter = inner.norm.weight
        self.head = Projection([network.get_output_embeddings()], dtype)
        self._rotary = inner.rotary_emb
        self._config = config
        # Queries carry the scale of the scores.
        self._factors = torch.ones(self.shape.num_rotated, 1, device=self.final_norm.device)
        self._factors[: self.shape.num_heads] = head_dim**-0.5

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        device: torch.device = self.final_norm.device
        return device

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return int(self.embedding.weight.shape[0])

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All parameters that are read, tied ones once, in a stable order."""
        return list(dict.fromkeys(self._parameters()))

    def footprint(self, dtype: torch.dtype | None = None) -> Footprint:
        """What passes take in memory, in ``dtype`` or in that of this decoder."""
        dtype, shape = dtype or self.dtype, self.shape
        fused = is_fused(self.device, shape.num_heads, shape.num_key_heads, shape.head_dim, dtype)
        return footprint_of(self._config, dtype, self.device.type, is_fused=fused)

    def refresh(self) -> None:
        """Take over what an optimizer step has changed. Everything that computes calls it first."""
        for block in self.blocks:
            for projection in block.projections:
                projection.refresh()
        self.head.refresh()

    def turn(self, positions: Tensor) -> Tensor:
        """The rotation of every head at ``positions`` ``[N]``: complex ``[N, Q + K, D / 2]``."""
        angles = positions.float()[:, None] * self._rotary.inv_freq.float()[None, :]
        turn = torch.polar(torch.full_like(angles, self._rotary.attention_scaling), angles)
        return turn[:, None, :] * self._factors

    def embed(self, token_ids: Tensor) -> Tensor:
        """The stream before the first layer, float32 ``[N, H]`` from ``[N]``."""
        return torch.nn.functional.embedding(token_ids, self.embedding.weight.detach()).float()

    def hidden(self, rows: Rows) -> Tensor:
        """Normed hidden states ``[U, H]`` of the needed rows, with gradient where a parameter wants one."""
        self.refresh()
        trained = [parameter for parameter in self.parameters if parameter.requires_grad]
        if not torch.is_grad_enabled() or not trained:
            return self._forward(rows, self._attention(rows), keep=False)[0]
        hidden: Tensor = _Hidden.apply(self, rows, *trained)  # type: ignore[no-untyped-call]
        return hidden

    def read(self, rows: Rows, stores: Sequence[Store]) -> Tensor:
        """Normed hidden states ``[U, H]`` without gradient, each layer's keys and values shown to its store."""
        return self._forward(rows, self._attention(rows), keep=False, stores=stores)[0]

    def _forward(
        self, rows: Rows, attention: Attention, *, keep: bool, stores: Sequence[Store] = ()
    ) -> tuple[Tensor, list[Kept | Tensor], Tensor, Tensor]:
        """(normed hidden states, what each layer keeps, the last layer's stream, its final norm's scale).

        Where memory is short a layer keeps only the stream that came in, and the backward pass computes it once more.
        """
        turn, x = self.turn(rows.positions), self.embed(rows.token_ids)
        saved: list[Kept | Tensor] = []
        is_short = keep and self._is_short_of_memory(rows)
        for number, block in enumerate(self.blocks):
            store, is_last, before = stores[number] if stores else None, block is self.blocks[-1], x
            x, kept = block.forward(x, turn, rows, attention, is_last=is_last, keep=keep and not is_short, store=store)
            if keep:
                saved.append(before if kept is None else kept)
        hidden, scale = norm(x, self.final_norm, self.shape)
        return hidden, saved, x, scale

    def _attention(self, rows: Rows) -> Attention:
        shape = self.shape
        return attention_for(
            rows,
            num_heads=shape.num_heads,
            num_key_heads=shape.num_key_heads,
            head_dim=shape.head_dim,
            dtype=self.dtype,
        )

    def _is_short_of_memory(self, rows: Rows) -> bool:
        """Whether what a pass over ``rows`` would keep is more than a share of what is free."""
        size = self.footprint()
        probabilities = size.probabilities(rows, self.dtype)
        needed = size.layers(len(rows.token_ids), probabilities, recomputed=False) + size.head(len(rows.needed))
        return needed > _SMALL and needed > KEPT_SHARE * free_bytes(self.device)

    def _parameters(self) -> Iterator[torch.nn.Parameter]:
        yield self.embedding.weight
        for block in self.blocks:
            yield from block.norms
            for projection in block.projections:
                yield from projection.parameters
        yield self.final_norm
        yield from self.head.parameters


class _Hidden(torch.autograd.Function):
    """The whole decoder as one node of torch's graph."""

    @staticmethod
    def forward(ctx: Any, decoder: Decoder, rows: Rows, *trained: torch.nn.Parameter) -> Tensor:
        ctx.attention = decoder._attention(rows)
        hidden, ctx.saved, ctx.stream, ctx.scale = decoder._forward(rows, ctx.attention, keep=True)
        ctx.decoder, ctx.rows, ctx.trained = decoder, rows, trained
        return hidden

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Any, ...]:
        decoder, rows, attention = ctx.decoder, ctx.rows, ctx.attention
        gradients: Gradients = {}
        g = norm_backward(gradient[0], ctx.stream, ctx.scale, decoder.final_norm, gradients)
        turn = decoder.turn(rows.positions)
        for block in reversed(decoder.blocks):
            is_last, kept = block is decoder.blocks[-1], ctx.saved.pop()
            if isinstance(kept, Tensor):
                kept = block.forward(kept, turn, rows, attention, is_last=is_last, keep=True)[1]
            g = block.backward(g, kept, turn, rows, attention, gradients, is_last=is_last)
        _embed_backward(g, rows.token_ids, decoder.embedding, gradients)
        return (None, None, *(gradients.get(parameter) for parameter in ctx.trained))


def _embed_backward(g: Tensor, token_ids: Tensor, embedding: Any, gradients: Gradients) -> None:
    weight = embedding.weight
    if not weight.requires_grad:
        return
    if embedding.padding_idx is not None:  # as in transformers: its row does not train here
        g = g.masked_fill((token_ids == embedding.padding_idx)[:, None], 0)
    found = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device).index_add_(0, token_ids, g.float())
    add_gradient(gradients, weight, found)


def build_decoder(network: Any, dtype: torch.dtype) -> Decoder | None:
    """The decoder of ``network``, or None where it is not of the family.

    It has proved itself: on a small input its logits are those of the network's own forward pass.
    """
    if not _is_of_the_family(network):
        return None
    decoder = Decoder(network, dtype)
    return decoder if _agrees(decoder, network) else None


def _is_of_the_family(network: Any) -> bool:
    config = network.config.get_text_config()
    rotation = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    layer_types = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config.model_type in FAMILY
        and config.hidden_act == "silu"
        and rotation in _STATIC_ROTATIONS
        and layer_types == {"full_attention"}
        and (config.model_type != "mistral" or getattr(config, "sliding_window", None) is None)
        and not getattr(config, "mlp_bias", False)
    )


@torch.no_grad()
def _agrees(decoder: Decoder, network: Any) -> bool:
    """Compare the logits of a short prompt with two completions, in the network's own type."""
    size = decoder.vocabulary_size
    token_ids = [1 + (7 * place) % (size - 1) for place in range(9)]
    same = decoder if decoder.dtype == network.dtype else Decoder(network, network.dtype)
    rows, predicting = pack_rows([token_ids[:4]], [[token_ids[4:], token_ids[6:]]], decoder.device)
    found = same.head(same.hidden(rows)).float()[predicting]
    wanted = []
    for answer in (token_ids[4:], token_ids[6:]):
        whole = torch.tensor([[*token_ids[:4], *answer[:-1]]], device=decoder.device)
        wanted.append(network(input_ids=whole, use_cache=False).logits[0, 3:].float())
    expected = torch.cat(wanted)
    tolerance = _TOLERANCE if network.dtype == torch.float32 else _SHORT_TOLERANCE
    return bool((found - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item()))
