"""What only a GPU can show: its kernels, its graphs, its memory. ``make test-gpu`` runs it on a machine that has one.

Each of these has a counterpart that runs without a GPU, and holds the same code to the same numbers as far as it can.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from integration.engine_contract import EngineContract, Policy, collect, requests_for
from openrft.models.decoder import Choice, Decoder, GroupCache, build_decoder, chosen_logprobs, flex, pack_rows
from openrft.models.load import Policy as LoadedPolicy
from openrft.models.load import load_policy
from openrft.models.memory import free_bytes, total_bytes
from openrft.rollout.native import NativeEngine
from openrft.training.batch import Cutter, GroupToTrain, Microbatch, packed_tokens
from openrft.training.forward import completion_logprobs
from openrft.training.progress import Silence
from openrft.training.run import start_run
from openrft.training.update import update
from openrft.types import Engine, Metrics
from plain_forward import FAMILY, assert_near, exact_copy, gradients_of, plain_logprobs, random_network
from random_models import byte_tokenizer
from rollouts import make_rollout
from small_job import read_metrics, small_job

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("default"),  # torch's compiler warns of itself
]

GPU = torch.device("cuda")
WIDE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "num_hidden_layers": 3, "initializer_range": 0.1}
PROMPTS = [[(7 * place + 3) % 250 for place in range(length)] for length in (150, 33, 70)]
COMPLETIONS = [
    [[(5 * place + 11 * length) % 250 for place in range(length)] for length in lengths]
    for lengths in ([90, 140, 3, 64], [1, 20], [130, 130, 7])
]


def decoder_of(network: Any, dtype: torch.dtype) -> Decoder:
    decoder = build_decoder(network, dtype)
    assert decoder is not None
    return decoder


def packed_logprobs(decoder: Decoder) -> Tensor:
    rows, predicting = pack_rows(PROMPTS, COMPLETIONS, decoder.device)
    targets = torch.tensor([token for answers in COMPLETIONS for answer in answers for token in answer], device=GPU)
    return chosen_logprobs(decoder.hidden(rows)[predicting], decoder.head, Choice(targets, 1.0))


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def policy(request: pytest.FixtureRequest) -> Policy:
    model, tokenizer = random_network(request.param).to(GPU), byte_tokenizer()
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 17, 40]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return Policy(model, tokenizer)


DECODERS: dict[Any, Decoder] = {}


class TestNativeEngineOnAGpu(EngineContract):
    def make_engine(self, policy: Policy, **options: Any) -> Engine:
        if policy.model not in DECODERS:  # once, because a decoder proves itself on weights that are no NaN
            DECODERS[policy.model] = decoder_of(policy.model, torch.float32)
        return NativeEngine(policy.model, policy.tokenizer, decoder=DECODERS[policy.model], **options)


@pytest.mark.parametrize("kind", FAMILY)
def test_in_float32_values_and_gradients_are_those_of_full_sequences(kind: str) -> None:
    network = random_network(kind, **WIDE)
    exact = exact_copy(network)
    expected = plain_logprobs(exact, PROMPTS, COMPLETIONS)
    expected.sum().backward()
    found = packed_logprobs(decoder_of(network.to(GPU), torch.float32))
    assert_near(found.detach().cpu(), expected.detach(), 1e-4)
    found.sum().backward()
    for name, gradient in gradients_of(exact).items():
        assert_near(gradients_of(network)[name].cpu(), gradient, 1e-4, name)


@pytest.mark.parametrize("kind", FAMILY)
def test_in_bfloat16_gradients_are_as_good_as_those_of_transformers(kind: str) -> None:
    network = random_network(kind, **WIDE)
    exact, theirs = exact_copy(network), copy.deepcopy(network)
    plain_logprobs(exact, PROMPTS, COMPLETIONS).sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain_logprobs(theirs, PROMPTS, COMPLETIONS).sum().backward()
    decoder = decoder_of(network.to(GPU), torch.bfloat16)
    assert decoder.footprint().is_fused  # flex_attention works here
    packed_logprobs(decoder).sum().backward()
    wanted, ours, other = gradients_of(exact), gradients_of(network), gradients_of(theirs)
    for name, gradient in wanted.items():
        size = gradient.norm().item()
        assert (ours[name].cpu().double() - gradient).norm().item() < max(
            0.02 * size, 1.5 * (other[name].double() - gradient).norm().item()
        ), name


@pytest.mark.parametrize("heads", [(4, 4), (8, 2), (6, 1)], ids=str)
@pytest.mark.parametrize("head_dim", [16, 64, 128])
def test_the_attention_kernel_gives_what_written_out_attention_gives(heads: tuple[int, int], head_dim: int) -> None:
    assert flex.gap_to_written_out(flex._compiled(), GPU, *heads, head_dim, torch.bfloat16) < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_replayed_graphs_give_the_logits_of_steps_that_run_one_by_one(dtype: torch.dtype) -> None:
    network = random_network("qwen3", **WIDE).to(GPU)
    decoder = decoder_of(network, dtype)
    found = []
    with torch.no_grad():
        for records in (False, True):
            cache = GroupCache(decoder, PROMPTS, [4, 2, 3], 700)
            cache._replayed._is_recording = records
            logits, live = cache.read_prompts(), list(range(9))
            steps = []
            for step in range(600):  # over several growths
                if step in (100, 300):  # and compactions
                    is_live = [row % 3 != 0 if step == 100 else row % 2 == 0 for row in range(len(live))]
                    live = [live[row] for row in cache.compact(is_live)]
                tokens = torch.tensor([(31 * row + 7 * step) % 255 for row in live], device=GPU)
                logits = cache.next_logits(tokens)
                steps.append(logits.clone())
            if records:
                assert cache._replayed._graph is not None
            found.append(steps)
    for step, (one, other) in enumerate(zip(*found, strict=True)):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3, msg=f"step {step}")


class Sums:
    def __init__(self, value: float) -> None:
        self.value = value

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.value + other.value)

    def as_metrics(self) -> Metrics:
        return {"policy/loss": self.value}

    def mismatch_metrics(self) -> Metrics:
        return {}


@pytest.fixture
def whole_memory() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def leave(num_bytes: float) -> None:
    """Let torch take so many bytes more and no further."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_allocated() + num_bytes) / total_bytes(GPU)))


def loss(policy: LoadedPolicy, batch: Microbatch) -> tuple[Tensor, Sums]:
    value = (completion_logprobs(policy, batch) * batch.advantages_N * batch.token_weights_N).sum()
    return value, Sums(value.item())


def test_an_update_that_runs_out_of_memory_is_the_update_that_it_would_have_been(whole_memory: None) -> None:
    groups = [
        GroupToTrain(
            prompt_token_ids=[5 + number] * 100,
            rollouts=[make_rollout(place, 1.0, num_tokens=150 + place) for place in range(16)],
            advantages=[0.5 - place % 2 for place in range(16)],
            token_weights=[1e-3] * 16,
        )
        for number in range(4)
    ]
    found, told, needed = [], list[str](), 0.0
    for is_short in (False, True):
        policy = load_policy("openrft-tiny")
        parameters = [tensor for _, tensor in policy.trained_parameters()]
        optimizer = torch.optim.SGD(parameters)
        cutter = Cutter(most_tokens=10**6, measure=packed_tokens, pad_id=0, device=GPU, tell=told.append)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        if is_short:
            leave(0.4 * needed)
        metrics = update(policy, optimizer, cutter.cut(groups), loss, learning_rate=0.1, max_grad_norm=1e9)
        needed = torch.cuda.max_memory_allocated() - before
        found.append((metrics, [tensor.detach().clone() for tensor in parameters]))
    assert told
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-3)
    for one, other in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_a_wave_that_runs_out_of_memory_goes_on_as_smaller_ones(whole_memory: None, policy: Policy) -> None:
    requests = requests_for(policy, num_samples=100, max_tokens=200)
    decoder = decoder_of(policy.model, torch.float32)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    expected = collect(NativeEngine(policy.model, policy.tokenizer, decoder=decoder), requests)
    leave(0.5 * (torch.cuda.max_memory_allocated() - before))
    told = list[str]()
    found = collect(NativeEngine(policy.model, policy.tokenizer, decoder=decoder, tell=told.append), requests)
    assert told
    assert found.keys() == expected.keys()
    same = sum(found[place].token_ids == expected[place].token_ids for place in expected)
    assert same >= 0.98 * len(expected)  # rounding differs with the number of rows, and may move a token


def test_what_is_free_falls_by_what_is_taken_and_not_by_what_was_given_back() -> None:
    torch.cuda.empty_cache()
    before = free_bytes(GPU)
    assert 0 < before <= total_bytes(GPU)
    taken = torch.empty(64 << 20, dtype=torch.uint8, device=GPU)
    assert before - free_bytes(GPU) == pytest.approx(64 << 20, abs=8 << 20)
    del taken  # torch keeps it for its next tensors
    assert free_bytes(GPU) == pytest.approx(before, abs=8 << 20)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_pass_takes_is_about_what_was_counted(precision: str) -> None:
    decoder = decoder_of(random_network("qwen3", **WIDE, vocab_size=30_000).to(GPU), getattr(torch, precision))
    packed_logprobs(decoder).sum().backward()  # whatever is made once
    rows, _ = pack_rows(PROMPTS, COMPLETIONS, GPU)
    size, count = decoder.footprint(), len(rows.token_ids)
    counted = size.layers(count, size.probabilities(rows, decoder.dtype), recomputed=False) + size.head(count)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    packed_logprobs(decoder).sum().backward()
    gradients = sum(parameter.numel() * 4 for parameter in decoder.parameters)
    assert torch.cuda.max_memory_allocated() - before - gradients < 1.5 * counted


@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}, {"weights": "lora"}], ids=str)
def test_the_tiny_model_learns(repository: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    job = small_job(repository, num_steps=24, eval_interval=12, **options)
    start_run(job, tmp_path / "run", Silence())
    metrics = read_metrics(tmp_path / "run")
    assert metrics[-1]["valid/reward_mean"] > metrics[0]["valid/reward_mean"] + 0.1
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["machine"]["device"].startswith("cuda")


def test_sampler_and_trainer_agree_on_the_probabilities_in_bfloat16() -> None:
    policy = load_policy("openrft-tiny")
    policy.compute_in(torch.bfloat16)
    requests = requests_for(Policy(policy.network, policy.tokenizer), num_samples=8, max_tokens=40)
    engine = NativeEngine(policy.network, policy.tokenizer, decoder=policy.decoder)
    groups: dict[int, list[Any]] = {}
    for completion in engine.generate(requests):
        groups.setdefault(completion.request_id, []).append(completion)
    for request in requests:
        rollouts = [
            dataclasses.replace(make_rollout(place, 1.0), completion=completion)
            for place, completion in enumerate(groups[request.id])
        ]
        group = GroupToTrain(
            prompt_token_ids=request.prompt_token_ids,
            rollouts=rollouts,
            advantages=[1.0] * 8,
            token_weights=[1.0] * 8,
        )
        (batch,) = Cutter(most_tokens=10**6, measure=packed_tokens, pad_id=0, device=GPU).cut([group])
        with torch.no_grad():
            gap = completion_logprobs(policy, batch) - batch.sampling_logprobs_N
        assert gap.abs().mean().item() < 0.02
