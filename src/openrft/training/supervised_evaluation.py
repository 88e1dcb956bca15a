"""One pass of the policy over the held-out answers of a supervised job: how likely it finds them, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from openrft.errors import TrainingDiverged
from openrft.evaluation.evaluation import content_text, prompt_text
from openrft.evaluation.losses import LossEvaluation, LossRow
from openrft.models.load import Policy
from openrft.rollout.supervised import Demonstration
from openrft.training.batch import build_microbatch, measure_of, split_groups
from openrft.training.forward import logprobs_and_hits
from openrft.training.methods.supervised import groups_to_train
from openrft.training.threads import updating


@updating()
@torch.no_grad()
def evaluate_losses(
    policy: Policy, rows: Sequence[Demonstration], *, name: str, step: int, microbatch_tokens: int
) -> LossEvaluation:
    """The loss of every row, computed as in training; the microbatches are those of training, without gradients.

    Raises :class:`TrainingDiverged` where a loss is not finite.
    """
    groups = groups_to_train(rows)
    owner = {id(group): number for number, group in enumerate(groups)}  # microbatches hold groups in another order
    row_of = [number for number, row in enumerate(rows) for _ in row.sequences]
    losses, hits = [0.0] * len(rows), [0] * len(rows)
    measure = measure_of(policy)
    for part in split_groups(groups, most_tokens=microbatch_tokens, measure=measure):
        batch = build_microbatch(part, pad_id=policy.tokenizer.pad_token_id, device=policy.network.device)
        logprobs_N, hits_N = logprobs_and_hits(policy, batch)
        size = len(part)
        nll = torch.zeros(size, dtype=torch.float64, device=logprobs_N.device)
        nll.index_add_(0, batch.sequence_N, -logprobs_N.double())
        right = torch.zeros(size, dtype=torch.long, device=logprobs_N.device)
        right.index_add_(0, batch.sequence_N, hits_N.long())
        for group, one_nll, one_right in zip(part, nll.tolist(), right.tolist(), strict=True):
            row = row_of[owner[id(group)]]
            losses[row] += one_nll
            hits[row] += one_right
    if not all(map(math.isfinite, losses)):
        raise TrainingDiverged(f"the loss of a held-out row at {name} is not finite")
    return LossEvaluation(
        name=name,
        step=step,
        rows=[_row(*each) for each in zip(rows, losses, hits, strict=True)],
    )


def _row(row: Demonstration, loss: float, hits: int) -> LossRow:
    example = row.example
    return LossRow(
        example_id=example.id,
        index=example.index,
        line=example.line,
        prompt_text=prompt_text(example),
        answer=content_text((example.dialogue or [{}])[-1].get("content")),
        tokens=row.num_trained,
        loss=loss / row.num_trained,
        hits=hits,
    )
