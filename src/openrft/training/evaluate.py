"""One pass of the policy over held-out examples, with the same noise each time, so that differences are paired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from openrft.evaluation.evaluation import Evaluation, Mode
from openrft.rollout.collect import Prompt, collect
from openrft.rollout.outage import Patience
from openrft.types import Engine, Grader, SamplingParams

# Random numbers of their own, apart from training's stream 0.
VALIDATION_STREAM = 1
TEST_STREAM = 2


def evaluate(
    engine: Engine,
    grader: Grader,
    prompts: Sequence[Prompt],
    *,
    name: str,
    step: int,
    mode: Mode,
    num_samples: int,
    sampling: SamplingParams,
    seed: int,
    stream: int,
    model: str,
    on_rollout: Callable[[], None] | None = None,
    patience: Patience | None = None,
) -> Evaluation:
    """Complete and grade every prompt: once at temperature 0 (``greedy``), or ``num_samples`` times as ``sampling``
    says.

    The noise depends on seed, stream, example and sample only, not on the step: two evaluations of one run differ by
    their weights alone.
    """
    groups = collect(
        engine,
        grader,
        prompts,
        num_samples=num_samples_in(mode, num_samples),
        sampling=sampling_in(mode, sampling),
        seed=seed,
        stream=stream,
        step=0,
        model=model,
        on_rollout=on_rollout,
        patience=patience,
    )
    return Evaluation.from_groups(name, step, mode, groups)


def num_samples_in(mode: Mode, num_samples: int) -> int:
    """How many completions of a prompt this mode asks for, where sampling asks for ``num_samples``."""
    return 1 if mode == "greedy" else num_samples


def sampling_in(mode: Mode, sampling: SamplingParams) -> SamplingParams:
    """How this mode draws them: as ``sampling`` says, or always the likeliest token."""
    return replace(sampling, temperature=0.0, top_p=1.0) if mode == "greedy" else sampling
