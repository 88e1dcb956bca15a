"""One pass of the policy over held-out examples, with the same noise each time, so that differences are paired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from openrft.evaluation.evaluation import Evaluation, Mode
from openrft.evaluation.statistics import Z95, paired_difference
from openrft.rollout.collect import Prompt, collect
from openrft.rollout.outage import Patience
from openrft.training.monitor import add_second_opinion
from openrft.types import Engine, Grader, Metrics, SamplingParams

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
    monitor: Grader | None = None,
) -> Evaluation:
    """Complete and grade every prompt: once at temperature 0 (``greedy``), or ``num_samples`` times as ``sampling``
    says.

    The noise depends on seed, stream, example and sample only, not on the step: two evaluations of one run differ by
    their weights alone. ``monitor`` grades the same answers once they are all there.
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
    evaluation = Evaluation.from_groups(name, step, mode, groups)
    if monitor is None:
        return evaluation
    return add_second_opinion(evaluation, monitor, groups, noise=(seed, stream, 0))


def num_samples_in(mode: Mode, num_samples: int) -> int:
    """How many completions of a prompt this mode asks for, where sampling asks for ``num_samples``."""
    return 1 if mode == "greedy" else num_samples


def sampling_in(mode: Mode, sampling: SamplingParams) -> SamplingParams:
    """How this mode draws them: as ``sampling`` says, or always the likeliest token."""
    return replace(sampling, temperature=0.0, top_p=1.0) if mode == "greedy" else sampling


def fall(best: Evaluation | None, evaluation: Evaluation) -> Metrics:
    """How far an evaluation is below the best one before it, on the same rows, and the standard error of that."""
    if best is None or all(None in pair for pair in zip(best.example_means, evaluation.example_means, strict=True)):
        return {}
    paired = paired_difference(
        evaluation.example_means,
        best.example_means,
        evaluation.graded_per_example,
        [row.example_id for row in evaluation.rows],
    )
    half = max(paired.interval.high - paired.mean, paired.mean - paired.interval.low)  # one end may have been cut off
    return {"valid/worse_than_best": paired.mean, "valid/worse_than_best_error": half / Z95}
