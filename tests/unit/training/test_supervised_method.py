"""The supervised loss: its value by hand, its gradient, and that neither depends on how a batch is cut."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from openrft.models.load import Policy, load_policy
from openrft.rollout.native import NativeEngine
from openrft.rollout.supervised import AnswerSequence, Demonstration
from openrft.training.batch import Microbatch
from openrft.training.forward import completion_logprobs, logprobs_and_hits
from openrft.training.methods.supervised import AnswerSums, Supervised, groups_to_train
from openrft.training.prompt_order import Epochs
from openrft.training.supervised_evaluation import evaluate_losses
from openrft.types import Example
from random_models import write_random_model
from run_settings import settings


def demonstration(number: int, *sequences: tuple[list[int], list[int], list[bool]]) -> Demonstration:
    messages = [{"role": "user", "content": "?"}]
    example = Example(
        id=f"e{number}", index=number, line=number + 1, messages=messages, item={},
        dialogue=[*messages, {"role": "assistant", "content": "!"}],
    )  # fmt: skip
    return Demonstration(
        example=example,
        sequences=[
            AnswerSequence(prompt_token_ids=prompt, token_ids=tokens, trained=trained)
            for prompt, tokens, trained in sequences
        ],
    )


ROWS = [
    demonstration(0, ([5, 6, 7], [8, 9, 258], [True] * 3)),
    demonstration(1, ([5], [11, 12, 13, 14, 258], [True, True, False, False, True])),
    demonstration(2, ([40, 41, 42, 43, 44, 45], [50], [True]), ([60, 61], [62, 63], [False, True])),
]


@pytest.fixture(scope="module", params=["qwen3", "gemma2"])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """One that the decoder computes, and one that runs through transformers."""
    folder = tmp_path_factory.mktemp("models") / request.param
    loaded = load_policy(str(write_random_model(folder, request.param)))
    assert (loaded.decoder is None) == (request.param == "gemma2")
    return loaded


def method(policy: Policy, rows: list[Demonstration] = ROWS, **changes: object) -> Supervised:
    changes = {"batch_size": len(rows), "microbatch_tokens": 1000, **changes}
    engine = NativeEngine(policy.network, policy.tokenizer, decoder=policy.decoder)
    return Supervised(settings(**changes), policy=policy, engine=engine, rows=rows, seed=0)


def by_the_book(policy: Policy, row: Demonstration) -> tuple[torch.Tensor, int]:
    """Sum of the trained tokens' negative log-likelihoods by the network's own forward pass, and how many were hit."""
    total, hits = torch.zeros((), dtype=torch.float64), 0
    for one in row.sequences:
        ids = torch.tensor([[*one.prompt_token_ids, *one.token_ids]])
        logprobs = torch.log_softmax(policy.network(input_ids=ids).logits[0].double(), -1)
        for place, (token, is_trained) in enumerate(zip(one.token_ids, one.trained, strict=True)):
            if is_trained:
                at = logprobs[len(one.prompt_token_ids) + place - 1]
                total = total - at[token]
                hits += int(at.argmax()) == token
    return total, hits


def gradient_of(policy: Policy, supervised: Supervised) -> tuple[float, list[torch.Tensor], AnswerSums]:
    policy.network.zero_grad()
    loss, sums = 0.0, AnswerSums(0.0, 0.0, 0.0)
    for microbatch in supervised.next_batch(0).microbatches:
        value, found = supervised.loss(policy, microbatch)
        value.backward()
        loss, sums = loss + value.item(), sums + found
    return loss, [p.grad.clone() for _, p in policy.trained_parameters() if p.grad is not None], sums


def test_the_loss_of_two_tokens_is_what_one_works_out_by_hand(tmp_path: Path) -> None:
    policy = load_policy(str(write_random_model(tmp_path / "model")))
    head = policy.network.get_output_embeddings().weight
    with torch.no_grad():
        head.zero_()
    supervised = method(policy, [demonstration(0, ([5], [6, 258], [True, True]))])
    loss, _, sums = gradient_of(policy, supervised)
    # Every one of the 264 tokens has the same chance: -(ln 1/264 + ln 1/264) / 2 = ln 264.
    assert loss == pytest.approx(math.log(264))
    expected = {"train/loss": math.log(264), "train/token_accuracy": 1.0, "train/tokens": 2.0}
    assert sums.as_metrics() == pytest.approx(expected)
    # d loss / d logit = (1/264 - [it is the answer]) / 2 at each of the two places: answers rise, all others fall.
    assert head.grad is not None
    states = policy.network.get_decoder()(torch.tensor([[5, 6]])).last_hidden_state[0].detach()
    assert torch.allclose(head.grad[6], (states[0] * (1 / 264 - 1) + states[1] / 264) / 2, atol=1e-5)
    assert torch.allclose(head.grad[7], (states[0] + states[1]) / 264 / 2, atol=1e-5)


def test_loss_accuracy_and_gradient_are_those_of_the_network_over_all_trained_tokens(policy: Policy) -> None:
    loss, gradients, sums = gradient_of(policy, method(policy))
    policy.network.zero_grad()
    parts = [by_the_book(policy, row) for row in ROWS]
    count = 3 + 3 + 2
    expected = sum((nll for nll, _ in parts), torch.zeros((), dtype=torch.float64)) / count
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    metrics = sums.as_metrics()
    assert metrics["train/loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["train/tokens"] == count
    assert metrics["train/token_accuracy"] == sum(hits for _, hits in parts) / count
    wanted = [p.grad for _, p in policy.trained_parameters() if p.grad is not None]
    for found, gradient in zip(gradients, wanted, strict=True):
        assert torch.allclose(found, gradient, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("most_tokens", [1, 9, 20])
def test_however_a_batch_is_cut_its_loss_and_gradient_are_the_same(policy: Policy, most_tokens: int) -> None:
    whole, wanted, sums = gradient_of(policy, method(policy))
    cut = method(policy, microbatch_tokens=most_tokens)
    assert len(list(cut.next_batch(0).microbatches)) > 1
    loss, gradients, parts = gradient_of(policy, cut)
    assert loss == pytest.approx(whole, rel=1e-5)
    assert parts.as_metrics() == pytest.approx(sums.as_metrics(), rel=1e-5)
    for found, gradient in zip(gradients, wanted, strict=True):
        assert torch.allclose(found, gradient, atol=1e-5)


def test_tokens_that_do_not_train_change_what_follows_and_nothing_else(policy: Policy) -> None:
    (microbatch,) = method(policy).next_batch(0).microbatches
    logprobs, hits = logprobs_and_hits(policy, microbatch)
    assert len(logprobs) == len(hits) == 8
    assert torch.allclose(logprobs, completion_logprobs(policy, microbatch), atol=1e-6)
    other = [ROWS[0], demonstration(1, ([5], [11, 12, 99, 14, 258], [True, True, False, False, True])), ROWS[2]]
    changed = losses_of(policy, other)
    before = losses_of(policy, ROWS)
    assert changed[0] == pytest.approx(before[0], abs=1e-6)
    assert changed[1] != pytest.approx(before[1], abs=1e-4)  # its last answer stands after another word


def losses_of(policy: Policy, rows: list[Demonstration], microbatch_tokens: int = 1000) -> list[float]:
    found = evaluate_losses(policy, rows, name="base", step=0, microbatch_tokens=microbatch_tokens)
    assert [row.example_id for row in found.rows] == [row.example.id for row in rows]
    return [row.loss for row in found.rows]


@pytest.mark.parametrize("most_tokens", [1, 12, 1000])
def test_every_held_out_row_has_its_own_loss_whatever_it_is_computed_with(policy: Policy, most_tokens: int) -> None:
    with torch.no_grad():
        expected = [float(by_the_book(policy, row)[0]) / row.num_trained for row in ROWS]
    assert losses_of(policy, ROWS, most_tokens) == pytest.approx(expected, rel=1e-5)
    found = evaluate_losses(policy, ROWS, name="base", step=0, microbatch_tokens=most_tokens)
    tokens = [3, 3, 2]
    assert [row.tokens for row in found.rows] == tokens
    mean = sum(loss * count for loss, count in zip(expected, tokens, strict=True)) / 8
    assert found.loss == pytest.approx(mean, rel=1e-5)
    assert found.row_mean == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_weights_are_one_over_all_trained_tokens_of_the_batch() -> None:
    groups = groups_to_train(ROWS)
    assert [group.token_weights for group in groups] == [[1 / 8]] * 4


def test_every_epoch_is_another_permutation_read_on_without_a_gap() -> None:
    read = [number for step in range(15) for number in Epochs(20, 4, seed=3).numbers(step)]
    epochs = [read[first : first + 20] for first in (0, 20, 40)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert Epochs(20, 4, seed=3).numbers(4) != Epochs(20, 4, seed=4).numbers(4)
    assert Epochs(20, 4, seed=3).numbers(7) == read[28:32]


def test_a_step_that_reaches_into_the_next_epoch_takes_its_rows_from_both() -> None:
    assert sorted(Epochs(4, 6, seed=0).numbers(0)[:4]) == [0, 1, 2, 3]
    assert len(Epochs(4, 6, seed=0).numbers(0)) == 6


def test_a_microbatch_that_does_not_fit_into_memory_is_halved(policy: Policy) -> None:
    (microbatch,) = method(policy).next_batch(0).microbatches
    assert isinstance(microbatch, Microbatch) and microbatch.halve is not None
    halves = microbatch.halve()
    assert len(halves) > 1
    assert sum(float(half.token_weights_N.sum()) for half in halves) == pytest.approx(1.0)
    assert sum(int(half.trained_mask.sum()) for half in halves) == 8
