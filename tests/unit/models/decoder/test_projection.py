"""Linear layers side by side: their values and gradients; a change of a parameter is seen, and only a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn import Linear

from openrft.models.decoder import projection
from openrft.models.decoder.projection import Gradients, Projection


def layers(*sizes: int, bias: tuple[bool, ...] | None = None) -> list[Linear]:
    """Linear layers from 6 numbers, to ``sizes``."""
    torch.manual_seed(0)
    has_bias = bias or (False,) * len(sizes)
    return [Linear(6, size, bias=has) for size, has in zip(sizes, has_bias, strict=True)]


def side_by_side(modules: list[Any], x: Tensor) -> Tensor:
    return torch.cat([module(x) for module in modules], dim=1)


@pytest.mark.parametrize("bias", [(False, False, False), (True, True, True), (True, False, True)], ids=str)
@pytest.mark.parametrize("sizes", [(8,), (8, 4, 4), (5, 3)], ids=str)
def test_values_and_gradients_are_those_of_the_layers(sizes: tuple[int, ...], bias: tuple[bool, ...]) -> None:
    modules = layers(*sizes, bias=bias[: len(sizes)])
    x = torch.randn(7, 6, requires_grad=True)
    expected = side_by_side(modules, x)
    g = torch.randn_like(expected)
    expected.backward(g)
    read = Projection(modules, torch.float32)
    read.refresh()
    assert read.num_outputs == sum(sizes)
    assert torch.allclose(read(x.detach()), expected, atol=1e-6)
    gradients: Gradients = {}
    assert x.grad is not None
    assert torch.allclose(read.backward(g, x.detach(), gradients), x.grad, atol=1e-6)
    assert gradients.keys() == set(read.parameters)
    for parameter in read.parameters:
        assert parameter.grad is not None
        assert torch.allclose(gradients[parameter], parameter.grad, atol=1e-5)


def test_gradients_of_several_calls_add_up() -> None:
    modules = layers(4, 3, bias=(True, True))
    read = Projection(modules, torch.float32)
    read.refresh()
    x, g = torch.randn(10, 6), torch.randn(10, 7)
    whole: Gradients = {}
    read.backward(g, x, whole)
    parts: Gradients = {}
    for rows in (slice(0, 1), slice(1, 6), slice(6, 10)):
        read.backward(g[rows], x[rows], parts)
    for parameter in read.parameters:
        assert torch.allclose(parts[parameter], whole[parameter], atol=1e-5)


def test_a_layer_that_is_frozen_beside_one_that_trains_has_no_gradient() -> None:
    modules = layers(4, 3, bias=(True, True))
    modules[0].requires_grad_(False)
    read = Projection(modules, torch.float32)
    read.refresh()
    x, g = torch.randn(5, 6), torch.randn(5, 7)
    gradients: Gradients = {}
    read.backward(g, x, gradients)
    assert gradients.keys() == {modules[1].weight, modules[1].bias}
    assert torch.allclose(gradients[modules[1].weight], g[:, 4:].T @ x, atol=1e-5)
    assert torch.allclose(gradients[modules[1].bias], g[:, 4:].sum(0), atol=1e-5)


def by_step(modules: list[Linear]) -> None:
    for module in modules:
        module.weight.grad = torch.ones_like(module.weight)
        module.bias.grad = torch.ones_like(module.bias)
    torch.optim.SGD([p for module in modules for p in module.parameters()], lr=0.1).step()


def by_adam_of_all_at_once(modules: list[Linear]) -> None:
    for module in modules:
        module.weight.grad = torch.ones_like(module.weight)
    torch.optim.AdamW([module.weight for module in modules], lr=0.1, foreach=True).step()


def by_loading(modules: list[Linear]) -> None:
    for module in modules:
        module.load_state_dict({name: tensor + 1 for name, tensor in module.state_dict().items()})


def in_place(modules: list[Linear]) -> None:
    with torch.no_grad():
        modules[-1].weight[0, 0] += 1


def by_fused_adam(modules: list[Linear]) -> None:
    """An optimizer that changes weights and leaves their version counters as they are."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(parameters, lr=0.1, fused=True).step()


def of_a_bias(modules: list[Linear]) -> None:
    with torch.no_grad():
        modules[0].bias.copy_(torch.ones(4))


def by_replacing_data(modules: list[Linear]) -> None:
    modules[0].weight.data = modules[0].weight.data + 1


CHANGES = [by_step, by_fused_adam, by_adam_of_all_at_once, by_loading, in_place, of_a_bias, by_replacing_data]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)], ids=str)
def test_a_change_is_taken_over(change: Callable[[list[Linear]], None], dtype: torch.dtype, within: float) -> None:
    modules = layers(4, 3, bias=(True, True))
    read = Projection(modules, dtype)
    read.refresh()
    x = torch.eye(6) + 1
    before = read(x.to(dtype)).float()
    change(modules)
    read.refresh()
    after = read(x.to(dtype)).float()
    assert torch.allclose(after, side_by_side(modules, x), atol=within, rtol=within)
    assert (after - before).abs().max() > 0.05


def test_what_does_not_train_is_cast_once(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = layers(4, 3, bias=(True, True))
    for module in modules:
        module.requires_grad_(False)
    read = Projection(modules, torch.bfloat16)
    read.refresh()
    working = read._working
    x, g = torch.randn(5, 6).bfloat16(), torch.randn(5, 7).bfloat16()
    monkeypatch.setattr(projection.torch, "cat", lambda *_, **__: pytest.fail("cast again"))
    for _ in range(3):
        read.refresh()
        read(x)
        read.backward(g, x, {})
    assert read._working is working


def test_parameters_of_the_compute_type_are_read_in_place() -> None:
    modules = layers(4, 3)
    read = Projection(modules, torch.float32)
    read.refresh()
    assert [tensor.data_ptr() for tensor in read._working] == [module.weight.data_ptr() for module in modules]


def adapted(modules: list[Linear], **options: Any) -> tuple[Any, list[Any]]:
    """PEFT's model around the layers, and the layers with adapters in them; those that are left out stay plain."""
    network = torch.nn.ModuleDict({f"layer{number}": module for number, module in enumerate(modules)})
    config = LoraConfig(r=2, lora_alpha=8, init_lora_weights=False, **options)
    model = get_peft_model(network, config).eval()  # type: ignore[arg-type]
    return model, [network[f"layer{number}"] for number in range(len(modules))]


@pytest.mark.parametrize("targets", [["layer0", "layer1", "layer2"], ["layer1"]], ids=str)
def test_adapters_have_pefts_values_and_gradients(targets: list[str]) -> None:
    _, modules = adapted(layers(4, 3, 5, bias=(True, True, False)), target_modules=targets)
    x = torch.randn(7, 6, requires_grad=True)
    expected = side_by_side(modules, x)
    g = torch.randn_like(expected)
    expected.backward(g)
    read = Projection(modules, torch.float32)
    read.refresh()
    assert torch.allclose(read(x.detach()), expected, atol=1e-5)
    gradients: Gradients = {}
    assert x.grad is not None
    assert torch.allclose(read.backward(g, x.detach(), gradients), x.grad, atol=1e-5)
    assert len(gradients) == 2 * len(targets)
    for parameter, gradient in gradients.items():
        assert parameter.grad is not None
        assert torch.allclose(gradient, parameter.grad, atol=1e-5)


def test_an_adapter_that_learns_in_bfloat16_is_not_rounded_away() -> None:
    """A young adapter changes a weight by less than bfloat16 can tell: beside its base it still counts."""
    _, modules = adapted(layers(4), target_modules=["layer0"])
    with torch.no_grad():
        modules[0].base_layer.weight.fill_(1.0)
        modules[0].lora_A["default"].weight.zero_()
        modules[0].lora_A["default"].weight[:, 0] = 1e-3
        modules[0].lora_B["default"].weight.fill_(1e-2)  # 2 ranks x scale 4 x 1e-5: 1 + 8e-5 is 1 in bfloat16
    read = Projection(modules, torch.bfloat16)
    read.refresh()
    x = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]]).bfloat16()  # of the base it gives zero
    assert torch.allclose(read(x).float(), torch.full((1, 4), 8e-5), rtol=0.01)


def test_an_adapters_step_is_seen_without_any_refresh_of_the_base() -> None:
    _, modules = adapted(layers(4), target_modules=["layer0"])
    read = Projection(modules, torch.float32)
    read.refresh()
    x = torch.randn(3, 6)
    with torch.no_grad():
        modules[0].lora_B["default"].weight += 1
    assert torch.allclose(read(x), modules[0](x), atol=1e-5)
