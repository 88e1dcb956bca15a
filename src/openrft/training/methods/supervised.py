"""Supervised: read the next rows, and make their answers likelier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from openrft.models.load import Policy
from openrft.rollout.clock import PhaseClock
from openrft.rollout.supervised import Demonstration
from openrft.training.batch import Cutter, GroupToTrain, Microbatch, Minibatch
from openrft.training.choices import Hyperparameters
from openrft.training.forward import logprobs_and_hits
from openrft.training.loop import Batch
from openrft.training.prompt_order import Epochs
from openrft.types import Completion, Engine, Grade, Metrics, Rollout, Sample


@dataclass(frozen=True, slots=True)
class AnswerSums:
    """What a microbatch says about its answers, as sums over trained tokens."""

    loss: float  # negative log-likelihood, in nats
    hits: float  # tokens that no other was likelier than
    tokens: float

    def __add__(self, other: AnswerSums) -> AnswerSums:
        return AnswerSums(self.loss + other.loss, self.hits + other.hits, self.tokens + other.tokens)

    def as_metrics(self) -> Metrics:
        """Means over the batch's trained tokens."""
        return {
            "train/loss": self.loss / self.tokens,
            "train/token_accuracy": self.hits / self.tokens,
            "train/tokens": self.tokens,
        }

    def mismatch_metrics(self) -> Metrics:
        """Nothing was sampled."""
        return {}


class Supervised:
    """SFT: the negative log-likelihood of the answers, as a mean over all trained tokens of the batch.

    The denominator is the whole batch's, known before any backward pass: however a batch is cut into microbatches, its
    gradient is the same, and every token counts the same, in long answers and in short ones.
    """

    def __init__(
        self,
        settings: Hyperparameters,
        *,
        policy: Policy,
        engine: Engine,
        rows: Sequence[Demonstration],
        seed: int,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._rows = rows
        self._order = Epochs(len(rows), settings.batch_size, seed)
        self._engine = engine
        self._cutter = Cutter.of_policy(policy, most_tokens=settings.microbatch_tokens, tell=tell)

    def next_batch(self, step: int, clock: PhaseClock | None = None) -> Batch:
        """The rows of the 0-based ``step``: a function of (seed, step), so that a resumed run trains on the same."""
        rows = [self._rows[number] for number in self._order.numbers(step)]
        return Batch(minibatches=[Minibatch(self._cutter.cut(groups_to_train(rows)))])

    def loss(self, policy: Policy, batch: Microbatch) -> tuple[torch.Tensor, AnswerSums]:
        """A microbatch's share of the mean negative log-likelihood."""
        logprobs_N, hits_N = logprobs_and_hits(policy, batch)
        loss = -(logprobs_N * batch.token_weights_N).sum()
        # float64: a sum over many tokens that is to be the same however the batch was cut.
        nll = -float(logprobs_N.detach().double().sum())
        return loss, AnswerSums(nll, float(hits_N.sum()), float(len(logprobs_N)))

    def after_update(self, version: int) -> None:
        """Hand the new weights to the engine, which samples where there is a grader."""
        self._engine.load_weights(version)

    def state(self) -> dict[str, Any]:
        """Nothing to keep: the order of the rows is a function of the step."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing was kept."""


def groups_to_train(rows: Sequence[Demonstration]) -> list[GroupToTrain]:
    """Sequences of ``rows``, every trained token weighted by one over the number of all of them."""
    num_trained = sum(row.num_trained for row in rows)
    return [
        GroupToTrain(
            prompt_token_ids=sequence.prompt_token_ids,
            rollouts=[_rollout(sequence.token_ids)],
            advantages=[1.0],
            token_weights=[1.0 / num_trained],
            trained=[sequence.trained],
        )
        for row in rows
        for sequence in row.sequences
    ]


def _rollout(token_ids: list[int]) -> Rollout:
    """Given tokens as if they had been sampled with certainty and graded in full."""
    return Rollout(
        sample_index=0,
        completion=Completion(
            request_id=0,
            sample_index=0,
            token_ids=token_ids,
            sampling_logprobs=[0.0] * len(token_ids),
            text="",
            finish_reason="stop",
            policy_version=0,
        ),
        sample=Sample(output_text=""),
        grade=Grade(grader="", score=1.0),
    )
