"""A microbatch is as large as memory allows, by a formula that is true to what is allocated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openrft.models.decoder.footprint import Footprint
from openrft.training.memory import ENOUGH_TOKENS, MOST_TOKENS, Plan, Room, fitting_tokens, pass_bytes

# Qwen3 of 0.6 thousand million parameters, by its config.
SMALL = Footprint(
    num_layers=28, hidden=1024, intermediate=3072, num_heads=16, num_key_heads=8, head_dim=128, vocabulary=151_936,
    has_head_norms=True, itemsize=4, device_type="cuda", is_fused=True,
)  # fmt: skip
PLAN = Plan(precision="bfloat16", weights="lora", has_reference=False, prompt=512, completion=1024, group_size=8)


def room(gigabytes: float, device_type: str = "cuda", footprint: Footprint | None = SMALL) -> Room:
    return Room(
        free_bytes=int(gigabytes * 1e9),
        device_type=device_type,
        num_parameters=600_000_000,
        footprint=None
        if footprint is None
        else lambda dtype: replace(footprint, device_type=device_type, itemsize=dtype.itemsize),
        padded_row_bytes=10_000_000,
    )


def test_a_row_takes_what_its_tensors_add_up_to() -> None:
    of_layer = 2 * (
        2 * 1024  # both norms' results
        + 4096 + 3072 + 2048  # queries, keys and values; queries and keys rotated; attention's result
        + 3 * 3072  # gate, up and their product
        + 4096 + 2048  # attention's own copies
    ) + 4 * (2 * 1024 + 2 + 24 + 16)  # fmt: skip
    head = 64 * 2**20 * 10  # logits of 64 Mi numbers at once: 2 bytes, and two times 4
    assert pass_bytes(room(80), PLAN, 16_384) == 29 * 16_384 * of_layer + head
    assert pass_bytes(room(80), PLAN, 16_384, recomputed=True) == 16_384 * (28 * 4096 + 2 * of_layer) + head


def test_the_most_is_taken_where_memory_allows_and_the_reason_says_so() -> None:
    size, reason = fitting_tokens(room(200), PLAN)
    assert size == MOST_TOKENS["cuda"]
    assert "larger ones are no faster" in reason
    assert "200.0 GB that were free" in reason


def test_less_memory_makes_microbatches_smaller_and_then_computes_layers_twice() -> None:
    sizes = [fitting_tokens(room(gigabytes), PLAN) for gigabytes in (200, 60, 30, 15, 8, 4, 1)]
    assert [size for size, _ in sizes] == sorted((size for size, _ in sizes), reverse=True)
    assert all(size & (size - 1) == 0 for size, _ in sizes)  # powers of two
    assert sizes[0][0] > sizes[2][0] > sizes[-1][0] == 256
    assert [size for size, reason in sizes if "computed twice" in reason and size > ENOUGH_TOKENS] == []
    assert "computed twice" in sizes[-2][1]


@pytest.mark.parametrize("gigabytes", [200, 60, 30, 15, 8])
def test_what_is_chosen_fits_into_its_share(gigabytes: float) -> None:
    size, reason = fitting_tokens(room(gigabytes), PLAN)
    assert pass_bytes(room(gigabytes), PLAN, size, recomputed="computed twice" in reason) < 0.5 * gigabytes * 1e9


def test_training_every_weight_leaves_less_for_a_pass_than_training_an_adapter() -> None:
    adapter, _ = fitting_tokens(room(40), PLAN)
    full, _ = fitting_tokens(room(40), replace(PLAN, weights="full"))
    with_reference, _ = fitting_tokens(room(40), replace(PLAN, weights="full", has_reference=True))
    assert adapter > full >= with_reference


def test_on_a_cpu_more_than_some_thousand_tokens_are_no_faster() -> None:
    assert fitting_tokens(room(2000, "cpu"), PLAN)[0] == 2048


def test_where_transformers_computes_positions_are_counted_and_no_layer_is_computed_twice() -> None:
    size, reason = fitting_tokens(room(30, footprint=None), PLAN)
    assert size * 10_000_000 <= 0.4 * 32e9 < 2 * size * 10_000_000
    assert "twice" not in reason
