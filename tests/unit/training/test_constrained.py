"""Training under a schema: the distribution that was sampled is the one that is trained, forced tokens aside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openrft.algorithms import ALGORITHMS
from openrft.models.load import Policy, load_policy
from openrft.rollout.collect import Prompt
from openrft.rollout.constraint import FORCED, unpack
from openrft.rollout.native import NativeEngine, schema_compiler
from openrft.training.batch import GroupToTrain, Microbatch, build_microbatch, split_groups
from openrft.training.forward import completion_logprobs
from openrft.training.methods.reinforcement import Reinforcement, assign_credit
from openrft.types import Example, Grade, GradingRequest
from random_models import KINDS, write_random_model
from rollouts import make_group
from run_settings import settings

SCHEMA = (
    '{"type":"object","properties":{"kind":{"enum":["red","green","grey"]},"count":{"type":"integer","minimum":0,'
    '"maximum":99},"why":{"type":"string","maxLength":6}},"required":["kind","count"],"additionalProperties":false}'
)


class LengthGrader:
    """Prefers long answers; needs nothing."""

    name, is_inline = "length", True

    def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
        """One score per request."""
        return [Grade(grader="length", score=len(request.sample.output_text) / 100) for request in requests]

    def close(self) -> None:
        """Nothing to give back."""


def make_method(policy: Policy, **changes: Any) -> Reinforcement:
    prompts = [
        Prompt(
            example=Example(id=str(number), index=number, line=number + 1, messages=[], item={}),
            token_ids=policy.tokenizer.encode(text),
        )
        for number, text in enumerate(["one", "number two"])
    ]
    return Reinforcement(
        settings(**{"batch_size": 2, "group_size": 4, "max_completion_tokens": 60, "algorithm": "rloo", **changes}),
        policy=policy,
        engine=NativeEngine(policy.network, policy.tokenizer, decoder=policy.decoder),
        grader=LengthGrader(),
        prompts=prompts,
        seed=3,
        json_schema=SCHEMA,
    )


@pytest.fixture(params=sorted(KINDS))
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Policy:
    return load_policy(str(write_random_model(tmp_path / "model", request.param)))


def dense_logprobs(network: Any, policy: Policy, groups: list[Any], temperature: float) -> list[torch.Tensor]:
    """By the book, per rollout: every sequence alone, every mask by a matcher of its own, one log-softmax."""
    compiler = schema_compiler(policy.network, policy.tokenizer)
    values = []
    for group in groups:
        for rollout in group.rollouts:
            tokens, prompt = rollout.completion.token_ids, group.prompt_token_ids
            logits = network(input_ids=torch.tensor([prompt + tokens]), use_cache=False).logits[0].float()
            matcher, rows = compiler.start(SCHEMA, prompt), []
            for place, token in enumerate(tokens):
                row = logits[len(prompt) - 1 + place] / temperature
                allowed = torch.isfinite(compiler.restrict(torch.zeros(1, len(row)), [matcher]))[0]
                rows.append(torch.log_softmax(row[allowed], dim=-1)[int(allowed[:token].sum())])
                if place < len(tokens) - 1:
                    compiler.follow([(matcher, token)])
            values.append(torch.stack(rows))
    return values


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_first_ratio_is_one_and_the_gradient_that_of_a_dense_softmax_over_allowed_tokens(
    policy: Policy, temperature: float
) -> None:
    method = make_method(policy, temperature=temperature, microbatch_tokens=100_000)
    batch = method.next_batch(0)
    (microbatch,) = batch.microbatches
    loss, sums = method.loss(policy, microbatch)
    metrics = sums.as_metrics() | sums.mismatch_metrics()
    assert metrics["policy/mismatch_max_abs"] < 1e-5
    assert metrics["policy/ratio_mean"] == pytest.approx(1, abs=1e-5)
    loss.backward()
    found = {name: tensor.grad.clone() for name, tensor in policy.trained_parameters() if tensor.grad is not None}

    policy.network.zero_grad()
    logprobs = dense_logprobs(policy.network, policy, list(batch.groups), temperature)
    rollouts = [rollout for group in batch.groups for rollout in group.rollouts]
    # rloo with a constant divisor: every token of every rollout the same weight.
    weight = 1 / (len(rollouts) * 60)
    dense = -sum(
        (one.sum() * rollout.advantage * weight for one, rollout in zip(logprobs, rollouts, strict=True)),
        torch.zeros(()),
    )
    for one, rollout in zip(logprobs, rollouts, strict=True):
        assert one.tolist() == pytest.approx(rollout.completion.sampling_logprobs, abs=2e-5)
    assert float(loss.detach()) == pytest.approx(float(dense.detach()), abs=1e-5)
    dense.backward()
    for name, tensor in policy.trained_parameters():
        assert tensor.grad is not None
        torch.testing.assert_close(found[name], tensor.grad, atol=2e-4, rtol=2e-3, msg=name)


@pytest.fixture
def qwen(tmp_path: Path) -> Policy:
    return load_policy(str(write_random_model(tmp_path / "model", "qwen3")))


def test_the_reference_is_held_to_the_schema_too(qwen: Policy) -> None:
    method = make_method(qwen, kl_beta=0.1, microbatch_tokens=100_000)
    batch = method.next_batch(0)
    (microbatch,) = batch.microbatches
    assert method.loss(qwen, microbatch)[1].as_metrics()["policy/kl_to_reference"] == pytest.approx(0, abs=1e-6)
    before = torch.cat(dense_logprobs(qwen.network, qwen, list(batch.groups), 1.0)).detach()
    with torch.no_grad():
        for _, tensor in qwen.trained_parameters():
            tensor.mul_(1.05)
        after = torch.cat(dense_logprobs(qwen.network, qwen, list(batch.groups), 1.0))
    k3 = torch.expm1(before - after) - (before - after)
    chosen = torch.tensor([value != 0 for value in before.tolist()])
    found = method.loss(qwen, microbatch)[1].as_metrics()["policy/kl_to_reference"]
    assert found == pytest.approx(float(k3[chosen].mean()), rel=1e-3)
    assert found > 1e-4


def test_microbatches_of_any_size_add_up_to_the_same_gradient(qwen: Policy) -> None:
    def gradient(most_tokens: int) -> dict[str, torch.Tensor]:
        qwen.network.zero_grad()
        method = make_method(qwen, microbatch_tokens=most_tokens)
        microbatches = list(method.next_batch(0).microbatches)
        assert (len(microbatches) > 1) == (most_tokens < 1000)
        for microbatch in microbatches:
            method.loss(qwen, microbatch)[0].backward()
        return {name: tensor.grad.clone() for name, tensor in qwen.trained_parameters() if tensor.grad is not None}

    whole, parts = gradient(100_000), gradient(70)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-4, rtol=1e-3, msg=name)


def test_a_step_tells_how_much_was_forced_and_what_did_not_parse(qwen: Policy) -> None:
    batch = make_method(qwen, max_completion_tokens=25).next_batch(0)
    rollouts = [rollout for group in batch.groups for rollout in group.rollouts]
    forced = sum(value == 0.0 for rollout in rollouts for value in rollout.completion.sampling_logprobs)
    tokens = sum(len(rollout.completion.token_ids) for rollout in rollouts)
    assert batch.metrics["rollout/forced_share"] == pytest.approx(forced / tokens)
    cut = sum(rollout.completion.finish_reason == "length" for rollout in rollouts)
    assert batch.metrics["rollout/parse_error_share"] == cut / len(rollouts) > 0
    surprise = -sum(sum(rollout.completion.sampling_logprobs) for rollout in rollouts)
    assert batch.metrics["policy/entropy"] == pytest.approx(surprise / (tokens - forced))


def test_forced_tokens_count_neither_in_lengths_nor_in_microbatches() -> None:
    group = make_group([1.0, 0.0, 0.5], lengths=[3, 4, 2])
    rows = ([0, FORCED, 1], [FORCED, 2, FORCED, FORCED], [FORCED, FORCED])
    masks = [np.array(row, np.int32) for row in rows]
    (trained,) = assign_credit([group], ALGORITHMS["grpo"], settings(), [masks])
    assert [rollout.sample_index for rollout in trained.rollouts] == [0, 1]
    # sequence mean: 1 / (2 rollouts x their chosen tokens)
    assert trained.token_weights == [1 / 4, 1 / 2]
    assert [rollout.left_out for rollout in group.rollouts] == [None, None, "no_choice"]
    assert trained.advantages[0] == pytest.approx(-trained.advantages[1])  # compared with all three
    patterns = np.array([[1, 0], [3, 0], [7, 0]], np.int32)
    batch = build_microbatch([trained], pad_id=0, device=torch.device("cpu"), patterns_MW=patterns)
    assert batch.completion_ids[batch.trained_mask].tolist() == [10, 12, 11]
    assert batch.sequence_N.tolist() == [0, 0, 1]
    assert batch.token_weights_N.tolist() == [0.25, 0.25, 0.5]
    assert batch.pattern_N is not None and batch.patterns_MW is not None
    assert batch.patterns_MW[batch.pattern_N].tolist() == [[1, 0], [3, 0], [7, 0]]
    halves = [part for parts in split_groups([trained], most_tokens=1) for part in parts]
    assert [part.patterns[0].tolist() for part in halves if part.patterns] == [rows[0], rows[1]]


def test_a_group_in_which_nothing_was_chosen_has_no_gradient() -> None:
    groups = [make_group([1.0, 0.0]), make_group([1.0, 0.0], index=1)]
    masks = [[np.full(2, FORCED, np.int32)] * 2, [np.zeros(2, np.int32)] * 2]
    (trained,) = assign_credit(groups, ALGORITHMS["rft"], settings(), masks)
    assert trained.rollouts == groups[1].rollouts
    assert trained.token_weights == [1 / 4, 1 / 4]
    assert [rollout.left_out for rollout in groups[0].rollouts] == ["no_choice", "no_choice"]
    assert assign_credit(groups[:1], ALGORITHMS["rft"], settings(), masks[:1]) == []


def test_without_a_schema_nothing_changes(qwen: Policy) -> None:
    group = make_group([1.0, 0.0], lengths=[3, 2])
    (trained,) = assign_credit([group], ALGORITHMS["rloo"], settings())
    batch = build_microbatch([trained], pad_id=0, device=torch.device("cpu"))
    assert isinstance(batch, Microbatch)
    assert batch.patterns_MW is None and batch.trained_mask is batch.completion_mask
    full = unpack(torch.full((1, 9), -1, dtype=torch.int32), 264)
    assert full.all()
    everything = build_microbatch(
        [
            GroupToTrain(
                prompt_token_ids=trained.prompt_token_ids,
                rollouts=trained.rollouts,
                advantages=trained.advantages,
                token_weights=trained.token_weights,
                patterns=[np.zeros(3, np.int32), np.zeros(2, np.int32)],
            )
        ],
        pad_id=0,
        device=torch.device("cpu"),
        patterns_MW=np.full((1, 9), -1, np.int32),
    )
    with torch.no_grad():
        assert (completion_logprobs(qwen, batch) == completion_logprobs(qwen, everything)).all()
