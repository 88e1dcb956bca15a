"""One layer of the decoder, forward and backward, with what the one keeps for the other.

    x ─ norm ─ qkv ─ (head norms) ─ rotation ─ attention ─ out ─ + ─ norm ─ gate, up ─ silu(gate) up ─ down ─ +
    └───────────────────────────────────────────────────────────┘ └──────────────────────────────────────────┘

The stream ``x`` and the norms are float32 whatever the compute type of the products, as under autocast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from openrft.models.decoder.attention import Attended, Attention
from openrft.models.decoder.projection import Gradients, Projection, add_gradient
from openrft.models.decoder.rows import Rows

Store = Callable[[Tensor, Tensor], None]
"""Takes the keys and values of a layer's rows, ``[N, K, D]`` each."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes that all layers share."""

    num_heads: int  # Q
    num_key_heads: int  # K
    head_dim: int  # D
    epsilon: float  # of the norms
    dtype: torch.dtype  # of the products

    @property
    def num_rotated(self) -> int:
        """Heads that are rotated: queries and keys."""
        return self.num_heads + self.num_key_heads


@dataclass(slots=True)
class Kept:
    """What a layer's backward pass reads."""

    x: Tensor  # [N, H] the stream that came in
    scale: Tensor  # [N, 1] of the first norm
    normed: Tensor  # [N, H]
    qkv: Tensor  # [N, (Q + 2 K) D] before the head norms
    head_scale: Tensor | None  # [N, Q + K, 1]
    rotated: Tensor  # [N, Q + K, D]
    attended: Attended
    mixed: Tensor  # [N, Q, D]
    middle: Tensor  # [U, H] the stream after attention; U = N but in the last layer
    middle_scale: Tensor  # [U, 1]
    middle_normed: Tensor  # [U, H]
    gate_up: Tensor  # [U, 2 I]
    activated: Tensor  # [U, I]


class Block:
    """The parameters of one layer and what is computed with them."""

    def __init__(self, layer: Any, shape: Shape) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.shape = shape
        self.qkv = Projection([attention.q_proj, attention.k_proj, attention.v_proj], shape.dtype)
        self.out = Projection([attention.o_proj], shape.dtype)
        self.gate_up = Projection([mlp.gate_proj, mlp.up_proj], shape.dtype)
        self.down = Projection([mlp.down_proj], shape.dtype)
        self.norm: torch.nn.Parameter = layer.input_layernorm.weight
        self.middle_norm: torch.nn.Parameter = layer.post_attention_layernorm.weight
        self.head_norms: tuple[torch.nn.Parameter, torch.nn.Parameter] | None = None
        if hasattr(attention, "q_norm"):
            self.head_norms = (attention.q_norm.weight, attention.k_norm.weight)

    @property
    def projections(self) -> tuple[Projection, ...]:
        """The layer's products."""
        return (self.qkv, self.out, self.gate_up, self.down)

    @property
    def norms(self) -> tuple[torch.nn.Parameter, ...]:
        """The layer's norms."""
        return (self.norm, self.middle_norm, *(self.head_norms or ()))

    def forward(
        self,
        x: Tensor,
        turn: Tensor,
        rows: Rows,
        attention: Attention,
        *,
        is_last: bool,
        keep: bool,
        store: Store | None = None,
    ) -> tuple[Tensor, Kept | None]:
        """The stream after this layer, ``[N, H]`` from ``[N, H]``; of the last layer only the needed rows ``[U, H]``.

        ``store`` is shown the rows' keys and values, ``[N, K, D]`` each.
        """
        attended = Attended() if keep else None
        normed, scale = norm(x, self.norm, self.shape)
        qkv = self.qkv(normed)
        rotated, head_scale = self.rotate(qkv, turn)
        q, k, v = self.split(rotated, qkv)
        if store is not None:
            store(k, v)
        mixed = attention.attend(q, k, v, only_last=is_last, keep=attended)
        read = mixed.flatten(1)
        middle = x[rows.needed] if is_last else x
        middle = middle + self.out(read[rows.needed] if is_last else read)
        middle_normed, middle_scale = norm(middle, self.middle_norm, self.shape)
        gate_up = self.gate_up(middle_normed)
        activated = activate(gate_up)
        y = middle + self.down(activated)
        if attended is None:
            return y, None
        return y, Kept(
            x, scale, normed, qkv, head_scale, rotated, attended, mixed,
            middle, middle_scale, middle_normed, gate_up, activated,
        )  # fmt: skip

    def backward(
        self,
        gy: Tensor,
        kept: Kept,
        turn: Tensor,
        rows: Rows,
        attention: Attention,
        gradients: Gradients,
        *,
        is_last: bool,
    ) -> Tensor:
        """Gradient ``[N, H]`` of the stream that came in from that of what went out; the parameters' are added."""
        shape = self.shape
        low = gy.to(shape.dtype)
        of_activated = self.down.backward(low, kept.activated, gradients)
        of_gate_up = _activate_backward(of_activated, kept.gate_up)
        of_normed = self.gate_up.backward(of_gate_up, kept.middle_normed, gradients)
        gm = norm_backward(of_normed, kept.middle, kept.middle_scale, self.middle_norm, gradients).add_(gy)
        read = kept.mixed.flatten(1)
        of_read = self.out.backward(gm.to(shape.dtype), read[rows.needed] if is_last else read, gradients)
        if is_last:  # rows that nobody read have no gradient from here
            gm = gm.new_zeros(kept.x.shape).index_copy_(0, rows.needed, gm)
            of_read = of_read.new_zeros(read.shape).index_copy_(0, rows.needed, of_read)
        gqkv = torch.zeros_like(kept.qkv)
        parts = gqkv.view(len(gqkv), -1, shape.head_dim)
        of_heads = parts.split([shape.num_heads, shape.num_key_heads, shape.num_key_heads], dim=1)
        q, k, v = self.split(kept.rotated, kept.qkv)
        attention.backward(
            of_read.view_as(kept.mixed), kept.mixed, q, k, v, of_heads, only_last=is_last, kept=kept.attended
        )
        self._rotate_backward(parts, kept, turn, gradients)
        of_normed = self.qkv.backward(gqkv, kept.normed, gradients)
        return norm_backward(of_normed, kept.x, kept.scale, self.norm, gradients).add_(gm)

    def rotate(self, qkv: Tensor, turn: Tensor) -> tuple[Tensor, Tensor | None]:
        """Queries and keys ``[N, Q + K, D]`` with their positions in them, and what the head norms divided by.

        Rotated are the pairs (d, d + D/2), as complex numbers; they come out side by side. A product of a query and a
        key does not depend on the order of the numbers in both.
        """
        shape = self.shape
        heads = qkv.view(len(qkv), -1, shape.head_dim)[:, : shape.num_rotated].float()
        head_scale, head_weights = None, self.head_weights()
        if head_weights is not None:
            head_scale = _inverse_rms(heads, shape.epsilon)
            heads = (heads * head_scale).mul_(head_weights)
        first, second = heads.chunk(2, dim=-1)
        rotated = torch.view_as_real(torch.complex(first, second).mul_(turn)).flatten(2)
        return rotated.to(shape.dtype), head_scale

    def split(self, rotated: Tensor, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``[N, Q, D]``, keys and values ``[N, K, D]``."""
        shape = self.shape
        v = qkv.view(len(qkv), -1, shape.head_dim)[:, shape.num_rotated :]
        return rotated[:, : shape.num_heads], rotated[:, shape.num_heads :], v

    def begin(self, x: Tensor, turn: Tensor, head_weights: Tensor | None) -> Tensor:
        """Heads ``[R, Q + 2 K, D]`` of the stream ``[R, H]``: rotated queries and keys, and values; nothing is kept.

        ``head_weights`` are :meth:`head_weights`, which do not change from token to token.
        """
        shape = self.shape
        parts = self.qkv(lone_norm(x, self.norm, shape)).view(len(x), -1, shape.head_dim)
        heads = parts[:, : shape.num_rotated].float()
        if head_weights is not None:
            heads = torch.rms_norm(heads, (shape.head_dim,), None, shape.epsilon).mul_(head_weights)
        half = shape.head_dim // 2
        rotated = torch.complex(heads[..., :half], heads[..., half:]).mul_(turn)
        parts[:, : shape.num_rotated] = torch.view_as_real(rotated).flatten(2)
        return parts

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The stream after this layer from that before it and what attention ``[R, Q D]`` gave; nothing is kept."""
        middle = x + self.out(mixed)
        gate_up = self.gate_up(lone_norm(middle, self.middle_norm, self.shape))
        return middle.add_(self.down(activate(gate_up)))

    def head_weights(self) -> Tensor | None:
        """The norms of queries and keys, head by head: ``[Q + K, D]``; None without."""
        if self.head_norms is None:
            return None
        of_query, of_key = (weight.detach().float() for weight in self.head_norms)
        shape = self.shape
        return torch.cat([of_query.expand(shape.num_heads, -1), of_key.expand(shape.num_key_heads, -1)])

    def _rotate_backward(self, parts: Tensor, kept: Kept, turn: Tensor, gradients: Gradients) -> None:
        """Turn the gradients of rotated queries and keys in ``parts`` ``[N, Q + 2 K, D]`` into those before."""
        shape = self.shape
        of_rotated = parts[:, : shape.num_rotated].float().view(len(parts), shape.num_rotated, -1, 2)
        back = torch.view_as_complex(of_rotated).mul(turn.conj())
        g = torch.cat([back.real, back.imag], dim=-1)
        head_weights = self.head_weights()
        if self.head_norms is not None and head_weights is not None and kept.head_scale is not None:
            heads = kept.qkv.view(parts.shape)[:, : shape.num_rotated].float().mul_(kept.head_scale)
            of_weights = (g * heads).sum(0)
            for weight, part in zip(
                self.head_norms, of_weights.split([shape.num_heads, shape.num_key_heads]), strict=True
            ):
                if weight.requires_grad:
                    add_gradient(gradients, weight, part.sum(0))
            g *= head_weights
            g -= heads.mul_((g * heads).mean(-1, keepdim=True))
            g *= kept.head_scale
        parts[:, : shape.num_rotated] = g


def norm(x: Tensor, weight: torch.nn.Parameter, shape: Shape) -> tuple[Tensor, Tensor]:
    """RMS norm (arXiv:1910.07467) of ``[N, H]``, and one over the root mean square of each row ``[N, 1]``."""
    scale = _inverse_rms(x, shape.epsilon)
    return (x * scale).mul_(weight.detach()).to(shape.dtype), scale


def lone_norm(x: Tensor, weight: torch.nn.Parameter, shape: Shape) -> Tensor:
    """:func:`norm` without what a backward pass would need."""
    return torch.rms_norm(x, (x.shape[-1],), weight.detach().to(x.dtype), shape.epsilon).to(shape.dtype)


def norm_backward(g: Tensor, x: Tensor, scale: Tensor, weight: torch.nn.Parameter, gradients: Gradients) -> Tensor:
    """Gradient ``[N, H]`` of ``x`` from that of the normed rows; the weight's is added."""
    normed, g = x * scale, g.to(x.dtype)
    weighted = g * weight.detach()
    if weight.requires_grad:
        add_gradient(gradients, weight, (g * normed).sum(0))
    weighted -= normed.mul_((weighted * normed).mean(-1, keepdim=True))
    return weighted.mul_(scale)


def _inverse_rms(x: Tensor, epsilon: float) -> Tensor:
    return x.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()


def activate(gate_up: Tensor) -> Tensor:
    """``silu(gate) up`` ``[N, I]``."""
    gate, up = gate_up.chunk(2, dim=1)
    return torch.nn.functional.silu(gate).mul_(up)


def _activate_backward(g: Tensor, gate_up: Tensor) -> Tensor:
    """Gradient of gate and up ``[N, 2 I]`` from that of ``silu(gate) up`` ``[N, I]``."""
    gate, up = gate_up.chunk(2, dim=1)
    found = torch.empty_like(gate_up)
    of_gate, of_up = found.chunk(2, dim=1)
    torch.mul(g, torch.nn.functional.silu(gate), out=of_up)
    torch.ops.aten.silu_backward.grad_input(g * up, gate, grad_input=of_gate)
    return found
