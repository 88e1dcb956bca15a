"""A step's metrics, worked out by hand from literal grades, and the table of them in the documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from documented_metrics import documented_metrics
from openrft.errors import GradeErrorKind
from openrft.training.rollout_metrics import rollout_metrics
from openrft.types import Grade, GradeError, Metrics, RolloutGroup, TokenUsage
from rollouts import make_group


def error(kind: GradeErrorKind = "other_error") -> GradeError:
    return GradeError(kind=kind, message="m", grader="g")


def with_grades(grades: Sequence[Grade]) -> RolloutGroup:
    group = make_group([grade.score for grade in grades])
    for rollout, grade in zip(group.rollouts, grades, strict=True):
        rollout.grade = grade
    return group


def metrics_of(*grades: Grade) -> Metrics:
    return rollout_metrics([with_grades(grades)], pass_threshold=1.0)


def grade(score: float | None, seconds: float = 0.0, **more: object) -> Grade:
    failure = error("model_grader_server_error") if score is None else None
    return Grade(grader="g", score=score, error=failure, seconds=seconds, **more)  # type: ignore[arg-type]


def test_failures_are_counted_by_kind_and_a_replaced_one_is_a_grade_with_a_failure() -> None:
    metrics = metrics_of(grade(1.0), grade(None), grade(0.25, replaced=error()), grade(0.25, replaced=error()))
    assert metrics["grade/ungraded_share"] == 0.25
    assert metrics["grade/replaced_share"] == 0.5
    assert metrics["grade/mean"] == 0.5
    assert metrics["grade/errors/other_error"] == 2
    assert metrics["grade/errors/model_grader_server_error"] == 1


def test_an_unparsed_answer_is_a_zero_and_counted() -> None:
    metrics = metrics_of(grade(0.0, unparsed=True), grade(1.0), grade(1.0), grade(1.0))
    assert (metrics["grade/unparsed_share"], metrics["grade/mean"]) == (0.25, 0.75)


def test_what_did_not_happen_is_not_in_the_line() -> None:
    names = metrics_of(grade(1.0), grade(0.0)).keys()
    assert {name for name in names if name.startswith("grade/")} == {"grade/mean", "grade/ungraded_share"}


def test_every_part_of_a_multi_grader_has_its_own_numbers() -> None:
    def whole(score: float | None, **parts: Grade) -> Grade:
        return grade(score, sub_grades=parts)

    metrics = metrics_of(
        whole(1.0, style=grade(1.0), exact=grade(1.0)),
        whole(0.5, style=grade(0.5, replaced=error()), exact=grade(1.0)),
        whole(0.0, style=grade(0.0, unparsed=True), exact=grade(1.0)),
        whole(None, style=grade(None), exact=grade(1.0)),
    )
    assert metrics["grade/style/mean"] == 0.5
    assert metrics["grade/style/ungraded_share"] == 0.25
    assert metrics["grade/style/replaced_share"] == 0.25
    assert metrics["grade/style/unparsed_share"] == 0.25
    assert metrics["grade/style/errors/other_error"] == 1
    assert metrics["grade/style/errors/model_grader_server_error"] == 1
    assert (metrics["grade/exact/mean"], metrics["grade/exact/ungraded_share"]) == (1.0, 0.0)
    assert "grade/replaced_share" not in metrics  # of the whole, none is


def test_tokens_are_summed_and_told_by_model() -> None:
    first = TokenUsage(prompt_tokens=100, completion_tokens=10, cached_tokens=60, cost=0.25)
    second = TokenUsage(prompt_tokens=7, completion_tokens=1)
    metrics = metrics_of(grade(1.0, usage={"a": first, "b/c": second}), grade(None, usage={"a": first}))
    assert (metrics["grade/prompt_tokens"], metrics["grade/completion_tokens"], metrics["grade/cost"]) == (207, 21, 0.5)
    of_a = [metrics[f"grade/tokens/a/{kind}"] for kind in ("prompt", "completion", "cached")]
    assert of_a == [200, 20, 120]
    assert metrics["grade/tokens/b/c/prompt"] == 7


def test_the_time_of_a_grade_is_one_that_was_measured() -> None:
    metrics = metrics_of(*(grade(1.0, seconds=float(number)) for number in range(1, 21)))
    assert (metrics["time/grade_seconds_mean"], metrics["time/grade_seconds_p95"]) == (10.5, 19.0)
    assert (metrics["time/grade_seconds_p50"], metrics["time/grade_seconds_p99"]) == (10.0, 20.0)
    assert metrics_of(grade(1.0, seconds=1.0), grade(1.0, seconds=3.0))["time/grade_seconds_p95"] == 3.0


def test_rewards_groups_and_lengths() -> None:
    groups = [
        make_group([1.0, 0.0, None], lengths=[1, 2, 3]),
        make_group([1.0, 1.0, 1.0], index=1, lengths=[4, 5, 9]),
        make_group([None, None], index=2),
    ]
    cut = groups[1].rollouts[2]
    cut.completion = replace(cut.completion, finish_reason="length")
    metrics = rollout_metrics(groups, pass_threshold=1.0)
    assert metrics["rollout/count"] == 8
    assert metrics["reward/mean"] == 0.8
    assert metrics["reward/std"] == pytest.approx(0.4)
    assert metrics["reward/pass_share"] == 0.8
    assert (metrics["reward/p10"], metrics["reward/p90"]) == (0.0, 1.0)
    assert metrics["reward/within_group_std"] == 0.25  # 1/2 and 0
    assert (metrics["groups/all_pass_share"], metrics["groups/all_fail_share"]) == (0.5, 0.0)  # of two with a grade
    assert metrics["groups/no_signal_share"] == 0.5
    assert (metrics["rollout/completion_tokens_mean"], metrics["rollout/completion_tokens_max"]) == (28 / 8, 9)
    assert (metrics["rollout/completion_tokens_p50"], metrics["rollout/completion_tokens_p99"]) == (2, 9)
    assert metrics["rollout/completion_tokens_pass_minus_fail"] == (1 + 4 + 5 + 9) / 4 - 2
    assert metrics["rollout/truncated_share"] == 1 / 8
    assert metrics["grade/ungraded_share"] == pytest.approx(3 / 8)
    assert metrics["policy/entropy"] == pytest.approx(0.5)


def test_groups_without_signal_are_told_apart_by_what_their_rewards_are() -> None:
    rewards = [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.5, 0.5, None], [0.5, 0.0]]
    metrics = rollout_metrics([make_group(one) for one in rewards], pass_threshold=0.5)
    shares = [metrics[f"groups/all_{what}_share"] for what in ("zero", "one", "equal_partial")]
    assert shares == [0.4, 0.2, 0.2]
    assert sum(shares) == pytest.approx(metrics["groups/no_signal_share"])
    assert metrics["groups/all_pass_share"] == 0.4  # a half passes too


def answering(tokens: list[list[int]], texts: list[str], versions: list[int]) -> RolloutGroup:
    group = make_group([1.0] * len(tokens))
    for rollout, ids, text, version in zip(group.rollouts, tokens, texts, versions, strict=True):
        rollout.completion = replace(rollout.completion, token_ids=ids, policy_version=version)
        rollout.sample = replace(rollout.sample, output_text=text)
    return group


def test_answers_that_go_round_in_circles_or_are_the_same() -> None:
    circle, straight, short = [1, 2, 3, 1, 2, 3, 1, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8, 99], [1, 2, 99]
    group = answering([circle, straight, short], ["a", " a\n", "b"], [7, 7, 7])
    other = answering([short, short], ["a", "a"], [7, 4])
    metrics = rollout_metrics([group, other], pass_threshold=1.0, version=7, end_tokens={99})
    # Of the circle's six runs of four, 1231 2312 3123 are new and come back once each.
    assert metrics["rollout/repeated_4gram_share"] == pytest.approx(0.5 / 5)
    assert metrics["groups/unique_answers_mean"] == 1.5
    assert metrics["rollout/eos_share"] == 0.8
    assert (metrics["rollout/staleness_mean"], metrics["rollout/staleness_max"]) == (0.6, 3.0)


def everything() -> set[str]:
    """Names of the metrics of a step in which all happened that can."""
    part = grade(0.5, replaced=error(), unparsed=True)
    whole = replace(part, sub_grades={"p": part}, usage={"judge": TokenUsage(prompt_tokens=1)})
    return set(metrics_of(grade(None), whole, replace(whole, score=1.0)))


def test_the_table_has_every_metric_that_the_code_records_and_no_other(repository: Path) -> None:
    plain, patterns = documented_metrics(repository)
    recorded = everything()
    for folder in ("training", "algorithms", "diagnosis"):
        for path in (repository / "src" / "openrft" / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            recorded |= set(re.findall(r'"([a-z]+/[a-z0-9_]+)"(?:: |\] = )', text))
            recorded |= {f"{name}part" for name in re.findall(r'f"([a-z]+/[a-z0-9_]+/){[a-z]+}"\] = ', text)}
    known = {name for name in recorded if any(pattern.fullmatch(name) for pattern in patterns)}
    assert plain == recorded - known
    assert [pattern.pattern for pattern in patterns if not any(pattern.fullmatch(name) for name in known)] == []
