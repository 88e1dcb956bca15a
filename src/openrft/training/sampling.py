"""How a job's answers are sampled: in training with the plain distribution, in evaluations as the job says."""

from __future__ import annotations

from openrft.training.choices import Hyperparameters
from openrft.types import SamplingParams


def training_sampling(settings: Hyperparameters, json_schema: str | None) -> SamplingParams:
    """How training examples are sampled. No nucleus cut: the loss needs the probabilities that were drawn from."""
    return SamplingParams(
        max_tokens=settings.max_completion_tokens,
        temperature=settings.temperature,
        stop=settings.stop,
        json_schema=json_schema,
    )


def evaluation_sampling(settings: Hyperparameters, json_schema: str | None = None) -> SamplingParams:
    """How held-out examples are sampled: as in training, with the job's nucleus cut."""
    return SamplingParams(
        max_tokens=settings.max_completion_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        stop=settings.stop,
        json_schema=json_schema,
    )
