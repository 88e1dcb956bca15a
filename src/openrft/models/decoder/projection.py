"""Linear layers as the decoder reads them: in the compute type, several as one product where that costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from openrft.models.decoder.products import grad_input, grad_weight, linear

Gradients = dict[torch.nn.Parameter, Tensor]
"""What a backward pass found: a gradient per parameter, of the parameter's type and shape."""


def add_gradient(gradients: Gradients, parameter: torch.nn.Parameter, value: Tensor) -> None:
    """Add ``value`` to what is known of the gradient of ``parameter``."""
    value = value.to(parameter.dtype)
    known = gradients.get(parameter)
    gradients[parameter] = value if known is None else known.add_(value)


class Projection:
    """One or several linear layers that read the same rows: ``[N, in]`` to ``[N, out_1 + out_2 + …]``.

    Where the parameters have the compute type they are read in place. Otherwise they are cast into one matrix, and
    :meth:`refresh` casts anew what may have changed. LoRA layers (PEFT's) are computed beside their base:
    ``x W^T + scale (x A^T) B^T``, never merged, because merging into bfloat16 would round a young adapter away.
    """

    def __init__(self, modules: Sequence[torch.nn.Module], dtype: torch.dtype) -> None:
        self._modules: list[Any] = list(modules)
        self._dtype = dtype
        bases = [getattr(module, "base_layer", module) for module in self._modules]
        self._weights: list[torch.nn.Parameter] = [base.weight for base in bases]
        self._biases: list[torch.nn.Parameter | None] = [base.bias for base in bases]
        self._sizes = [weight.shape[0] for weight in self._weights]
        self._is_adapted = any(hasattr(module, "lora_A") for module in self._modules)
        self._seen: tuple[int, ...] = ()
        self._working: list[Tensor] = []  # one fused matrix, or the parameters themselves
        self._working_biases: list[Tensor | None] = []

    @property
    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """All that the layers read, adapters included."""
        yield from self._weights
        yield from (bias for bias in self._biases if bias is not None)
        for module in self._modules:
            if hasattr(module, "lora_A"):
                for name in module.lora_A:
                    yield module.lora_A[name].weight
                    yield module.lora_B[name].weight

    @property
    def num_outputs(self) -> int:
        """Numbers per row that come out."""
        return sum(self._sizes)

    def refresh(self) -> None:
        """Take over what has changed in the parameters since the last call.

        What trains is cast anew every time. Torch's version counters do not tell: a fused optimizer changes weights and
        leaves them as they are, and a copy that stays behind would sample and train on stale weights without a sign.
        """
        read = [*self._weights, *(bias for bias in self._biases if bias is not None)]
        seen = tuple(number for tensor in read for number in (tensor._version, tensor.data_ptr()))
        if seen == self._seen and not any(tensor.requires_grad for tensor in read):
            return
        weights = [weight.detach() for weight in self._weights]
        if weights[0].dtype == self._dtype:
            self._working = weights
            self._working_biases = [None if bias is None else bias.detach() for bias in self._biases]
        else:
            self._working = [torch.cat([weight.to(self._dtype) for weight in weights])]
            self._working_biases = [self._fused_bias()]
        self._seen = seen

    def __call__(self, x: Tensor) -> Tensor:
        """The layers' outputs side by side, ``[N, out]``."""
        if len(self._working) == 1:
            y = linear(x, self._working[0], self._working_biases[0])
        else:
            pairs = zip(self._working, self._working_biases, strict=True)
            y = torch.cat([linear(x, weight, bias) for weight, bias in pairs], dim=1)
        if self._is_adapted:
            for columns, a, b, scale in self._adapters():
                y[:, columns] += linear(linear(x, self._cast(a)), self._cast(b)) * scale
        return y

    def backward(self, gradient: Tensor, x: Tensor, gradients: Gradients) -> Tensor:
        """Gradient ``[N, in]`` of the rows ``x`` from that of the outputs ``[N, out]``; the parameters' are added."""
        sizes = self._sizes if len(self._working) > 1 else [sum(self._sizes)]
        parts = gradient.split(sizes, dim=1)
        gx = grad_input(parts[0], self._working[0])
        for part, weight in zip(parts[1:], self._working[1:], strict=True):
            gx += grad_input(part, weight)
        for columns, a, b, scale in self._adapters():
            part = gradient[:, columns] * scale
            inner = grad_input(part, self._cast(b))
            gx += grad_input(inner, self._cast(a))
            if a.requires_grad:
                add_gradient(gradients, a, grad_weight(inner, x))
                add_gradient(gradients, b, grad_weight(part, linear(x, self._cast(a))))
        self._add_weights(gradient, x, gradients)
        return gx

    def _add_weights(self, gradient: Tensor, x: Tensor, gradients: Gradients) -> None:
        trained = [weight.requires_grad for weight in self._weights]
        if all(trained):
            found = grad_weight(gradient, x).split(self._sizes)
            for weight, value in zip(self._weights, found, strict=True):
                add_gradient(gradients, weight, value)
        elif any(trained):
            for weight, part in zip(self._weights, gradient.split(self._sizes, dim=1), strict=True):
                if weight.requires_grad:
                    add_gradient(gradients, weight, grad_weight(part, x))
        for bias, part in zip(self._biases, gradient.split(self._sizes, dim=1), strict=True):
            if bias is not None and bias.requires_grad:
                add_gradient(gradients, bias, part.sum(0, dtype=torch.float32))

    def _adapters(self) -> Iterator[tuple[slice, torch.nn.Parameter, torch.nn.Parameter, float]]:
        """(columns of the output, A, B, scale) of every adapter that is switched on."""
        if not self._is_adapted:
            return
        start = 0
        for module, size in zip(self._modules, self._sizes, strict=True):
            columns = slice(start, start + size)
            start += size
            if not hasattr(module, "lora_A") or module.disable_adapters or module.merged:
                continue
            for name in module.active_adapters:
                if name in module.lora_A:
                    yield columns, module.lora_A[name].weight, module.lora_B[name].weight, float(module.scaling[name])

    def _cast(self, factor: torch.nn.Parameter) -> Tensor:
        return factor.detach().to(self._dtype)

    def _fused_bias(self) -> Tensor | None:
        if all(bias is None for bias in self._biases):
            return None
        parts = [
            torch.zeros(size, dtype=self._dtype, device=weight.device)
            if bias is None
            else bias.detach().to(self._dtype)
            for bias, size, weight in zip(self._biases, self._sizes, self._weights, strict=True)
        ]
        return torch.cat(parts)
