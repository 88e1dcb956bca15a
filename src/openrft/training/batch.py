"""From groups of rollouts to the tensors of an update.

A group stays together where it fits: its prompt is encoded once, whatever the number of its rollouts. What a microbatch
costs depends on who computes it: the decoder written out here takes the tokens as they are (:func:`packed_tokens`);
transformers takes rectangles, whose padding takes memory though it is masked (:func:`padded_tokens`). What does not fit
into memory after all is halved (:class:`Cutter`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from openrft.errors import OpenRFTError
from openrft.models.load import Policy
from openrft.rollout.constraint import FORCED
from openrft.types import Rollout


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupToTrain:
    """The rollouts of one prompt that train, each with its credit and its weight in the loss."""

    prompt_token_ids: list[int]  # [P]
    rollouts: list[Rollout]
    advantages: list[float]  # one per rollout
    token_weights: list[float]  # one per rollout: what each of its tokens counts in the loss
    patterns: list[NDArray[np.int32]] | None = None  # one per rollout [T]: its tokens' masks; see rollout.constraint
    trained: list[list[bool]] | None = None  # one per rollout [T]: which of its tokens train; None: all of them

    @property
    def longest_completion(self) -> int:
        """Tokens of the longest completion."""
        return max(len(rollout.completion.token_ids) for rollout in self.rollouts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Microbatch:
    """Groups as tensors: K prompts, S completions of at most T tokens, N completion tokens that train.

    All train but those that a schema forced, where nothing was chosen and so there is nothing to learn, and those that
    ``trained`` of a group leaves out.
    """

    prompts: list[list[int]]  # K
    completions: list[list[list[int]]]  # of each prompt
    prompt_ids: torch.Tensor  # [K, P] left-padded
    prompt_mask: torch.Tensor  # [K, P] 1 on real tokens
    completion_ids: torch.Tensor  # [S, T] right-padded
    completion_mask: torch.Tensor  # [S, T] bool, True on real tokens
    trained_mask: torch.Tensor  # [S, T] bool, True on the N tokens that train
    group_S: torch.Tensor  # [S] which prompt each completion belongs to
    sampling_logprobs_N: torch.Tensor  # as recorded by the engine
    advantages_N: torch.Tensor
    token_weights_N: torch.Tensor
    sequence_N: torch.Tensor  # which rollout each token belongs to
    patterns_MW: torch.Tensor | None = None  # under a schema: the different masks of allowed tokens, as 32-bit words
    pattern_N: torch.Tensor | None = None  # which of them holds where a token was chosen
    halve: Callable[[], list[Microbatch]] | None = None  # the same in smaller ones, where there is a way to cut it


@dataclass(frozen=True, slots=True)
class Minibatch:
    """What one optimizer step computes. The losses of a batch's minibatches add up to that of the batch."""

    microbatches: Iterable[Microbatch]
    scale: float = 1.0
    """What its gradient is multiplied with to be as large as that of a whole batch: clipping looks at its length."""


Measure = Callable[[Sequence[GroupToTrain]], int]
"""How many tokens a microbatch of some groups counts for."""


def split_groups(
    groups: Sequence[GroupToTrain], *, most_tokens: int, measure: Measure | None = None
) -> list[list[GroupToTrain]]:
    """Cut a batch into microbatches of at most ``most_tokens`` by ``measure``, groups of similar length together.

    A single group above the limit is split by rollouts (its prompt is then encoded once per part), and only a single
    rollout may be above it. The loss stays the same, because every token carries its own weight.
    """
    measure = measure or padded_tokens
    parts = [part for group in groups for part in _split_group(group, most_tokens, measure)]
    parts.sort(key=lambda part: len(part.prompt_token_ids) + part.longest_completion)
    microbatches: list[list[GroupToTrain]] = []
    for part in parts:
        if microbatches and measure([*microbatches[-1], part]) <= most_tokens:
            microbatches[-1].append(part)
        else:
            microbatches.append([part])
    return microbatches


class Cutter:
    """Cuts batches into microbatches of at most ``most_tokens``, and of half as many once one did not fit in memory.

    The loss of the halves is that of the whole, because every token carries its own weight. ``tell`` is told.
    """

    def __init__(
        self,
        *,
        most_tokens: int,
        measure: Measure,
        pad_id: int,
        device: torch.device,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.most_tokens = most_tokens
        self._measure = measure
        self._pad_id = pad_id
        self._device = device
        self._tell = tell

    @classmethod
    def of_policy(cls, policy: Policy, *, most_tokens: int, tell: Callable[[str], None] | None = None) -> Cutter:
        """The one that fits what computes ``policy``."""
        return cls(
            most_tokens=most_tokens,
            measure=measure_of(policy),
            pad_id=policy.tokenizer.pad_token_id,
            device=policy.network.device,
            tell=tell,
        )

    def cut(self, groups: Sequence[GroupToTrain], patterns_MW: NDArray[np.int32] | None = None) -> Iterator[Microbatch]:
        """Microbatches of ``groups``, each built when it is asked for; see :func:`build_microbatch`."""
        for part in split_groups(groups, most_tokens=self.most_tokens, measure=self._measure):
            # The limit may have fallen since.
            for smaller in split_groups(part, most_tokens=self.most_tokens, measure=self._measure):
                yield self._build(smaller, patterns_MW)

    def _build(self, part: Sequence[GroupToTrain], patterns_MW: NDArray[np.int32] | None) -> Microbatch:
        return build_microbatch(
            part,
            pad_id=self._pad_id,
            device=self._device,
            patterns_MW=patterns_MW,
            halve=lambda: self._halve(part, patterns_MW),
        )

    def _halve(self, part: Sequence[GroupToTrain], patterns_MW: NDArray[np.int32] | None) -> list[Microbatch]:
        """The rollouts of a microbatch in parts of at most half its size. Raises where it is a single rollout."""
        size = self._measure(part)
        half = min(self.most_tokens, size // 2)
        if sum(len(group.rollouts) for group in part) == 1:
            raise OpenRFTError(
                f"one rollout of {size} tokens, prompt included, does not fit into memory beside the model; lower "
                "max_completion_tokens, shorten the prompts, train an adapter (weights: lora) or a smaller model",
                code="out_of_memory",
            )
        if half < self.most_tokens:
            self.most_tokens = half
            if self._tell is not None:
                self._tell(f"microbatches of {size} tokens did not fit into memory; {half} from here on")
        return [
            self._build(smaller, patterns_MW) for smaller in split_groups(part, most_tokens=half, measure=self._measure)
        ]


def measure_of(policy: Policy) -> Measure:
    """What a group costs whoever computes ``policy``."""
    return padded_tokens if policy.decoder is None else packed_tokens


def packed_tokens(groups: Sequence[GroupToTrain]) -> int:
    """Rows that the decoder computes for a microbatch of ``groups``: every prompt once, nothing padded."""
    return sum(
        len(group.prompt_token_ids) + sum(len(rollout.completion.token_ids) for rollout in group.rollouts)
        for group in groups
    )


def padded_tokens(groups: Sequence[GroupToTrain]) -> int:
    """Positions that a microbatch of ``groups`` holds in memory, padding included.

    Every prompt is encoded at the length of the longest, and every rollout has a copy of its prompt's keys and values
    beside a completion at the length of the longest.
    """
    prompt = max(len(group.prompt_token_ids) for group in groups)
    completion = max(group.longest_completion for group in groups)
    return len(groups) * prompt + sum(len(group.rollouts) for group in groups) * (prompt + completion)


def build_microbatch(
    groups: Sequence[GroupToTrain],
    *,
    pad_id: int,
    device: torch.device,
    patterns_MW: NDArray[np.int32] | None = None,
    halve: Callable[[], list[Microbatch]] | None = None,
) -> Microbatch:
    """Lay groups out as tensors on ``device``. ``patterns_MW`` are the masks that the groups' ``patterns`` count."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    completions = [rollout.completion.token_ids for rollout in rollouts]
    lengths = torch.tensor([len(ids) for ids in completions])
    longest_prompt = max(len(group.prompt_token_ids) for group in groups)
    prompt_ids = torch.full((len(groups), longest_prompt), pad_id)
    prompt_mask = torch.zeros((len(groups), longest_prompt), dtype=torch.long)
    for row, group in enumerate(groups):
        prompt_ids[row, longest_prompt - len(group.prompt_token_ids) :] = torch.tensor(group.prompt_token_ids)
        prompt_mask[row, longest_prompt - len(group.prompt_token_ids) :] = 1
    completion_ids = torch.full((len(completions), int(lengths.max())), pad_id)
    for row, ids in enumerate(completions):
        completion_ids[row, : len(ids)] = torch.tensor(ids)
    completion_mask = torch.arange(completion_ids.shape[1])[None, :] < lengths[:, None]
    trained_mask, masks = completion_mask, {}
    if patterns_MW is not None:
        rows = [torch.from_numpy(row) for group in groups for row in group.patterns or ()]
        pattern_ST = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=FORCED)
        trained_mask = pattern_ST != FORCED
        used, pattern_N = torch.unique(pattern_ST[trained_mask], return_inverse=True)
        masks = {
            "patterns_MW": torch.from_numpy(patterns_MW[used.numpy()]).to(device),
            "pattern_N": pattern_N.to(device),
        }
    if any(group.trained is not None for group in groups):
        trained_mask = trained_mask & _trained(groups, completion_mask.shape)
    counts = trained_mask.sum(1)
    group_S = torch.tensor([number for number, group in enumerate(groups) for _ in group.rollouts])
    advantages_S = torch.tensor([value for group in groups for value in group.advantages])
    weights_S = torch.tensor([value for group in groups for value in group.token_weights])
    logprobs = torch.tensor([value for rollout in rollouts for value in rollout.completion.sampling_logprobs])
    return Microbatch(
        prompts=[group.prompt_token_ids for group in groups],
        completions=[[rollout.completion.token_ids for rollout in group.rollouts] for group in groups],
        prompt_ids=prompt_ids.to(device),
        prompt_mask=prompt_mask.to(device),
        completion_ids=completion_ids.to(device),
        completion_mask=completion_mask.to(device),
        trained_mask=trained_mask.to(device),
        group_S=group_S.to(device),
        sampling_logprobs_N=logprobs[trained_mask[completion_mask]].to(device),
        advantages_N=advantages_S.repeat_interleave(counts).to(device),
        token_weights_N=weights_S.repeat_interleave(counts).to(device),
        sequence_N=torch.arange(len(completions)).repeat_interleave(counts).to(device),
        halve=halve,
        **masks,
    )


def _trained(groups: Sequence[GroupToTrain], shape: torch.Size) -> torch.Tensor:
    """``[S, T]`` bool: what the groups say of their tokens; True where they say nothing."""
    mask = torch.ones(shape, dtype=torch.bool)
    first = 0
    for group in groups:
        for row, flags in enumerate(group.trained or ()):
            mask[first + row, : len(flags)] = torch.tensor(flags)
        first += len(group.rollouts)
    return mask


def _split_group(group: GroupToTrain, most_tokens: int, measure: Measure) -> list[GroupToTrain]:
    """Halve until each part fits, short completions apart from long ones: one long rollout pads few others."""
    if measure([group]) <= most_tokens or len(group.rollouts) == 1:
        return [group]
    by_length = sorted(range(len(group.rollouts)), key=lambda row: len(group.rollouts[row].completion.token_ids))
    middle = len(by_length) // 2
    parts = []
    for rows in (by_length[:middle], by_length[middle:]):
        half = GroupToTrain(
            prompt_token_ids=group.prompt_token_ids,
            rollouts=[group.rollouts[row] for row in rows],
            advantages=[group.advantages[row] for row in rows],
            token_weights=[group.token_weights[row] for row in rows],
            patterns=None if group.patterns is None else [group.patterns[row] for row in rows],
            trained=None if group.trained is None else [group.trained[row] for row in rows],
        )
        parts.extend(_split_group(half, most_tokens, measure))
    return parts
