"""Cutting a batch bounds what it holds in memory, and changes nothing else."""

import random

import pytest
import torch

from openrft.training.batch import GroupToTrain, build_microbatch, padded_tokens, split_groups
from openrft.types import Completion, Grade, Rollout, Sample

CPU = torch.device("cpu")


def group_of(prompt: int, completions: list[int], *, first: int = 0) -> GroupToTrain:
    """Rollout ``n`` carries n in its sample index, its advantage and, tenfold, its weight."""
    numbers = range(first, first + len(completions))
    return GroupToTrain(
        prompt_token_ids=[1] * prompt,
        rollouts=[rollout_of(length, number) for length, number in zip(completions, numbers, strict=True)],
        advantages=[float(number) for number in numbers],
        token_weights=[10.0 * number for number in numbers],
    )


def rollout_of(length: int, number: int) -> Rollout:
    completion = Completion(
        request_id=0,
        sample_index=number,
        token_ids=[2] * length,
        sampling_logprobs=[-float(number)] * length,
        text="",
        finish_reason="stop",
        policy_version=0,
    )
    grade = Grade(grader="g", score=1.0)
    return Rollout(sample_index=number, completion=completion, sample=Sample(output_text=""), grade=grade)


def positions(groups: list[GroupToTrain]) -> int:
    """What the tensors themselves hold, the copies of the prompts included."""
    batch = build_microbatch(groups, pad_id=0, device=CPU)
    (num_rollouts, completion), prompt = batch.completion_ids.shape, batch.prompt_ids.shape[1]
    return batch.prompt_ids.numel() + num_rollouts * (prompt + completion)


def check(groups: list[GroupToTrain], most_tokens: int) -> list[list[GroupToTrain]]:
    microbatches = split_groups(groups, most_tokens=most_tokens)
    for microbatch in microbatches:
        rollouts = [rollout for group in microbatch for rollout in group.rollouts]
        assert padded_tokens(microbatch) == positions(microbatch)
        assert positions(microbatch) <= most_tokens or len(rollouts) == 1
    found = [group for microbatch in microbatches for group in microbatch]
    before = {rollout.sample_index: rollout for group in groups for rollout in group.rollouts}
    after = {rollout.sample_index: rollout for group in found for rollout in group.rollouts}
    assert sum(len(group.rollouts) for group in found) == len(before)
    assert after == before
    prompts = {rollout.sample_index: group.prompt_token_ids for group in groups for rollout in group.rollouts}
    for group in found:
        numbers = [rollout.sample_index for rollout in group.rollouts]
        assert group.advantages == numbers
        assert group.token_weights == [10.0 * number for number in numbers]
        assert all(prompts[number] == group.prompt_token_ids for number in numbers)
    return microbatches


@pytest.mark.parametrize("place", [0, 7, 15])
def test_one_long_completion_does_not_pad_the_short_ones_of_its_group_beyond_the_limit(place: int) -> None:
    completions = [20] * 16
    completions[place] = 1000
    microbatches = check([group_of(200, completions)], 1500)
    longest = [part for part in microbatches if max(group.longest_completion for group in part) == 1000]
    assert [len(group.rollouts) for part in longest for group in part] == [1]


def test_the_cost_of_a_microbatch_counts_padding_and_a_copy_of_the_prompt_for_every_rollout() -> None:
    groups = [group_of(5, [1, 4]), group_of(3, [2], first=2)]
    assert padded_tokens(groups) == 2 * 5 + 3 * (5 + 4)
    assert len(split_groups(groups, most_tokens=37)) == 1
    assert len(split_groups(groups, most_tokens=36)) == 2


def test_groups_of_similar_length_share_a_microbatch() -> None:
    short, long = [4, 4], [400, 400]
    groups = [group_of(10, lengths, first=2 * row) for row, lengths in enumerate([short, long, short, long])]
    microbatches = check(groups, 1700)
    assert [[group.longest_completion for group in part] for part in microbatches] == [[4, 4], [400, 400]]


def test_a_group_that_fits_stays_whole_and_in_its_order() -> None:
    group = group_of(4, [9, 1, 5])
    assert split_groups([group], most_tokens=4 + 3 * (4 + 9)) == [[group]]


def test_tokens_keep_the_credit_of_their_rollout_in_the_tensors() -> None:
    for part in split_groups([group_of(20, [7, 1, 30, 2, 7, 3], first=1)], most_tokens=90):
        batch = build_microbatch(part, pad_id=0, device=CPU)
        torch.testing.assert_close(batch.advantages_N, -batch.sampling_logprobs_N)
        torch.testing.assert_close(batch.token_weights_N, -10 * batch.sampling_logprobs_N)


@pytest.mark.parametrize("seed", range(20))
def test_no_batch_exceeds_the_limit_or_loses_a_rollout(seed: int) -> None:
    chance = random.Random(seed)
    groups: list[GroupToTrain] = []
    for row in range(chance.randint(1, 8)):
        completions = [chance.randint(1, 300) for _ in range(chance.randint(1, 12))]
        groups.append(group_of(chance.randint(1, 200), completions, first=20 * row))
    check(groups, chance.choice([1, 300, 1000, 5000, 100_000]))


def test_no_groups_make_no_microbatches() -> None:
    assert split_groups([], most_tokens=10) == []
