"""Encoding a prompt once for its group changes neither values nor gradients."""

from pathlib import Path

import pytest
import torch

from openrft.models.load import Policy, load_policy
from openrft.training.batch import GroupToTrain, build_microbatch, split_groups
from openrft.training.forward import completion_logprobs
from openrft.types import Completion, Grade, Rollout, Sample
from plain_forward import plain_logprobs
from random_models import KINDS, write_random_model

PROMPTS = [[5, 6, 7, 8, 9], [10, 11, 12], list(range(20, 37))]
COMPLETIONS = [[[40, 41, 42, 43], [50], [51, 52]], [[60, 61], [70, 71, 72, 73, 74, 75]], [[80, 81, 82], [83]]]


def groups_to_train() -> list[GroupToTrain]:
    groups = []
    for prompt, completions in zip(PROMPTS, COMPLETIONS, strict=True):
        rollouts = [rollout_of(tokens, number) for number, tokens in enumerate(completions)]
        groups.append(
            GroupToTrain(
                prompt_token_ids=prompt,
                rollouts=rollouts,
                advantages=[0.5 - number for number in range(len(rollouts))],
                token_weights=[0.1 * (number + 1) for number in range(len(rollouts))],
            )
        )
    return groups


def rollout_of(token_ids: list[int], number: int) -> Rollout:
    completion = Completion(
        request_id=0,
        sample_index=number,
        token_ids=token_ids,
        sampling_logprobs=[-1.0] * len(token_ids),
        text="",
        finish_reason="stop",
        policy_version=0,
    )
    grade = Grade(grader="g", score=1.0)
    return Rollout(sample_index=number, completion=completion, sample=Sample(output_text=""), grade=grade)


@pytest.fixture(params=sorted(KINDS))
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Policy:
    return load_policy(str(write_random_model(tmp_path / "model", request.param)))


def test_log_probabilities_equal_those_of_a_full_forward_pass_of_each_rollout(policy: Policy) -> None:
    batch = build_microbatch(groups_to_train(), pad_id=256, device=torch.device("cpu"))
    with torch.no_grad():
        found = completion_logprobs(policy, batch, temperature=0.7)
        torch.testing.assert_close(
            found, plain_logprobs(policy.network, PROMPTS, COMPLETIONS, temperature=0.7), atol=2e-5, rtol=1e-4
        )


def test_gradients_equal_those_of_a_full_forward_pass_of_each_rollout(policy: Policy) -> None:
    batch = build_microbatch(groups_to_train(), pad_id=256, device=torch.device("cpu"))
    coefficients = batch.advantages_N * batch.token_weights_N
    (completion_logprobs(policy, batch) * coefficients).sum().backward()
    shared = {name: tensor.grad.clone() for name, tensor in policy.trained_parameters() if tensor.grad is not None}
    policy.network.zero_grad()
    (plain_logprobs(policy.network, PROMPTS, COMPLETIONS) * coefficients).sum().backward()
    for name, tensor in policy.trained_parameters():
        assert tensor.grad is not None
        torch.testing.assert_close(shared[name], tensor.grad, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("most_tokens", [1, 12, 25, 1000])
def test_microbatches_of_any_size_add_up_to_the_same_gradient(tmp_path: Path, most_tokens: int) -> None:
    policy = load_policy(str(write_random_model(tmp_path / "model", "qwen3")))

    def gradient(limit: int) -> dict[str, torch.Tensor]:
        policy.network.zero_grad()
        for part in split_groups(groups_to_train(), most_tokens=limit):
            batch = build_microbatch(part, pad_id=256, device=torch.device("cpu"))
            loss = completion_logprobs(policy, batch) * batch.advantages_N * batch.token_weights_N
            loss.sum().backward()
        return {name: tensor.grad.clone() for name, tensor in policy.trained_parameters() if tensor.grad is not None}

    whole, parts = gradient(10_000), gradient(most_tokens)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-4, rtol=1e-3, msg=name)


def test_a_group_above_the_limit_is_split_and_loses_no_rollout() -> None:
    parts = split_groups(groups_to_train(), most_tokens=8)
    assert sorted(len(r.completion.token_ids) for part in parts for g in part for r in g.rollouts) == [
        1,
        1,
        2,
        2,
        3,
        4,
        6,
    ]
    assert sum(len(g.advantages) for part in parts for g in part) == 7
