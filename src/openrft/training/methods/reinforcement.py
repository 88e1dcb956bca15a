"""Reinforcement: sample groups, grade them, and give every token the credit of its rollout."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from openrft.algorithms import ALGORITHMS, Algorithm, LossMetrics, PackedTokens, has_signal
from openrft.errors import InvalidRequest, UngradedError
from openrft.models.load import Policy
from openrft.rollout.clock import PhaseClock
from openrft.rollout.collect import Prompt, collect
from openrft.rollout.constraint import FORCED, Replay
from openrft.rollout.native import schema_compiler, stop_ids_of
from openrft.rollout.outage import Patience
from openrft.training.batch import Cutter, GroupToTrain, Microbatch, Minibatch
from openrft.training.forward import completion_logprobs
from openrft.training.loop import Batch
from openrft.training.prompt_order import build_order
from openrft.training.resolve import ReinforcementSettings
from openrft.training.rollout_metrics import rollout_metrics
from openrft.training.sampling import training_sampling
from openrft.types import Engine, Grader, Rollout, RolloutGroup, is_outage

TRAINING_STREAM = 0  # which random numbers; evaluation has streams of its own


class Reinforcement:
    """RFT: rollouts, grades, advantages, policy gradient. The numbers come from ``openrft.algorithms``."""

    def __init__(
        self,
        settings: ReinforcementSettings,
        *,
        policy: Policy,
        engine: Engine,
        grader: Grader,
        prompts: Sequence[Prompt],
        seed: int,
        json_schema: str | None = None,
        on_rollout: Callable[[], None] | None = None,
        patience: Patience | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._engine = engine
        self._grader = grader
        self._prompts = list(prompts)
        self._seed = seed
        self._order = build_order(settings.prompt_order, len(self._prompts), settings.batch_size, seed)
        self._on_rollout = on_rollout
        self._patience = patience
        self._algorithm = _algorithm(settings)
        self._reference = _reference(policy) if settings.kl_beta > 0 else None
        self._sampling = training_sampling(settings, json_schema)
        self._compiler = schema_compiler(policy.network, policy.tokenizer)
        self._end_tokens = frozenset(stop_ids_of(policy.network, policy.tokenizer))
        self._cutter = Cutter.of_policy(policy, most_tokens=settings.microbatch_tokens, tell=tell)

    def next_batch(self, step: int, clock: PhaseClock | None = None) -> Batch:
        """Sample and grade the groups of the 0-based ``step`` and give each rollout its advantage.

        Which prompts a step takes follows from the seed, the step and the state that checkpoints hold, so that a
        resumed run trains on what the interrupted one would have. Raises :class:`UngradedError` when too many rollouts
        have no grade.
        """
        numbers = self._order.numbers(step)
        groups = collect(
            self._engine,
            self._grader,
            [self._prompts[number] for number in numbers],
            num_samples=self._settings.group_size,
            sampling=self._sampling,
            seed=self._seed,
            stream=TRAINING_STREAM,
            step=step,
            model=self._policy.name,
            on_rollout=self._on_rollout,
            patience=self._patience,
            clock=clock,
        )
        replay = self._replay(groups)
        metrics = rollout_metrics(
            groups,
            pass_threshold=self._settings.passing_score,
            version=step,
            end_tokens=self._end_tokens,
            num_chosen=None if replay is None else replay.num_chosen,
        )
        self._stop_if_ungraded(groups)
        to_train = self._give_credit(groups, replay)
        self._order.saw({number: has_signal(group.rewards) for number, group in zip(numbers, groups, strict=True)})
        metrics["groups/trained_share"] = len(to_train) / len(groups)
        return Batch(minibatches=self._minibatches(to_train, replay), groups=groups, metrics=metrics)

    def microbatches(self, groups: Sequence[RolloutGroup]) -> Iterator[Microbatch]:
        """What the updates of these groups compute; their rollouts are given credit."""
        replay = self._replay(groups)
        for minibatch in self._minibatches(self._give_credit(groups, replay), replay):
            yield from minibatch.microbatches

    def loss(self, policy: Policy, batch: Microbatch) -> tuple[torch.Tensor, LossMetrics]:
        """A microbatch's share of the policy loss."""
        tokens = PackedTokens(
            logprobs_N=completion_logprobs(policy, batch, temperature=self._settings.temperature),
            sampling_logprobs_N=batch.sampling_logprobs_N,
            advantages_N=batch.advantages_N,
            weights_N=batch.token_weights_N,
            sequence_index_N=batch.sequence_N,
            reference_logprobs_N=None
            if self._reference is None
            else self._reference(batch, self._settings.temperature),
        )
        return self._algorithm.policy_loss(tokens, kl_beta=self._settings.kl_beta)

    def after_update(self, version: int) -> None:
        """Hand the new weights to the engine."""
        self._engine.load_weights(version)

    def state(self) -> dict[str, Any]:
        """Where in the order of prompts the run is; noise is a function of the step."""
        return self._order.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._order.restore(state)

    def _give_credit(self, groups: Sequence[RolloutGroup], replay: Replay | None) -> list[GroupToTrain]:
        patterns = None if replay is None else replay.in_rows([len(group.rollouts) for group in groups])
        return assign_credit(groups, self._algorithm, self._settings, patterns)

    def _minibatches(self, to_train: Sequence[GroupToTrain], replay: Replay | None) -> Iterator[Minibatch]:
        size = self._settings.groups_per_update
        for first in range(0, len(to_train), size):
            part = to_train[first : first + size]
            microbatches = self._cutter.cut(part, None if replay is None else replay.patterns_MW)
            yield Minibatch(microbatches, scale=len(to_train) / len(part))

    def _replay(self, groups: Sequence[RolloutGroup]) -> Replay | None:
        """Which tokens the job's schema allowed at each token that was sampled; None without a schema."""
        if self._sampling.json_schema is None:
            return None
        return self._compiler.replay(
            self._sampling.json_schema,
            [(group.prompt_token_ids, rollout.completion.token_ids) for group in groups for rollout in group.rollouts],
        )

    def _stop_if_ungraded(self, groups: Sequence[RolloutGroup]) -> None:
        grades = [rollout.grade for group in groups for rollout in group.rollouts]
        limit = self._settings.max_ungraded_share
        missing = Counter(f"{one.error.kind}: {one.error.message}" for one in grades if one.error is not None)
        if missing.total() > limit * len(grades):
            commonest, count = missing.most_common(1)[0]
            raise UngradedError(
                f"{missing.total()} of {len(grades)} rollouts of this step could not be graded (limit {limit:.0%}); "
                f"the commonest error, {count} times: {commonest}",
                groups=groups,
                is_outage=is_outage(grades),
            )
        replaced = Counter(f"{one.replaced.kind}: {one.replaced.message}" for one in grades if one.replaced is not None)
        if self._patience is not None and replaced.total() > limit * len(grades):
            share = f"{replaced.total()} of {len(grades)} rewards of this step"
            words = f"{share} are invalid_grade, given because grading failed: {replaced.most_common(1)[0][0]}"
            self._patience.tell(words, "warn")


def assign_credit(
    groups: Sequence[RolloutGroup],
    algorithm: Algorithm,
    settings: ReinforcementSettings,
    patterns: Sequence[Sequence[NDArray[np.int32]]] | None = None,
) -> list[GroupToTrain]:
    """Write advantages (or why there is none) on the rollouts and return the groups that have a gradient.

    An ungraded rollout leaves its group before anything is compared. A group whose advantages are all zero has no
    gradient and is not computed; whether it still counts in the loss's denominators is the algorithm's rule.
    ``patterns`` has the masks of each group's rollouts where a schema held; what it forced does not count as length.
    """
    counted = _comparable(groups, settings)
    if not counted:
        return []
    advantages = _advantages(counted, algorithm, settings)

    def masks_of(number: int, rollout: Rollout) -> NDArray[np.int32] | None:
        return None if patterns is None else patterns[number][rollout.sample_index]

    # Of each group its rollouts in which anything was chosen: place in the group, and how many tokens were.
    lengths = [
        {place: _num_chosen(rollout, masks_of(number, rollout)) for place, rollout in enumerate(graded)}
        for number, graded in counted
    ]
    chosen = [{place: length for place, length in one.items() if length} for one in lengths]
    # A penalty on leaving the reference has a gradient even where all rewards are equal.
    with_signal = [
        bool(places) and (settings.kl_beta > 0 or any(value != 0.0 for value in values))
        for places, values in zip(chosen, advantages, strict=True)
    ]
    weighed = [i for i, signal in enumerate(with_signal) if signal or algorithm.counts_silent_groups]
    lengths_S = [length for i in weighed for length in chosen[i].values()] if any(with_signal) else []
    groups_S = [i for i in weighed for _ in chosen[i]]
    weights_S = iter(algorithm.aggregation(lengths_S, groups_S, settings.max_completion_tokens) if lengths_S else ())
    trained = []
    for i, (number, graded) in enumerate(counted):
        weights = [next(weights_S) for _ in chosen[i]] if lengths_S and i in weighed else []
        for place, (rollout, value) in enumerate(zip(graded, advantages[i], strict=True)):
            rollout.advantage = value
            if place not in chosen[i]:
                rollout.left_out = "no_choice"
            elif not with_signal[i]:
                rollout.left_out = "no_signal"
        if with_signal[i]:
            trained.append(
                GroupToTrain(
                    prompt_token_ids=groups[number].prompt_token_ids,
                    rollouts=[graded[place] for place in chosen[i]],
                    advantages=[advantages[i][place] for place in chosen[i]],
                    token_weights=weights,
                    patterns=None
                    if patterns is None
                    else [patterns[number][graded[place].sample_index] for place in chosen[i]],
                )
            )
    return trained


def _comparable(groups: Sequence[RolloutGroup], settings: ReinforcementSettings) -> list[tuple[int, list[Rollout]]]:
    """The groups with at least two rollouts to compare: number and these rollouts; the others are told why not."""
    counted = []
    for number, group in enumerate(groups):
        graded = []
        for rollout in group.rollouts:
            if rollout.reward is None:
                rollout.left_out = "ungraded"
            elif not settings.train_truncated and rollout.completion.finish_reason == "length":
                rollout.left_out = "truncated"
            else:
                graded.append(rollout)
        if len(graded) > 1:
            counted.append((number, graded))
        elif graded:
            graded[0].left_out = "lone"
    return counted


def _advantages(
    counted: Sequence[tuple[int, list[Rollout]]], algorithm: Algorithm, settings: ReinforcementSettings
) -> list[list[float]]:
    try:
        return algorithm.advantages([[rollout.reward or 0.0 for rollout in graded] for _, graded in counted])
    except ValueError as error:  # rewards that this algorithm is not defined for
        raise InvalidRequest(
            f"algorithm {settings.algorithm}: {error}", param="method.reinforcement.hyperparameters.algorithm"
        ) from error


def _num_chosen(rollout: Rollout, masks: NDArray[np.int32] | None) -> int:
    return len(rollout.completion.token_ids) if masks is None else int((masks != FORCED).sum())


def _algorithm(settings: ReinforcementSettings) -> Algorithm:
    """The algorithm with the clip bounds that the job overrides."""
    bounds = {
        name: value
        for name, value in (("clip_low", settings.clip_low), ("clip_high", settings.clip_high))
        if value is not None
    }
    try:
        return ALGORITHMS[settings.algorithm].with_bounds(**bounds)
    except ValueError as error:
        raise InvalidRequest(
            f"algorithm {settings.algorithm}: {error}", param="method.reinforcement.hyperparameters"
        ) from None


def _reference(policy: Policy) -> Callable[[Microbatch, float], torch.Tensor]:
    """Log-probabilities under the untouched base: a frozen copy, or with LoRA the same network without its adapter."""
    if policy.adapter is not None:

        def with_adapter_off(batch: Microbatch, temperature: float) -> torch.Tensor:
            with torch.no_grad(), policy.adapter.disable_adapter():
                return completion_logprobs(policy, batch, temperature=temperature)

        return with_adapter_off
    frozen = replace(policy, network=copy.deepcopy(policy.network).requires_grad_(False))
    frozen.compute_in(policy.compute_type)  # or rounding alone would be a penalty

    def with_copy(batch: Microbatch, temperature: float) -> torch.Tensor:
        with torch.no_grad():
            return completion_logprobs(frozen, batch, temperature=temperature)

    return with_copy
