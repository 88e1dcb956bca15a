"""From what a rehearsal sampled and graded to its numbers, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from openrft.config.graders import GraderSpec, MultiSpec
from openrft.config.settings import ServedModel, read_settings
from openrft.diagnosis.answers import (
    GroupOutcome,
    coverage,
    extremes,
    histogram,
    outcome_of,
    part_scores,
    readability,
    silent_chance,
    trained_scores,
)
from openrft.diagnosis.exploits import Attack, AttackResult
from openrft.diagnosis.projection import JobSize, Latency, project_pace, project_spending
from openrft.diagnosis.rehearsal import Estimate, PromptResult, Rehearsal, ShownAnswer
from openrft.diagnosis.repeats import Repeats, compare_opinions
from openrft.evaluation.evaluation import mean_or_none, prompt_text
from openrft.evaluation.statistics import mean_interval, paired_difference
from openrft.graders.formula import Formula
from openrft.training.foreground import TEST_SAMPLES
from openrft.training.prepare import PreparedReinforcement
from openrft.training.resolve import ReinforcementSettings
from openrft.types import Example, Grade, RolloutGroup

_SHOWN = 3  # answers at each end
_EXAMPLE_CHARACTERS = 200
_OUTCOMES: tuple[GroupOutcome, ...] = ("all_wrong", "mixed", "all_right")


def conclude(
    prepared: PreparedReinforcement,
    groups: Sequence[RolloutGroup],
    repeated: Mapping[tuple[int, int], Sequence[Grade]],
    attacks: Sequence[tuple[Attack, Sequence[Grade | None]]],
    latency: Latency,
    *,
    num_samples: int,
    has_opinions: bool,
) -> Rehearsal:
    """The numbers of a rehearsal. ``has_opinions``: a model grades, so that scores may differ on repeat."""
    settings = prepared.settings
    prompts = [_prompt_result(group, settings) for group in groups]
    graded = [number for number, prompt in enumerate(prompts) if prompt.outcome != "ungraded"]
    ids = [groups[number].example.id for number in graded]

    grades = [rollout.grade for group in groups for rollout in group.rollouts]
    tried = [grade for opinions in repeated.values() for grade in opinions]
    tried += [grade for _, paid in attacks for grade in paid if grade is not None]
    scores = [grade.score for grade in grades if grade.score is not None]
    size = job_size(prepared)
    repeats, example = _repeats(groups, repeated, settings.passing_score)
    highest, lowest = extremes(groups, _SHOWN)
    data = prepared.datasets["training_file"]
    return Rehearsal(
        model=prepared.policy.name,
        training_file=str(data.path),
        num_rows=len(groups),
        num_file_rows=len(data.examples),
        num_samples=num_samples,
        group_size=settings.group_size,
        batch_size=settings.batch_size,
        max_completion_tokens=settings.max_completion_tokens,
        passing_score=settings.pass_threshold,
        max_ungraded_share=settings.max_ungraded_share,
        prompts=prompts,
        outcomes={
            outcome: estimate([float(prompts[number].outcome == outcome) for number in graded], ids)
            for outcome in _OUTCOMES
        },
        silent=estimate([float(prompts[number].is_silent) for number in graded], ids),
        signal=estimate([prompts[number].signal_chance for number in graded], ids),
        is_signal_lower_bound=num_samples < settings.group_size,
        coverage=coverage(groups),
        mean_score=estimate([prompts[number].mean or 0.0 for number in graded], ids, num_samples),
        histogram=histogram(scores) if scores else [],
        parts=part_scores(groups),
        unused_parts=unused_parts(prepared.job.reinforcement.grader),
        readability=readability(groups, settings.passing_score),
        repeats=repeats,
        repeat_example=None if example is None else _shown(groups, example, repeated[example]),
        is_deterministic_kind=not has_opinions,
        attacks=[_attack_result(attack, paid, groups, prompts, settings.passing_score) for attack, paid in attacks],
        size=size,
        latency=latency,
        pace=project_pace(latency, size),
        spending=project_spending(
            grades,
            size,
            tried=tried,
            priced=priced_models() if any(grade.usage for grade in grades + tried) else (),
        ),
        highest=[_shown(groups, place) for place in highest],
        lowest=[_shown(groups, place) for place in lowest],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPasses:
    """How many held-out answers a run samples, by what it does: see ``training/foreground``."""

    validations: int  # after the base's
    validated: int  # answers of one pass over the validation rows
    reported: int  # answers of a model's test evaluation, sampled and greedy: once of the base, once of what ships

    @property
    def answers(self) -> int:
        """All of them."""
        return (1 + self.validations) * self.validated + 2 * self.reported


def job_passes(prepared: PreparedReinforcement) -> JobPasses:
    """Those of the whole job, if it does not end early."""
    settings = prepared.settings
    return JobPasses(
        validations=math.ceil(settings.num_steps / settings.eval_interval),
        validated=len(prepared.valid) * settings.eval_samples,
        reported=len(prepared.test or prepared.valid) * (TEST_SAMPLES + 1),
    )


def job_size(prepared: PreparedReinforcement) -> JobSize:
    """How many answers the whole job will sample and grade."""
    settings = prepared.settings
    return JobSize(
        num_steps=settings.num_steps,
        answers_per_step=settings.answers_per_step,
        evaluation_answers=job_passes(prepared).answers,
    )


def unused_parts(spec: GraderSpec) -> list[str]:
    """The parts of a multi grader that its formula does not read."""
    if not isinstance(spec, MultiSpec):
        return []
    names = Formula.parse(spec.calculate_output).names
    return [key for key in spec.graders if key not in names]


def priced_models() -> set[str]:
    """The grading models whose tokens have a price, be it 0."""
    settings = read_settings()
    tables: dict[str, ServedModel] = {**settings.embedding_models, **settings.grader_models}
    prices = {"input_price", "cached_input_price", "output_price"}
    return {name for name, table in tables.items() if table.model_dump(include=prices, exclude_none=True)}


def last_message(example: Example) -> str:
    """The text of the last message of a prompt."""
    return prompt_text(replace(example, messages=example.messages[-1:]))


def _prompt_result(group: RolloutGroup, settings: ReinforcementSettings) -> PromptResult:
    scores = trained_scores(group, train_truncated=settings.train_truncated)
    return PromptResult(
        line=group.example.line,
        outcome=outcome_of(scores, settings.passing_score),
        mean=mean_or_none(scores),
        is_silent=len(set(scores)) < 2,
        signal_chance=1.0 - silent_chance(scores, settings.group_size),
    )


def estimate(values: Sequence[float], ids: Sequence[Hashable], samples: float = 1) -> Estimate | None:
    """Mean over prompts with its interval. Rows with the same content are one unit of evidence."""
    if not values:
        return None
    interval = mean_interval(values, samples, ids)
    return Estimate(value=math.fsum(values) / len(values), low=interval.low, high=interval.high)


def _repeats(
    groups: Sequence[RolloutGroup], repeated: Mapping[tuple[int, int], Sequence[Grade]], passing_score: float
) -> tuple[Repeats | None, tuple[int, int] | None]:
    if not repeated:
        return None, None
    places = list(repeated)
    opinions = [
        [grade.score for grade in (groups[place].rollouts[number].grade, *repeated[place, number])]
        for place, number in places
    ]
    repeats = compare_opinions(opinions, [place for place, _ in places], passing_score)
    return repeats, None if repeats.example is None else places[repeats.example]


def _attack_result(
    attack: Attack,
    grades: Sequence[Grade | None],
    groups: Sequence[RolloutGroup],
    prompts: Sequence[PromptResult],
    passing_score: float,
) -> AttackResult:
    base = [prompts[place].mean for place in range(len(grades))] if attack.own_base is None else list(attack.own_base)
    paid = [None if grade is None else grade.score for grade in grades]
    scores = [score for score in paid if score is not None]
    errors = [grade.error.message for grade in grades if grade is not None and grade.error is not None]
    both = [(one, other) for one, other in zip(base, paid, strict=True) if one is not None and other is not None]
    ids = [group.example.id for group in groups[: len(grades)]]
    paired = paired_difference(base, paid, 1, ids) if both else None
    return AttackResult(
        name=attack.name,
        is_control=attack.is_control,
        is_constant=attack.is_constant,
        has_own_base=attack.own_base is not None,
        num_rows=len(scores),
        num_passed=sum(score >= passing_score for score in scores),
        num_ungraded=len(errors),
        error=errors[0] if errors else None,
        mean=mean_or_none(scores),
        base_mean=mean_or_none([one for one, _ in both]),
        difference=None if paired is None else paired.mean,
        low=None if paired is None else paired.interval.low,
        high=None if paired is None else paired.interval.high,
        example=next(text for text in attack.texts if text is not None)[:_EXAMPLE_CHARACTERS],
    )


def _shown(groups: Sequence[RolloutGroup], place: tuple[int, int], repeated: Sequence[Grade] = ()) -> ShownAnswer:
    group = groups[place[0]]
    rollout = group.rollouts[place[1]]
    return ShownAnswer(
        line=group.example.line,
        prompt=last_message(group.example),
        answer=rollout.sample.output_text,
        score=rollout.grade.score,
        explanation=rollout.grade.explanation,
        repeated_scores=[grade.score for grade in repeated],
    )
