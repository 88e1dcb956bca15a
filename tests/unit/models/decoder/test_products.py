"""Both kernels multiply alike, and which one multiplies is measured once, or said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from openrft.models.decoder import products
from openrft.models.decoder.products import Kernel, choose_kernel, grad_input, grad_weight, kernel, linear

HAS_ONEDNN = products._onednn() is not None and torch.backends.mkldnn.is_available()
KERNELS = ["torch", pytest.param("onednn", marks=pytest.mark.skipif(not HAS_ONEDNN, reason="torch without oneDNN"))]


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process, products of every size with the kernel; afterwards as before."""
    monkeypatch.setattr(products, "_chosen", None)
    monkeypatch.setattr(products, "SMALL_PRODUCT", 0)
    products.short_type_gain.cache_clear()
    yield
    products.short_type_gain.cache_clear()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ROWS: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda x: x,
    "every second": lambda x: x.repeat_interleave(2, dim=0)[::2],
    "columns of a wider product": lambda x: torch.cat([x, x + 1, x], dim=1)[:, x.shape[1] : 2 * x.shape[1]] - 1,
    "a part of a split": lambda x: torch.cat([x * 2, x], dim=1).split(x.shape[1], dim=1)[1],
    "transposed": lambda x: x.t().contiguous().t(),
}


@pytest.mark.parametrize("layout", ROWS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("num_rows", "num_in", "num_out"), [(1, 1, 1), (1, 24, 40), (7, 24, 40), (130, 96, 33)])
def test_products_are_the_plain_ones_however_their_factors_lie(
    num_rows: int, num_in: int, num_out: int, name: Kernel, layout: str
) -> None:
    choose_kernel(name)
    assert kernel() == name
    x, weight = ROWS[layout](random(num_rows, num_in)), random(num_out, num_in, seed=1)
    bias, gradient = random(num_out, seed=2), ROWS[layout](random(num_rows, num_out, seed=3))
    exact = [tensor.double() for tensor in (x, weight, bias, gradient)]
    assert torch.allclose(linear(x, weight).double(), exact[0] @ exact[1].T, atol=1e-4)
    assert torch.allclose(linear(x, weight, bias).double(), exact[0] @ exact[1].T + exact[2], atol=1e-4)
    assert torch.allclose(grad_input(gradient, weight).double(), exact[3] @ exact[1], atol=1e-4)
    assert torch.allclose(grad_weight(gradient, x).double(), exact[3].T @ exact[0], atol=1e-4)


@pytest.mark.parametrize("name", KERNELS)
def test_a_product_is_written_to_memory_of_its_own(name: Kernel) -> None:
    choose_kernel(name)
    x, weight = random(3, 4), random(5, 4, seed=1)
    product = linear(x, weight)
    assert product.shape == (3, 5)
    product.zero_()
    assert torch.equal(x, random(3, 4))
    assert torch.equal(weight, random(5, 4, seed=1))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_than_float32_are_torchs_own(name: Kernel, dtype: torch.dtype) -> None:
    choose_kernel(name)
    x, weight, gradient = random(6, 4).to(dtype), random(5, 4, seed=1).to(dtype), random(6, 5, seed=2).to(dtype)
    assert torch.equal(linear(x, weight), torch.nn.functional.linear(x, weight))
    assert torch.equal(grad_input(gradient, weight), gradient @ weight)
    assert torch.equal(grad_weight(gradient, x), gradient.t() @ x)


def measured(monkeypatch: pytest.MonkeyPatch, plain: float, onednn: float) -> Kernel:
    """The kernel that is chosen when a product takes so many seconds, first with torch's own, then with oneDNN."""
    monkeypatch.setattr(products, "_seconds", lambda *works: [plain, onednn])
    return kernel()


@pytest.mark.skipif(not HAS_ONEDNN, reason="torch without oneDNN")
@pytest.mark.parametrize(
    ("plain", "onednn", "chosen"), [(2.2, 1.0, "onednn"), (1.2, 1.0, "torch"), (1.0, 1.0, "torch"), (0.5, 1.0, "torch")]
)
def test_the_faster_kernel_multiplies_and_torchs_own_where_both_are_alike(
    plain: float, onednn: float, chosen: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured(monkeypatch, plain, onednn) == chosen


@pytest.mark.skipif(not HAS_ONEDNN, reason="torch without oneDNN")
def test_it_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(monkeypatch, 2.2, 1.0) == "onednn"
    monkeypatch.setattr(products, "_seconds", lambda *works: pytest.fail("measured again"))
    assert kernel() == "onednn"


def test_what_is_said_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_seconds", lambda *works: pytest.fail("measured"))
    choose_kernel("torch")
    assert kernel() == "torch"


def without_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_onednn", lambda: None)


def with_operator(monkeypatch: pytest.MonkeyPatch, operator: Callable[..., Tensor]) -> None:
    monkeypatch.setattr(products, "_onednn", lambda: operator)
    monkeypatch.setattr(products, "_seconds", lambda *works: pytest.fail("measured"))


def test_a_torch_without_the_operator_multiplies_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    without_operator(monkeypatch)
    assert kernel() == "torch"
    x, weight = random(3, 4), random(5, 4, seed=1)
    assert torch.equal(linear(x, weight), torch.nn.functional.linear(x, weight))


def test_a_resumed_run_whose_kernel_is_gone_measures_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    without_operator(monkeypatch)
    choose_kernel("onednn")
    assert kernel() == "torch"


def test_an_operator_that_cannot_run_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Tensor:
        raise RuntimeError("PyTorch is compiled without MKLDNN support")

    with_operator(monkeypatch, refuse)
    assert kernel() == "torch"


def test_an_operator_that_gives_other_numbers_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: Tensor, weight: Tensor, *_: object) -> Tensor:
        return torch.nn.functional.linear(x, weight) * 1.001

    with_operator(monkeypatch, wrong)
    assert kernel() == "torch"


def test_the_gain_of_the_short_type_is_a_quotient_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    choose_kernel("torch")
    seen: list[torch.dtype] = []

    def seconds(*works: Callable[[], Tensor]) -> list[float]:
        seen.extend(work().dtype for work in works)
        return [3.0, 2.0]

    monkeypatch.setattr(products, "_seconds", seconds)
    assert products.short_type_gain(torch.device("cpu")) == 1.5
    assert products.short_type_gain(torch.device("cpu")) == 1.5
    assert seen == [torch.float32, torch.bfloat16]  # once


def test_seconds_are_those_of_the_call_that_nobody_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    of_first, of_second = (3, 2, 5, 0.5, 4, 9, 1, 2, 3, 3, 3, 3), (7, 6, 8, 9, 0.25, 6, 6, 6, 6, 6, 6, 6)
    spans = [span for pair in zip(of_first, of_second, strict=True) for span in pair]
    clock = iter(value for number, span in enumerate(spans) for value in (10.0 * number, 10.0 * number + span))
    monkeypatch.setattr(products.time, "perf_counter", lambda: next(clock))
    assert products._seconds(lambda: torch.zeros(1), lambda: torch.ones(1)) == [0.5, 0.25]


@pytest.mark.skipif(not HAS_ONEDNN, reason="torch without oneDNN")
def test_small_products_are_torchs_own_because_a_call_of_the_other_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    choose_kernel("onednn")
    x, weight = random(4, 8), random(16, 8, seed=1)
    asked: list[tuple[int, ...]] = []
    operator = torch.ops.mkldnn._linear_pointwise

    def watched(*operands: Any) -> Tensor:
        asked.append(tuple(operands[0].shape))
        result: Tensor = operator(*operands)
        return result

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", watched)
    for limit, times in ((4 * 8 * 16 + 1, 0), (4 * 8 * 16, 1)):
        monkeypatch.setattr(products, "SMALL_PRODUCT", limit)
        linear(x, weight)
        assert len(asked) == times
