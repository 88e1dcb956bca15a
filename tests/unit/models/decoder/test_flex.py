"""The mask says who sees whom, and torch's kernel gives what written-out attention gives: on a CPU, uncompiled."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import flex_attention as torchs

from openrft.models.decoder import Choice, build_decoder, chosen_logprobs, flex, pack_rows
from openrft.models.decoder import decoder as decoder_module
from openrft.models.decoder.attention import Attended, Attention, WrittenOut
from openrft.models.decoder.flex import Fused
from openrft.models.decoder.rows import Rows
from plain_forward import gradients_of, random_network

CPU = torch.device("cpu")
SHAPES: dict[str, tuple[list[int], list[list[int]]]] = {
    "less than a block": ([3], [[2, 4]]),
    "a prompt over several blocks": ([300], [[5, 70]]),
    "completions over several blocks": ([9, 20], [[200, 150, 3], [140]]),
    "groups of many sizes": ([40, 90, 7, 64], [[30, 1, 12], [8], [90, 45, 45, 2], [64, 64]]),
    "exactly a block": ([64], [[65]]),
}


def packed(prompts: list[int], completions: list[list[int]]) -> Rows:
    rows, _ = pack_rows([[1] * n for n in prompts], [[[2] * n for n in of] for of in completions], CPU)
    return rows


def who_sees_whom(prompts: list[int], completions: list[list[int]]) -> Tensor:
    """``[N, N]`` by the definition of a prompt and its completions."""
    count = sum(prompts) + sum(n - 1 for of in completions for n in of)
    sees = torch.zeros(count, count, dtype=torch.bool)
    start = 0
    for prompt, answers in zip(prompts, completions, strict=True):
        spans = [(start, start + prompt)]
        for answer in answers:
            spans.append((spans[-1][1], spans[-1][1] + answer - 1))
        for first, last in spans:
            sees[first:last, first:last] = torch.ones(last - first, last - first, dtype=torch.bool).tril()
            sees[first:last, start : start + prompt] |= first > start
        start = spans[-1][1]
    return sees


def mask_of(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """(who sees whom by the mask's function, and which of its blocks are partly and which wholly seen)."""
    mask = flex.block_mask(flex.visibility(rows))
    size = mask.seq_lengths[0]
    places = torch.arange(size)
    seen = mask.mask_mod(torch.tensor(0), torch.tensor(0), places[:, None], places[None, :])
    assert mask.full_kv_num_blocks is not None
    assert mask.full_kv_indices is not None
    partial = listed(mask.kv_num_blocks[0, 0], mask.kv_indices[0, 0])
    return seen, partial, listed(mask.full_kv_num_blocks[0, 0], mask.full_kv_indices[0, 0])


def listed(counts: Tensor, numbers: Tensor) -> Tensor:
    blocks = torch.zeros(numbers.shape, dtype=torch.bool)
    for line, count in enumerate(counts.tolist()):
        blocks[line, numbers[line, :count].long()] = True
    return blocks


def check_mask(prompts: list[int], completions: list[list[int]]) -> None:
    rows = packed(prompts, completions)
    seen, partial, full = mask_of(rows)
    count = len(rows.token_ids)
    assert torch.equal(seen[:count, :count], who_sees_whom(prompts, completions))
    assert torch.equal(seen[count:], torch.eye(len(seen), dtype=torch.bool)[count:])  # padding sees itself
    blocks = seen.unflatten(0, (-1, flex.BLOCK)).unflatten(2, (-1, flex.BLOCK)).transpose(1, 2)
    assert not (partial & full).any()
    assert torch.equal(partial | full, blocks.any(-1).any(-1))
    assert (blocks.all(-1).all(-1) | ~full).all()  # what counts as wholly seen is


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_sees_its_prompt_and_its_own_sequence_up_to_itself(shape: str) -> None:
    check_mask(*SHAPES[shape])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(1, 200), st.lists(st.integers(1, 200), min_size=1, max_size=4)), min_size=1, max_size=4
    )
)
def test_whatever_the_groups_the_mask_says_who_sees_whom(lengths: list[tuple[int, list[int]]]) -> None:
    check_mask([prompt for prompt, _ in lengths], [answers for _, answers in lengths])


def test_blocks_that_a_whole_block_of_rows_sees_are_known_as_full() -> None:
    _, _, full = mask_of(packed([512], [[257]]))
    assert full[4, :4].all()  # completion rows and the prompt's four blocks
    assert full[3, :3].all()  # the prompt's last rows and its first


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a CPU torch refuses gradients of its kernel, though the one that it does not compile has them."""
    monkeypatch.setattr(torchs, "_validate_device", lambda *parts: None)
    monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    yield


def run(attention: Attention, parts: tuple[Tensor, ...], *, only_last: bool, keep: bool = True) -> list[Tensor]:
    q, k, v, g = parts
    kept = Attended() if keep else None
    out = attention.attend(q, k, v, only_last=only_last, keep=kept)
    if kept is None:
        return [out]
    gradients = (torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v))
    attention.backward(g, out, q, k, v, gradients, only_last=only_last, kept=kept)
    return [out, *gradients]


def numbers(rows: Rows, *heads: int) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(len(rows.token_ids), count, 16) for count in heads)


@pytest.mark.parametrize("heads", [(4, 2), (3, 3), (6, 1)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_written_out_attention(
    uncompiled: None, shape: str, heads: tuple[int, int]
) -> None:
    rows = packed(*SHAPES[shape])
    parts = numbers(rows, heads[0], heads[1], heads[1], heads[0])
    found = run(Fused(rows, torchs.flex_attention), parts, only_last=False)
    expected = run(WrittenOut(rows.clusters), parts, only_last=False)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)
    (alone,) = run(Fused(rows, torchs.flex_attention), parts, only_last=False, keep=False)
    torch.testing.assert_close(alone, found[0], atol=0, rtol=0)


def test_of_a_last_layer_the_rows_that_are_read_are_the_same(uncompiled: None) -> None:
    rows = packed(*SHAPES["groups of many sizes"])
    q, k, v, g = numbers(rows, 4, 2, 2, 4)
    unread = torch.ones(len(g), dtype=torch.bool)
    unread[rows.needed] = False
    g[unread] = 0
    found = run(Fused(rows, torchs.flex_attention), (q, k, v, g), only_last=True)
    expected = run(WrittenOut(rows.clusters), (q, k, v, g), only_last=True)
    torch.testing.assert_close(found[0][rows.needed], expected[0][rows.needed], atol=2e-5, rtol=1e-4)
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_the_check_before_use_sees_a_kernel_that_is_right_and_one_that_is_not(uncompiled: None) -> None:
    def without_mask(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Any:
        return torchs.flex_attention(q, k, v, **(options | {"block_mask": None}))

    assert flex.gap_to_written_out(torchs.flex_attention, CPU, 4, 2, 16, torch.float32) < 1e-4
    assert flex.gap_to_written_out(without_mask, CPU, 4, 2, 16, torch.float32) > 0.1


def test_attention_is_written_out_on_a_cpu(caplog: pytest.LogCaptureFixture) -> None:
    rows = packed([3], [[2]])
    with caplog.at_level(logging.WARNING):
        chosen = flex.attention_for(rows, num_heads=4, num_key_heads=2, head_dim=16, dtype=torch.bfloat16)
    assert isinstance(chosen, WrittenOut)
    assert caplog.records == []


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_a_decoder_with_the_kernel_has_the_same_log_probabilities_and_gradients(
    uncompiled: None, kind: str, recomputed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[3, 4, 5, 6, 7], [8, 9]]
    completions = [[[10, 11, 12], [13], [14, 15, 16, 17]], [[18, 19], [20, 21]]]
    targets = torch.tensor([token for answers in completions for answer in answers for token in answer])
    monkeypatch.setattr(decoder_module, "_SMALL", 0)
    monkeypatch.setattr(decoder_module, "free_bytes", lambda device: 1 if recomputed else 1 << 40)
    found = []
    for by_kernel in (False, True):
        network = random_network(kind)
        decoder = build_decoder(network, torch.float32)
        assert decoder is not None
        if by_kernel:
            monkeypatch.setattr(
                decoder_module, "attention_for", lambda rows, **sizes: Fused(rows, torchs.flex_attention)
            )
        rows, predicting = pack_rows(prompts, completions, CPU)
        logprobs = chosen_logprobs(decoder.hidden(rows)[predicting], decoder.head, Choice(targets, 1.0))
        logprobs.square().sum().backward()
        found.append((logprobs.detach(), gradients_of(network)))
    (expected, wanted), (values, gradients) = found
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


class Gpu:
    """Stands for a device where there is none: all that is asked of it is its type."""

    type = "cuda"


@pytest.mark.parametrize(
    ("head_dim", "dtype", "expected"),
    [(64, torch.bfloat16, True), (64, torch.float32, False), (80, torch.bfloat16, False), (8, torch.float16, False)],
)
def test_on_a_gpu_it_is_the_kernel_for_what_the_kernel_takes(
    head_dim: int, dtype: torch.dtype, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flex, "_compiled", lambda: None)
    monkeypatch.setattr(flex, "gap_to_written_out", lambda *facts: 0.01)
    assert flex.is_fused.__wrapped__(Gpu(), 4, 2, head_dim, dtype) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", ["an error", "wrong numbers"])
def test_a_kernel_that_does_not_work_is_left_out_and_the_log_says_so(
    problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gap(*facts: object) -> float:
        if problem == "an error":
            raise RuntimeError("no compiler\nhere")
        return 0.7

    monkeypatch.setattr(flex, "_compiled", lambda: None)
    monkeypatch.setattr(flex, "gap_to_written_out", gap)
    with caplog.at_level(logging.WARNING):
        assert not flex.is_fused.__wrapped__(Gpu(), 4, 2, 64, torch.bfloat16)  # type: ignore[arg-type]
    (record,) = caplog.records
    assert ("RuntimeError: no compiler" if problem == "an error" else "off by 0.7") in record.getMessage()
