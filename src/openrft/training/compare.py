"""Evaluate models outside a run: one alone, or two on the same rows with the same noise."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from openrft.config.graders import GraderSpec
from openrft.dataset import read_examples
from openrft.errors import InvalidRequest
from openrft.evaluation.evaluation import Evaluation, Mode, scalar_fields
from openrft.evaluation.report import build_report
from openrft.evaluation.slices import check_slice_keys
from openrft.graders import build_grader, check_grader
from openrft.models.load import load_policy
from openrft.rollout.collect import Prompt
from openrft.rollout.native import NativeEngine
from openrft.rollout.prompt import render_example
from openrft.training.evaluate import TEST_STREAM, evaluate
from openrft.training.progress import Progress
from openrft.types import SamplingParams


def evaluate_model(
    model: str,
    data: Path,
    grader: GraderSpec,
    *,
    num_samples: int,
    sampling: SamplingParams,
    seed: int,
    progress: Progress,
    name: str = "",
) -> list[Evaluation]:
    """(sampled, greedy) evaluations of ``model`` on the rows of ``data``.

    Raises :class:`~openrft.errors.InvalidRequest` or another of openrft's errors before anything is sampled when data,
    grader and model do not fit together.
    """
    rows = read_examples(data)
    check_grader(grader, rows.examples)
    policy = load_policy(model, weights="frozen")
    prompts = [
        Prompt(example=example, token_ids=render_example(policy.tokenizer, example)) for example in rows.examples
    ]
    longest = max(len(prompt.token_ids) for prompt in prompts)
    room = policy.context_tokens - longest
    if room < sampling.max_tokens:
        raise InvalidRequest(
            f"the longest prompt has {longest} tokens and the context {policy.context_tokens}: "
            f"only {max(0, room)} are left for an answer, {sampling.max_tokens} were asked for",
            param="max_tokens",
        )
    engine = NativeEngine(policy.network, policy.tokenizer, decoder=policy.decoder)
    judge = build_grader(grader)
    modes: tuple[Mode, Mode] = ("sampled", "greedy")
    passes = []
    try:
        for mode in modes:
            progress.phase(f"{name or model}: {mode}", len(prompts) * (num_samples if mode == "sampled" else 1))
            passes.append(
                evaluate(
                    engine,
                    judge,
                    prompts,
                    name=name or model,
                    step=0,
                    mode=mode,
                    num_samples=num_samples,
                    sampling=sampling,
                    seed=seed,
                    stream=TEST_STREAM,
                    model=model,
                    on_rollout=progress.rollout,
                )
            )
    finally:
        judge.close()
    return passes


def compare_models(
    base: str,
    tuned: str,
    data: Path,
    grader: GraderSpec,
    *,
    num_samples: int,
    sampling: SamplingParams,
    seed: int,
    progress: Progress,
    slice_keys: Collection[str] = (),
) -> dict[str, Any]:
    """A report of ``tuned`` against ``base`` on the rows of ``data``, as JSON; ``slice_keys`` are keys of the rows."""
    check_slice_keys(slice_keys, [scalar_fields(example.item) for example in read_examples(data).examples])
    arms = [
        evaluate_model(
            model, data, grader, num_samples=num_samples, sampling=sampling, seed=seed, progress=progress, name=name
        )
        for name, model in (("base", base), ("tuned", tuned))
    ]
    (base_sampled, base_greedy), (tuned_sampled, tuned_greedy) = arms
    report = build_report(
        job={"base": base, "tuned": tuned, "rows": str(data), "samples": num_samples, "seed": seed},
        base_sampled=base_sampled,
        tuned_sampled=tuned_sampled,
        base_greedy=base_greedy,
        tuned_greedy=tuned_greedy,
        slice_keys=slice_keys,
        grader=grader.model_dump(mode="json", exclude_none=True),
    )
    return report.to_json()
