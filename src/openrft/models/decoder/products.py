"""Matrix products of a linear layer, forward and backward, by the kernel that is fastest on this machine.

In float32 torch multiplies with MKL, which on processors of other makers than its own uses half of the vector unit or
less. oneDNN, which torch ships as well, does not: on an AMD EPYC (Zen 5) it is 2.2 times as fast. Which of the two a
machine gets is measured once, in a few milliseconds. In bfloat16 torch uses oneDNN anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

Kernel = Literal["torch", "onednn"]

SMALL_PRODUCT = 1 << 20
"""Multiplications below which oneDNN's ten microseconds per call cost more than it saves."""

_WORTH_IT = 1.25
"""How much faster oneDNN must be: where both are alike, a run shall not depend on the noise of a measurement."""

_chosen: Kernel | None = None


def kernel() -> Kernel:
    """What multiplies float32 matrices in this process; measured on the first call."""
    global _chosen
    if _chosen is None:
        _chosen = _measure()
    return _chosen


def choose_kernel(name: Kernel) -> None:
    """Multiply with ``name`` from now on: a resumed run must round as it did before. Unavailable ones are left."""
    global _chosen
    if name == "torch" or _onednn() is not None:
        _chosen = name


@lru_cache(maxsize=4)
def short_type_gain(device: torch.device) -> float:
    """How many times as fast a product is in bfloat16 as in float32, both by the kernels used here."""
    if device.type != "cpu":
        return 2.0 if torch.cuda.is_bf16_supported() else 1.0
    x, weight = torch.linspace(-1, 1, 512 * 384).view(512, 384), torch.linspace(-1, 1, 1024 * 384).view(1024, 384)
    short_x, short_weight = x.bfloat16(), weight.bfloat16()
    long, short = _seconds(lambda: linear(x, weight), lambda: linear(short_x, short_weight))
    return long / short


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x weight^T + bias``: ``[N, out]`` from ``[N, in]`` and ``[out, in]``."""
    if _is_for_onednn(x, weight):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product
    return torch.nn.functional.linear(x, weight, bias)


def grad_input(gradient: Tensor, weight: Tensor) -> Tensor:
    """``gradient weight``: ``[N, in]`` from ``[N, out]`` and ``[out, in]``."""
    if _is_for_onednn(gradient, weight):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(gradient, weight.t(), None, "none", [], "")
        return product
    return gradient @ weight


def grad_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """``gradient^T x``: ``[out, in]`` from ``[N, out]`` and ``[N, in]``."""
    if _is_for_onednn(gradient, x):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(gradient.t(), x.t(), None, "none", [], "")
        return product
    return gradient.t() @ x


def _is_for_onednn(x: Tensor, other: Tensor) -> bool:
    if x.dtype != torch.float32 or x.device.type != "cpu" or kernel() != "onednn":
        return False
    return x.numel() * max(other.shape) >= SMALL_PRODUCT


def _onednn() -> Any:
    """The operator that torch's own compiler uses for linear layers on CPUs, or None where torch lacks it."""
    try:
        return torch.ops.mkldnn._linear_pointwise
    except AttributeError:
        return None


def _measure() -> Kernel:
    operator = _onednn()
    if operator is None:
        return "torch"
    x, weight = torch.linspace(-1, 1, 64 * 384).view(64, 384), torch.linspace(-1, 1, 1024 * 384).view(1024, 384)
    theirs = torch.nn.functional.linear(x, weight)
    try:
        ours = operator(x, weight, None, "none", [], "")
    except (RuntimeError, NotImplementedError):  # built without oneDNN
        return "torch"
    if not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-3):
        return "torch"
    plain, onednn = _seconds(
        lambda: torch.nn.functional.linear(x, weight), lambda: operator(x, weight, None, "none", [], "")
    )
    return "onednn" if plain > _WORTH_IT * onednn else "torch"


def _seconds(*works: Callable[[], Tensor]) -> list[float]:
    """Of each the shortest of some calls, taken in turn and with one thread: what nobody disturbed."""
    threads, best = torch.get_num_threads(), [float("inf")] * len(works)
    torch.set_num_threads(1)
    try:
        for _ in range(12):
            for number, work in enumerate(works):
                started = time.perf_counter()
                work()
                best[number] = min(best[number], time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return best
