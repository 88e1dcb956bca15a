"""What every engine must do, as tests to inherit.

    @pytest.fixture(scope="module", params=[...])
    def policy(request): return Policy(model, tokenizer)

    class TestMyEngine(EngineContract):
        def make_engine(self, policy, **options): return MyEngine(policy.model, policy.tokenizer, **options)

The contract:

1. Each completion comes exactly once, with as many log-probabilities as tokens, and the version it was sampled from.
2. Greedy sampling is deterministic and agrees with ``transformers.generate(do_sample=False)`` token by token.
3. ``sampling_logprobs`` are those of the distribution sampled: a full forward pass gives the same numbers, scaled by
   the temperature and cut by top-p.
4. Noise is a function of its key: the same key gives the same completion, another one another, and neither batching,
   nor the order of requests, nor asking for a group in parts changes a completion.
5. A completion ends at an end token, at a stop string (cut from the text) or at ``max_tokens``, and says so.
6. Weights changed in place are seen by the next call.
7. First tokens are distributed as the softmax says.
8. Wrong requests are refused when ``generate`` is called, NaN logits are an error; the policy's mode stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from scipy import stats

from openrft.errors import EngineError, InvalidRequest
from openrft.types import Completion, Engine, GenerationRequest, NoiseKey, SamplingParams

Places = dict[tuple[int, int], Completion]

PROMPTS = ["Sort: b a c", "2+2=", "Name a gene that is linked to the heart. Then stop.", "x", "Good morning, you"]


@dataclass
class Policy:
    """A transformers model (or a PEFT model) and its tokenizer."""

    model: Any
    tokenizer: Any


class EngineContract:
    """Inherit, give a ``policy`` fixture and ``make_engine``."""

    logprob_tolerance = 1e-4

    def make_engine(self, policy: Policy, **options: Any) -> Engine:
        """An engine that samples from ``policy.model``; options are the engine's own (``max_rows``, ``version``)."""
        raise NotImplementedError

    def assert_logprobs(self, policy: Policy, request: GenerationRequest, completion: Completion) -> None:
        """The recorded log-probabilities are those of a full forward pass.

        Where the most likely tokens reach top-p to within rounding, engine and reference may differ about the last one.
        """
        shifts = (0.0, -1e-5, 1e-5) if request.sampling.top_p < 1 else (0.0,)
        references = [reference_logprobs(policy, request, completion, shift) for shift in shifts]
        for number, recorded in enumerate(completion.sampling_logprobs):
            off = min(abs(recorded - reference[number]) for reference in references)
            assert off < self.logprob_tolerance, f"token {number}: {recorded}, not {references[0][number]}"

    def test_every_completion_comes_exactly_once(self, policy: Policy) -> None:
        requests = requests_for(policy, num_samples=3, max_tokens=9)
        completions = list(self.make_engine(policy, version=4).generate(requests))
        assert len(completions) == 15
        assert {(c.request_id, c.sample_index) for c in completions} == {(r, s) for r in range(5) for s in range(3)}
        assert all(len(c.token_ids) == len(c.sampling_logprobs) >= 1 for c in completions)
        assert {c.policy_version for c in completions} == {4}

    def test_no_request_gives_no_completion(self, policy: Policy) -> None:
        assert list(self.make_engine(policy).generate([])) == []

    def test_greedy_agrees_with_transformers(self, policy: Policy) -> None:
        requests = requests_for(policy, max_tokens=24, temperature=0.0)
        engine = self.make_engine(policy)
        completions = collect(engine, requests)
        assert completions == collect(engine, requests)
        for request in requests:
            assert completions[request.id, 0].token_ids == reference_greedy(policy, request)

    @pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.3, 0.8), (0.0, 1.0)])
    def test_log_probabilities_are_those_of_a_full_forward_pass(
        self, policy: Policy, temperature: float, top_p: float
    ) -> None:
        requests = requests_for(policy, num_samples=2, max_tokens=20, temperature=temperature, top_p=top_p)
        for completion in self.make_engine(policy).generate(requests):
            self.assert_logprobs(policy, requests[completion.request_id], completion)

    def test_the_same_noise_gives_the_same_result_and_other_noise_another(self, policy: Policy) -> None:
        requests = requests_for(policy, num_samples=2, max_tokens=12)
        engine = self.make_engine(policy)
        first = collect(engine, requests)
        assert_same(first, collect(engine, requests))
        for change in ({"seed": 1}, {"stream": 1}, {"step": 1}, {"example": 77}):
            other = collect(engine, [replace(r, noise=replace(r.noise, **change)) for r in requests])
            assert tokens_of(other) != tokens_of(first), change

    def test_samples_of_a_group_differ(self, policy: Policy) -> None:
        completions = collect(self.make_engine(policy), requests_for(policy, num_samples=8, max_tokens=12)[:1])
        assert len({tuple(completion.token_ids) for completion in completions.values()}) > 1

    def test_batching_does_not_change_a_result(self, policy: Policy) -> None:
        requests = requests_for(policy, num_samples=3, max_tokens=16)
        requests += [
            replace(r, id=r.id + 5, sampling=replace(r.sampling, max_tokens=7, temperature=0.8)) for r in requests
        ]
        together = collect(self.make_engine(policy), requests)
        assert_same(together, collect(self.make_engine(policy), requests[::-1]))
        assert_same(together, collect(self.make_engine(policy, max_rows=4), requests))
        engine = self.make_engine(policy, max_rows=1)
        assert_same(together, merge(collect(engine, [request]) for request in requests))

    def test_a_group_asked_for_in_parts_is_the_same_group(self, policy: Policy) -> None:
        (request, *_) = requests_for(policy, num_samples=4, max_tokens=12)
        engine = self.make_engine(policy)
        parts = [replace(request, num_samples=1, first_sample=sample) for sample in range(4)]
        assert_same(collect(engine, [request]), merge(collect(engine, [part]) for part in parts))

    def test_a_completion_ends_where_it_says(self, policy: Policy) -> None:
        requests = requests_for(policy, num_samples=12, max_tokens=60)
        ends = set(end_ids(policy))
        reasons = set()
        for completion in self.make_engine(policy).generate(requests):
            reasons.add(completion.finish_reason)
            assert not ends & set(completion.token_ids[:-1])
            if completion.finish_reason == "stop":
                assert completion.token_ids[-1] in ends
            else:
                assert completion.token_ids[-1] not in ends and len(completion.token_ids) == 60
            assert completion.text == policy.tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        assert reasons == {"stop", "length"}, "the policy of this test should sometimes end and sometimes go on"

    def test_a_stop_string_ends_a_completion_and_is_cut_from_its_text(self, policy: Policy) -> None:
        engine = self.make_engine(policy)
        request, text, stop = stoppable(policy, engine)
        (plain,) = engine.generate([request])
        stopping = replace(request, sampling=replace(request.sampling, stop=("never in it", stop)))
        (completion,) = engine.generate([stopping])
        assert completion.finish_reason == "stop"
        assert completion.text == text
        length = len(completion.token_ids)
        assert completion.token_ids == plain.token_ids[:length]
        decode = policy.tokenizer.decode
        assert stop in decode(completion.token_ids, skip_special_tokens=True)
        assert stop not in decode(completion.token_ids[:-1], skip_special_tokens=True)

    def test_one_token_can_be_asked_for(self, policy: Policy) -> None:
        for completion in self.make_engine(policy).generate(requests_for(policy, num_samples=2, max_tokens=1)):
            assert len(completion.token_ids) == 1
            is_end = completion.token_ids[0] in end_ids(policy)
            assert completion.finish_reason == ("stop" if is_end else "length")

    def test_weights_changed_in_place_are_seen(self, policy: Policy) -> None:
        engine = self.make_engine(policy)
        requests = requests_for(policy, max_tokens=8)
        before = collect(engine, requests)
        weights = [p for p in policy.model.parameters() if p.requires_grad]
        kept = [weight.detach().clone() for weight in weights]
        try:
            with torch.no_grad():
                for weight in weights:
                    weight.mul_(1.5)
            engine.load_weights(1)
            after = collect(engine, requests)
            for place, completion in after.items():
                self.assert_logprobs(policy, requests[place[0]], completion)
        finally:
            with torch.no_grad():
                for weight, value in zip(weights, kept, strict=True):
                    weight.copy_(value)
        assert {completion.policy_version for completion in after.values()} == {1}
        assert [c.sampling_logprobs for c in after.values()] != [c.sampling_logprobs for c in before.values()]

    def test_first_tokens_are_distributed_as_the_softmax_says(self, policy: Policy) -> None:
        count = 4000
        (request, *_) = requests_for(policy, num_samples=count, max_tokens=1)
        completions = list(self.make_engine(policy).generate([request]))
        probabilities = full_logits(policy, request.prompt_token_ids)[-1].softmax(-1)
        expected = (probabilities * count).double()
        seen = torch.bincount(torch.tensor([c.token_ids[0] for c in completions]), minlength=expected.numel()).double()
        often = expected >= 5  # the rest is one bin: the test's approximation needs a few draws in each
        bins = [torch.cat([x[often], x[~often].sum(0, keepdim=True)]) for x in (seen, expected)]
        assert stats.chisquare(bins[0].numpy(), (bins[1] / bins[1].sum() * count).numpy()).pvalue > 0.001

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda r: replace(r, prompt_token_ids=[]), "empty"),
            (lambda r: replace(r, num_samples=0), "num_samples is 0"),
            (lambda r: replace(r, prompt_token_ids=[10**6]), "token id 1000000"),
            (lambda r: replace(r, sampling=replace(r.sampling, max_tokens=0)), "max_tokens is 0"),
            (lambda r: replace(r, sampling=replace(r.sampling, temperature=-1.0)), "temperature is -1"),
            (lambda r: replace(r, sampling=replace(r.sampling, top_p=0.0)), "top_p is 0"),
            (lambda r: replace(r, prompt_token_ids=[5] * 300), "300 tokens"),
            (lambda r: replace(r, prompt_token_ids=[5] * 250), "set max_tokens to at most 6"),
        ],
        ids=["prompt", "samples", "token", "max-tokens", "temperature", "top-p", "context", "sum"],
    )
    def test_a_wrong_request_is_refused_before_anything_is_sampled(
        self, policy: Policy, change: Callable[[GenerationRequest], GenerationRequest], match: str
    ) -> None:
        requests = requests_for(policy, max_tokens=8)
        with pytest.raises(InvalidRequest, match=match):
            self.make_engine(policy).generate([*requests, change(requests[0])])

    def test_nan_logits_are_an_error(self, policy: Policy) -> None:
        weight = next(p for name, p in policy.model.named_parameters() if "norm" in name or "ln" in name)
        kept = weight.detach().clone()
        try:
            with torch.no_grad():
                weight.fill_(torch.nan)
            for temperature in (0.0, 1.0):
                with pytest.raises(EngineError, match="NaN"):
                    collect(self.make_engine(policy), requests_for(policy, max_tokens=4, temperature=temperature))
        finally:
            with torch.no_grad():
                weight.copy_(kept)

    @pytest.mark.parametrize("training", [True, False])
    def test_the_policy_is_left_as_it_was(self, policy: Policy, training: bool) -> None:
        policy.model.train(training)
        try:
            modes = [module.training for module in policy.model.modules()]
            for _ in self.make_engine(policy).generate(requests_for(policy, max_tokens=6)):
                assert [module.training for module in policy.model.modules()] == modes
                assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            token_ids = torch.tensor([[1, 2, 3]], device=policy.model.device)
            policy.model(input_ids=token_ids, labels=token_ids).loss.backward()  # training still works
            policy.model.zero_grad()
        finally:
            policy.model.eval()


def requests_for(
    policy: Policy, *, num_samples: int = 1, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0
) -> list[GenerationRequest]:
    """One request per prompt of different lengths."""
    sampling = SamplingParams(max_tokens=max_tokens, temperature=temperature, top_p=top_p)
    return [
        GenerationRequest(
            id=number,
            prompt_token_ids=policy.tokenizer.encode(prompt),
            num_samples=num_samples,
            sampling=sampling,
            noise=NoiseKey(seed=0, stream=0, step=0, example=number),
        )
        for number, prompt in enumerate(PROMPTS)
    ]


def collect(engine: Engine, requests: list[GenerationRequest]) -> Places:
    """Completions by request and sample; each must come once."""
    places: Places = {}
    for completion in engine.generate(requests):
        assert (completion.request_id, completion.sample_index) not in places
        places[completion.request_id, completion.sample_index] = completion
    return places


def merge(parts: Any) -> Places:
    """Completions of several calls."""
    return {place: completion for part in parts for place, completion in part.items()}


def tokens_of(completions: Places) -> dict[tuple[int, int], list[int]]:
    """Their token ids."""
    return {place: completion.token_ids for place, completion in completions.items()}


def assert_same(left: Places, right: Places) -> None:
    """The same tokens, texts and ends; log-probabilities up to the rounding of another batch."""
    assert tokens_of(left) == tokens_of(right)
    for place, completion in left.items():
        assert completion.text == right[place].text
        assert completion.finish_reason == right[place].finish_reason
        assert completion.sampling_logprobs == pytest.approx(right[place].sampling_logprobs, abs=1e-4)


def end_ids(policy: Policy) -> list[int]:
    """Ids that end a completion, by the generation config and the tokenizer."""
    named = policy.model.generation_config.eos_token_id
    return [*(named if isinstance(named, list) else [named]), policy.tokenizer.eos_token_id]


def full_logits(policy: Policy, token_ids: list[int]) -> torch.Tensor:
    """Logits ``[L, V]`` of a plain forward pass without a cache."""
    with torch.no_grad():
        whole = torch.tensor([token_ids], device=policy.model.device)
        logits: torch.Tensor = policy.model(input_ids=whole, use_cache=False).logits[0].float()
    return logits.cpu()


def reference_logprobs(
    policy: Policy, request: GenerationRequest, completion: Completion, top_p_shift: float = 0.0
) -> list[float]:
    """Log-probabilities of the completion's tokens under the distribution that its request samples from."""
    prompt, sampling = request.prompt_token_ids, request.sampling
    logits = full_logits(policy, prompt + completion.token_ids)[len(prompt) - 1 : -1].double()
    logprobs = (logits / (sampling.temperature or 1.0)).log_softmax(-1)
    if sampling.top_p < 1:
        ordered, ids = logprobs.sort(dim=-1, descending=True, stable=True)
        before = ordered.exp().cumsum(-1) - ordered.exp()
        kept = torch.zeros_like(logprobs).scatter(-1, ids, (before < sampling.top_p + top_p_shift).double())
        logprobs = logprobs.masked_fill(kept == 0, -torch.inf).log_softmax(-1)
    expected: list[float] = logprobs.gather(-1, torch.tensor(completion.token_ids).unsqueeze(-1)).squeeze(-1).tolist()
    return expected


def reference_greedy(policy: Policy, request: GenerationRequest) -> list[int]:
    """What ``transformers.generate`` continues the prompt with."""
    prompt = torch.tensor([request.prompt_token_ids], device=policy.model.device)
    output = policy.model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=request.sampling.max_tokens,
    )
    continuation: list[int] = output[0, prompt.shape[1] :].tolist()
    return continuation


def stoppable(policy: Policy, engine: Engine) -> tuple[GenerationRequest, str, str]:
    """A request for one completion that a stop string would end: the request, the text before it, the string."""
    requests = requests_for(policy, num_samples=8, max_tokens=40)
    for (number, sample), completion in collect(engine, requests).items():
        text = completion.text
        for place in range(3, len(text) - 3):
            stop = text[place : place + 2]
            if stop.isascii() and stop.isprintable() and text.find(stop) == place:
                return replace(requests[number], id=0, num_samples=1, first_sample=sample), text[:place], stop
    raise AssertionError("no completion of this policy has a stretch of plain text")
