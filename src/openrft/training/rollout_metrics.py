"""What a step's rollouts say before anything is trained on them, what their graders did, and how fast tokens went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from openrft.diagnosis.projection import quantile
from openrft.types import Grade, Metrics, RolloutGroup, TokenUsage, total_usage


def rollout_metrics(groups: Sequence[RolloutGroup], *, pass_threshold: float, num_chosen: int | None = None) -> Metrics:
    """Rewards, signal, lengths, and the graders' metrics of a step.

    ``num_chosen``: how many tokens were chosen where a schema forced the others; None without a schema.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    graded = [group.rewards for group in groups if group.rewards]
    lengths = [len(rollout.completion.token_ids) for rollout in rollouts]
    logprob_sum = sum(sum(rollout.completion.sampling_logprobs) for rollout in rollouts)
    metrics = {
        "groups/all_pass_share": _share(graded, lambda scores: min(scores) >= pass_threshold),
        "groups/all_fail_share": _share(graded, lambda scores: max(scores) < pass_threshold),
        "groups/no_signal_share": _share(graded, lambda scores: min(scores) == max(scores)),
        "rollout/completion_tokens_mean": sum(lengths) / len(lengths),
        "rollout/completion_tokens_max": float(max(lengths)),
        "rollout/truncated_share": _share(rollouts, lambda rollout: rollout.completion.finish_reason == "length"),
        "rollout/count": float(len(rollouts)),
        "policy/entropy": -logprob_sum / max(1, sum(lengths) if num_chosen is None else num_chosen),
        **_grader_metrics([rollout.grade for rollout in rollouts]),
    }
    if num_chosen is not None:
        metrics["rollout/forced_share"] = 1 - num_chosen / sum(lengths)
        metrics["rollout/parse_error_share"] = _share(rollouts, lambda rollout: rollout.sample.has_parse_error)
    if rewards:
        mean = sum(rewards) / len(rewards)
        metrics["reward/mean"] = mean
        metrics["reward/std"] = (sum((reward - mean) ** 2 for reward in rewards) / len(rewards)) ** 0.5
        metrics["reward/pass_share"] = _share(rewards, lambda reward: reward >= pass_threshold)
    return metrics


def throughput(groups: Sequence[RolloutGroup], *, sampling: float, update: float, step: float) -> Metrics:
    """Completion tokens per second of a step, from the seconds of its phases and of the whole.

    Those trained on are the tokens of the rollouts that went through the backward pass; none went, no speed.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    sampled = sum(len(rollout.completion.token_ids) for rollout in rollouts)
    trained = sum(len(rollout.completion.token_ids) for rollout in rollouts if rollout.left_out is None)
    metrics = {}
    if sampled and sampling and step:
        metrics["throughput/sampled_tokens_per_second"] = sampled / sampling
        metrics["throughput/tokens_per_second"] = sampled / step
    if trained and update:
        metrics["throughput/trained_tokens_per_second"] = trained / update
    return metrics


def _grader_metrics(grades: Sequence[Grade]) -> Metrics:
    """Shares and counts of the whole grade, then of every part of a multi grader under its key, and what they cost.

    ``grade/errors/<kind>`` counts failures, those included that ``invalid_grade`` stood in for.
    """
    seconds = sorted(grade.seconds for grade in grades)
    metrics = {
        **_one_grader("grade", grades),
        "time/grade_seconds_mean": sum(seconds) / len(seconds),
        "time/grade_seconds_p95": quantile(seconds, 0.95),
    }
    for key in {key: None for grade in grades for key in grade.sub_grades}:
        metrics |= _one_grader(f"grade/{key}", [grade.sub_grades[key] for grade in grades if key in grade.sub_grades])
    if by_model := total_usage(grades):
        spent = sum(by_model.values(), TokenUsage())
        metrics["grade/prompt_tokens"] = float(spent.prompt_tokens)
        metrics["grade/completion_tokens"] = float(spent.completion_tokens)
        metrics["grade/cost"] = spent.cost
    for model, spent in by_model.items():
        metrics[f"grade/tokens/{model}/prompt"] = float(spent.prompt_tokens)
        metrics[f"grade/tokens/{model}/completion"] = float(spent.completion_tokens)
        metrics[f"grade/tokens/{model}/cached"] = float(spent.cached_tokens)
    return metrics


def _one_grader(name: str, grades: Sequence[Grade]) -> Metrics:
    scores = [grade.score for grade in grades if grade.score is not None]
    metrics = {f"{name}/ungraded_share": 1 - len(scores) / len(grades)}
    if scores:
        metrics[f"{name}/mean"] = sum(scores) / len(scores)
    if any(grade.unparsed for grade in grades):
        metrics[f"{name}/unparsed_share"] = _share(grades, lambda grade: grade.unparsed)
    if any(grade.replaced for grade in grades):
        metrics[f"{name}/replaced_share"] = _share(grades, lambda grade: grade.replaced is not None)
    for grade in grades:
        if grade.failure is not None:
            kind = f"{name}/errors/{grade.failure.kind}"
            metrics[kind] = metrics.get(kind, 0.0) + 1
    return metrics


def _share(things: Sequence[Any], is_one: Callable[[Any], bool]) -> float:
    return sum(map(is_one, things)) / len(things) if things else 0.0
