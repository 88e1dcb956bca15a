"""The native engine keeps the engine contract on every attention shape, and what is its own."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from integration.engine_contract import EngineContract, Policy, assert_same, collect, requests_for
from openrft.errors import EngineError, InvalidRequest
from openrft.models.decoder import Decoder, build_decoder, cache
from openrft.rollout import decoding, native, wave
from openrft.rollout.native import NativeEngine
from openrft.types import Completion, Engine
from random_models import SIZE, byte_tokenizer

# PEFT asks transformers 5 for a property that it renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 12},
    "gemma2": {
        "sliding_window": 12,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "gemma3_text": {
        "sliding_window": 12,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "phi3": {"original_max_position_embeddings": 256},
    "phi": {"partial_rotary_factor": 0.5},
    "gpt2": {"n_positions": 256, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "bloom": {"n_layer": 2, "n_head": 4},
}


def build(kind: str, *, seed: int = 0, **options: Any) -> Policy:
    torch.manual_seed(seed)
    name, _, wrapping = kind.partition("+")
    config = AutoConfig.for_model(name, **{**SIZE, **SHAPES[name], **options})
    model = AutoModelForCausalLM.from_config(config).eval()
    tokenizer = byte_tokenizer()
    # Two ids that end a completion, so likely that some completions end early.
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 17, 40]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    if wrapping == "lora":
        model = get_peft_model(
            model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        ).eval()
    return Policy(model, tokenizer)


@pytest.fixture(scope="module", params=[*SHAPES, "qwen3+lora"])
def policy(request: pytest.FixtureRequest) -> Policy:
    return build(request.param)


class TestNativeEngine(EngineContract):
    def make_engine(self, policy: Policy, **options: Any) -> Engine:
        return NativeEngine(policy.model, policy.tokenizer, **options)


DECODERS: dict[Any, Decoder | None] = {}


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3", "qwen3+lora"])
def written_out(request: pytest.FixtureRequest) -> Policy:
    return build(request.param)


class TestNativeEngineOfAWrittenOutDecoder(EngineContract):
    @pytest.fixture
    def policy(self, written_out: Policy) -> Policy:
        return written_out

    def make_engine(self, policy: Policy, **options: Any) -> Engine:
        if policy.model not in DECODERS:  # once, because a decoder proves itself on weights that are no NaN
            base = policy.model.get_base_model() if hasattr(policy.model, "get_base_model") else policy.model
            DECODERS[policy.model] = build_decoder(base, torch.float32)
        decoder = DECODERS[policy.model]
        assert decoder is not None
        return NativeEngine(policy.model, policy.tokenizer, decoder=decoder, **options)


@pytest.fixture(scope="module")
def qwen() -> Policy:
    return build("qwen3")


def written_out_engine(policy: Policy, **options: Any) -> NativeEngine:
    decoder = build_decoder(policy.model, torch.float32)
    assert decoder is not None
    return NativeEngine(policy.model, policy.tokenizer, decoder=decoder, **options)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_the_written_out_decoder_samples_what_transformers_samples(kind: str) -> None:
    policy = build(kind)
    requests = requests_for(policy, num_samples=4, max_tokens=70)
    assert_same(
        collect(written_out_engine(policy), requests), collect(NativeEngine(policy.model, policy.tokenizer), requests)
    )


@pytest.mark.parametrize("share", [1, 4, 10**6])
def test_when_rows_of_groups_are_compacted_makes_no_difference(
    qwen: Policy, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = requests_for(qwen, num_samples=6, max_tokens=90)
    usual = collect(NativeEngine(qwen.model, qwen.tokenizer), requests)
    monkeypatch.setattr(wave, "COMPACT_SHARE", share)
    assert_same(usual, collect(written_out_engine(qwen), requests))


def test_how_prompts_are_cut_for_reading_makes_no_difference(qwen: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = requests_for(qwen, num_samples=2, max_tokens=12)
    whole = collect(written_out_engine(qwen), requests)
    monkeypatch.setattr(cache, "PREFILL_TOKENS", 20)
    assert_same(whole, collect(written_out_engine(qwen), requests))


def test_a_group_that_is_cut_into_waves_is_sampled_as_one(qwen: Policy) -> None:
    requests = requests_for(qwen, num_samples=5, max_tokens=12)
    assert_same(collect(written_out_engine(qwen), requests), collect(written_out_engine(qwen, max_rows=3), requests))


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2", "gemma3_text"])
def test_ready_made_masks_say_the_same_as_those_transformers_builds(kind: str) -> None:
    policy = build(kind)
    requests = requests_for(policy, num_samples=2, max_tokens=30)
    engine = NativeEngine(policy.model, policy.tokenizer)
    assert engine._forward.takes_ready_masks
    ready = collect(engine, requests)
    engine._forward.takes_ready_masks = False
    assert_same(ready, collect(engine, requests))


def test_a_model_that_builds_its_own_positions_from_the_mask_gets_a_plain_mask() -> None:
    assert not NativeEngine(build("bloom").model, byte_tokenizer())._forward.takes_ready_masks


@pytest.mark.parametrize("share", [1, 4, 10**6])
def test_when_rows_are_compacted_makes_no_difference(qwen: Policy, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = requests_for(qwen, num_samples=6, max_tokens=90)
    usual = collect(NativeEngine(qwen.model, qwen.tokenizer), requests)
    monkeypatch.setattr(wave, "COMPACT_SHARE", share)
    assert_same(usual, collect(NativeEngine(qwen.model, qwen.tokenizer), requests))


def test_how_prompts_are_cut_for_the_prefill_makes_no_difference(qwen: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = requests_for(qwen, num_samples=2, max_tokens=12)
    whole = collect(NativeEngine(qwen.model, qwen.tokenizer), requests)
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", 20)
    assert_same(whole, collect(NativeEngine(qwen.model, qwen.tokenizer), requests))


def test_a_prompt_is_prefilled_once_for_its_whole_group(qwen: Policy) -> None:
    seen: list[torch.Size] = []
    engine = NativeEngine(qwen.model, qwen.tokenizer)
    forward = engine._forward.last_logits
    engine._forward.last_logits = lambda ids, *rest: (seen.append(ids.shape), forward(ids, *rest))[1]  # type: ignore
    (request, *_) = requests_for(qwen, num_samples=8, max_tokens=3)
    list(engine.generate([request]))
    assert seen[:2] == [(1, len(request.prompt_token_ids)), (8, 1)]


def test_completions_come_before_the_wave_is_over(qwen: Policy) -> None:
    long, short = requests_for(qwen, max_tokens=40, temperature=0.0)[:2]
    short = replace(short, sampling=replace(short.sampling, max_tokens=2))
    first: Completion = next(iter(NativeEngine(qwen.model, qwen.tokenizer).generate([long, short])))
    assert first.request_id == short.id


def test_a_prompt_may_fill_the_context_to_its_last_token(qwen: Policy) -> None:
    context = SIZE["max_position_embeddings"]
    (request, *_) = requests_for(qwen, max_tokens=6)
    requests = [replace(request, prompt_token_ids=[5] * (context - 6)), replace(request, id=1)]
    assert len(list(NativeEngine(qwen.model, qwen.tokenizer).generate(requests))) == 2


def test_learned_positions_do_not_run_over_when_a_finished_row_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = build("gpt2")
    monkeypatch.setattr(wave, "COMPACT_SHARE", 10**-6)  # never: finished rows stay until the end
    (request, *_) = requests_for(policy, max_tokens=2)
    long = replace(request, prompt_token_ids=[5] * 254)
    short = replace(request, id=1, sampling=replace(request.sampling, max_tokens=60))
    assert len(list(NativeEngine(policy.model, policy.tokenizer).generate([long, short]))) == 2


@pytest.mark.parametrize("max_rows", [1, 3, 5, 100])
def test_waves_hold_at_most_max_rows(qwen: Policy, max_rows: int) -> None:
    requests = requests_for(qwen, num_samples=4, max_tokens=5)
    engine = NativeEngine(qwen.model, qwen.tokenizer, max_rows=max_rows)
    waves = [[len(member.samples) for member in members] for members in engine._plan(requests)]
    assert all(0 < sum(sizes) <= max_rows and all(sizes) for sizes in waves)
    assert sum(itertools.chain(*waves)) == 20
    assert len(waves) == -(-20 // max_rows)


def test_by_default_memory_bounds_the_rows(qwen: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = NativeEngine(qwen.model, qwen.tokenizer)
    requests = requests_for(qwen, num_samples=400, max_tokens=5)[:1]
    assert [sum(len(m.samples) for m in members) for members in engine._plan(requests)] == [256, 144]
    monkeypatch.setattr(native, "total_bytes", lambda device: 1000)
    assert len(list(engine._plan(requests))) == 400


def test_half_precision_weights_work(qwen: Policy) -> None:
    policy = build("qwen3", seed=1)
    policy.model.bfloat16()
    for completion in NativeEngine(policy.model, policy.tokenizer).generate(requests_for(policy, max_tokens=8)):
        assert all(logprob <= 0 for logprob in completion.sampling_logprobs)


def test_sampling_inside_autocast_does_not_hide_the_weights_from_training() -> None:
    policy = build("qwen3", seed=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        list(NativeEngine(policy.model, policy.tokenizer).generate(requests_for(policy, max_tokens=4)))
        token_ids = torch.tensor([[1, 2, 3]])
        policy.model(input_ids=token_ids, labels=token_ids).loss.backward()
    assert all(weight.grad is not None for weight in policy.model.parameters())


def test_abandoning_the_iterator_leaves_the_policy_as_it_was(qwen: Policy) -> None:
    qwen.model.train()
    iterator = NativeEngine(qwen.model, qwen.tokenizer).generate(requests_for(qwen, num_samples=4, max_tokens=30))
    next(iterator)
    assert all(module.training for module in qwen.model.modules())
    del iterator
    qwen.model.eval()


def test_what_the_engine_cannot_generate_with_is_refused_at_once(qwen: Policy) -> None:
    tokenizer = qwen.tokenizer
    with pytest.raises(InvalidRequest, match="max_rows is 0"):
        NativeEngine(qwen.model, tokenizer, max_rows=0)
    prefix = get_peft_model(build("llama").model, PrefixTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(EngineError, match="prompt-learning"):
        NativeEngine(prefix, tokenizer)
    chunked = build("llama", layer_types=["full_attention", "chunked_attention"], attention_chunk_size=8)
    with pytest.raises(EngineError, match="chunked_attention"):
        NativeEngine(chunked.model, tokenizer)


def test_an_empty_stop_string_is_refused(qwen: Policy) -> None:
    (request, *_) = requests_for(qwen, max_tokens=4)
    with pytest.raises(InvalidRequest, match="stop string is empty"):
        NativeEngine(qwen.model, qwen.tokenizer).generate(
            [replace(request, sampling=replace(request.sampling, stop=("",)))]
        )


class Failing:
    """Runs out of memory at given forward passes, counted over all waves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: set[int]) -> None:
        self.calls, self.rows = 0, list[int]()
        for kind in (native.GroupCache, native.TransformersDecoding):
            monkeypatch.setattr(kind, "next_logits", self._wrapped(kind.next_logits, at))

    def _wrapped(self, next_logits: Any, at: set[int]) -> Any:
        def wrapped(decoding: Any, token_ids: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.rows.append(len(token_ids))
            if self.calls in at:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return next_logits(decoding, token_ids)

        return wrapped


@pytest.mark.parametrize("written_out", [True, False])
@pytest.mark.parametrize("at", [{1}, {25}, {20, 21}, {4, 40}], ids=str)
def test_a_wave_that_runs_out_of_memory_goes_on_as_halves_and_gives_the_same(
    qwen: Policy, at: set[int], written_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = build_decoder(qwen.model, torch.float32) if written_out else None
    requests = requests_for(qwen, num_samples=6, max_tokens=60)
    expected = collect(NativeEngine(qwen.model, qwen.tokenizer, decoder=decoder), requests)
    memory, told = Failing(monkeypatch, at), list[str]()
    engine = NativeEngine(qwen.model, qwen.tokenizer, decoder=decoder, tell=told.append)
    completions = list(engine.generate(requests))
    assert len(completions) == 30  # each once
    assert_same(expected, {(one.request_id, one.sample_index): one for one in completions})
    assert len(told) == len(at)
    assert told[0] == "30 completions at once did not fit into memory; 15 at once from here on"
    assert max(memory.rows[max(at) :]) <= 30 // 2 ** len(at)
    list(engine.generate(requests))  # and so do later waves
    assert max(memory.rows[max(at) :]) <= 30 // 2 ** len(at)


def test_a_single_completion_that_does_not_fit_is_an_error_that_says_what_to_do(
    qwen: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    Failing(monkeypatch, set(range(1000)))
    with pytest.raises(EngineError, match="lower max_completion_tokens") as caught:
        list(NativeEngine(qwen.model, qwen.tokenizer).generate(requests_for(qwen, num_samples=4, max_tokens=8)))
    assert caught.value.code == "out_of_memory"
