"""What a step's rollouts say before anything is trained on them, what their graders did, and how fast tokens went."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from openrft.diagnosis.projection import quantile
from openrft.types import Grade, Metrics, Rollout, RolloutGroup, TokenUsage, total_usage


def rollout_metrics(
    groups: Sequence[RolloutGroup],
    *,
    pass_threshold: float,
    version: int = 0,
    end_tokens: Collection[int] = (),
    num_chosen: int | None = None,
) -> Metrics:
    """Rewards, signal, lengths, and the graders' metrics of a step. Each formula is in docs/metrics.md.

    ``version``: optimizer steps behind the weights that are about to train. ``end_tokens``: those by which a completion
    ends of itself. ``num_chosen``: how many tokens were chosen where a schema forced the others; None without a schema.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    lengths = [len(rollout.completion.token_ids) for rollout in rollouts]
    logprob_sum = sum(sum(rollout.completion.sampling_logprobs) for rollout in rollouts)
    metrics = {
        **_reward_metrics(groups, pass_threshold),
        **_length_metrics(rollouts, pass_threshold),
        **_answer_metrics(groups, end_tokens),
        "rollout/count": float(len(rollouts)),
        **_staleness(rollouts, version),
        "policy/entropy": -logprob_sum / max(1, sum(lengths) if num_chosen is None else num_chosen),
        **_grader_metrics([rollout.grade for rollout in rollouts]),
    }
    if num_chosen is not None:
        metrics["rollout/forced_share"] = 1 - num_chosen / sum(lengths)
        metrics["rollout/parse_error_share"] = _share(rollouts, lambda rollout: rollout.sample.has_parse_error)
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


def _reward_metrics(groups: Sequence[RolloutGroup], pass_threshold: float) -> Metrics:
    graded = [group.rewards for group in groups if group.rewards]
    equal = [scores[0] for scores in graded if min(scores) == max(scores)]
    metrics = {
        "groups/all_pass_share": _share(graded, lambda scores: min(scores) >= pass_threshold),
        "groups/all_fail_share": _share(graded, lambda scores: max(scores) < pass_threshold),
        "groups/no_signal_share": len(equal) / len(graded) if graded else 0.0,
        "groups/all_zero_share": equal.count(0.0) / len(graded) if graded else 0.0,
        "groups/all_one_share": equal.count(1.0) / len(graded) if graded else 0.0,
        "groups/all_equal_partial_share": sum(s not in (0.0, 1.0) for s in equal) / len(graded) if graded else 0.0,
    }
    rewards = sorted(reward for scores in graded for reward in scores)
    if rewards:
        metrics["reward/mean"] = _mean(rewards)
        metrics["reward/std"] = _std(rewards)
        metrics["reward/p10"] = quantile(rewards, 0.1)
        metrics["reward/p90"] = quantile(rewards, 0.9)
        metrics["reward/pass_share"] = _share(rewards, lambda reward: reward >= pass_threshold)
    if several := [scores for scores in graded if len(scores) > 1]:
        metrics["reward/within_group_std"] = _mean([_std(scores) for scores in several])
    return metrics


def _length_metrics(rollouts: Sequence[Rollout], pass_threshold: float) -> Metrics:
    lengths = sorted(len(rollout.completion.token_ids) for rollout in rollouts)
    metrics = {
        "rollout/completion_tokens_mean": _mean(lengths),
        "rollout/completion_tokens_p50": float(quantile(lengths, 0.5)),
        "rollout/completion_tokens_p99": float(quantile(lengths, 0.99)),
        "rollout/completion_tokens_max": float(lengths[-1]),
        "rollout/truncated_share": _share(rollouts, lambda rollout: rollout.completion.finish_reason == "length"),
    }
    graded = [(one.reward, len(one.completion.token_ids)) for one in rollouts if one.reward is not None]
    passing = [length for reward, length in graded if reward >= pass_threshold]
    failing = [length for reward, length in graded if reward < pass_threshold]
    if passing and failing:
        metrics["rollout/completion_tokens_pass_minus_fail"] = _mean(passing) - _mean(failing)
    return metrics


def _answer_metrics(groups: Sequence[RolloutGroup], end_tokens: Collection[int]) -> Metrics:
    """How answers end, whether they go round in circles, and how many different ones a group has."""
    completions = [rollout.completion for group in groups for rollout in group.rollouts]
    distinct = [len({rollout.sample.output_text.strip() for rollout in group.rollouts}) for group in groups]
    return {
        "rollout/eos_share": _share(completions, lambda one: one.token_ids[-1] in end_tokens),
        "rollout/repeated_4gram_share": _mean([_repeated_4grams(one.token_ids) for one in completions]),
        "groups/unique_answers_mean": _mean(distinct),
    }


def _repeated_4grams(tokens: Sequence[int]) -> float:
    """Share of the runs of four tokens that are in the completion before; 0 of a completion that is too short."""
    count = len(tokens) - 3
    return 1 - len({*zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False)}) / count if count > 0 else 0.0


def _staleness(rollouts: Sequence[Rollout], version: int) -> Metrics:
    behind = [version - rollout.completion.policy_version for rollout in rollouts]
    return {"rollout/staleness_mean": _mean(behind), "rollout/staleness_max": float(max(behind))}


def _grader_metrics(grades: Sequence[Grade]) -> Metrics:
    """Shares and counts of the whole grade, then of every part of a multi grader under its key, and what they cost.

    ``grade/errors/<kind>`` counts failures, those included that ``invalid_grade`` stood in for.
    """
    seconds = sorted(grade.seconds for grade in grades)
    metrics = {
        **_one_grader("grade", grades),
        "time/grade_seconds_mean": sum(seconds) / len(seconds),
        "time/grade_seconds_p50": quantile(seconds, 0.5),
        "time/grade_seconds_p95": quantile(seconds, 0.95),
        "time/grade_seconds_p99": quantile(seconds, 0.99),
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


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _std(values: Sequence[float]) -> float:
    """The spread of these very values, not an estimate for those that were not sampled."""
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))


def _share(things: Sequence[Any], is_one: Callable[[Any], bool]) -> float:
    return sum(map(is_one, things)) / len(things) if things else 0.0
