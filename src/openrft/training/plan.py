"""The plan of a job: what it will sample, take, need and cost, projected from a probe before anything is trained.

expected    answers come to be as long as those of the base that are paid, early on: a quarter of the run counts at the
            base's length, the rest at that of paid answers; half as many groups have a signal as the base's
low, high   nobody knows what a model will learn: answers half as long of a quarter of them, and twice as long (as far
            as their limit allows) of all groups
"""

from __future__ import annotations

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from openrft.config.job import Job
from openrft.config.supervised import SupervisedMethod
from openrft.diagnosis.answers import outcome_of, silent_chance
from openrft.diagnosis.rehearsal import Estimate
from openrft.evaluation.evaluation import mean_or_none
from openrft.models.memory import total_bytes
from openrft.training.job_plan import (
    KEPT_CHECKPOINTS,
    BudgetPlan,
    GraderPlan,
    JobPlan,
    PhaseName,
    Range,
    exactly,
    existing,
    warnings_of,
)
from openrft.training.plan_supervised import SupervisedWork, project_supervised
from openrft.training.prepare import PreparedReinforcement, has_code, prepare
from openrft.training.prepare_supervised import prepare_supervised
from openrft.training.probe import DEFAULT_SECONDS, Probe, probe
from openrft.training.progress import Progress
from openrft.training.rehearsal_numbers import JobPasses, estimate, job_passes
from openrft.training.resolve import ReinforcementSettings
from openrft.training.solve_rates import fit_group_size
from openrft.training.threads import calibrate_threads

SHORTER, LONGER = 0.5, 2.0
"""Answers against what is expected, at the ends of the range."""

BASE_SHARE = 0.25
"""Of the run, in which answers still have the base's length. They leave it within the first steps that learn."""

KEPT_SIGNAL = 0.5
"""Of the groups that have a signal at first, how many have one over the run: it goes as prompts are solved."""

POSITIONS_SHARE = 0.5
"""Of sampling's time, what goes with the longest answers of a batch and not with all: the base has long ones too."""

_ANSWER_BYTES, _TOKEN_BYTES = 1200, 20  # of the records: an answer with its prompt, and each of its tokens

_STEP_PHASES: tuple[PhaseName, ...] = ("sampling", "grading", "update", "records and checkpoints")


def plan(
    job: Job,
    progress: Progress,
    *,
    seconds: float = DEFAULT_SECONDS,
    folder: Path | None = None,
    kept: Path | None = None,
) -> JobPlan:
    """Prepare ``job``, probe it for about ``seconds`` and project. Nothing is trained and nothing is kept.

    ``folder`` is where the run would be kept, for what its disk has free; ``kept``: what runs have found of this
    machine (:mod:`openrft.training.threads`). Raises what :func:`~openrft.training.prepare.prepare` raises for a job
    that is wrong.
    """
    grader = job.method.options.grader
    calibrate_threads(progress.note, kept, graders_compute=grader is not None and has_code(grader))
    began = time.perf_counter()
    if isinstance(job.method, SupervisedMethod):
        supervised = prepare_supervised(job, job.method.supervised, progress)
        try:
            loading = time.perf_counter() - began
            progress.phase("measuring an update")
            return project_supervised(supervised, SupervisedWork(supervised, seconds=seconds), loading, folder)
        finally:
            supervised.close()
    prepared = prepare(job, progress)
    try:
        prepared = fit_group_size(prepared, progress)
        loading = time.perf_counter() - began
        return project(prepared, probe(prepared, progress, seconds=seconds), loading=loading, folder=folder)
    finally:
        prepared.close()


def project(prepared: PreparedReinforcement, found: Probe, *, loading: float, folder: Path | None = None) -> JobPlan:
    """The plan of a prepared job from what its probe found; ``loading``: seconds until it was prepared."""
    settings, policy = prepared.settings, prepared.policy
    passes = job_passes(prepared)
    work = Work.of(settings, passes, found)
    phases = _phases(settings, passes, found, work, loading)
    made = JobPlan(
        model=policy.name,
        parameters=policy.num_parameters,
        device=str(policy.network.device),
        num_steps=settings.num_steps,
        rollouts=work.rollouts,
        evaluation_answers=passes.answers,
        completion_tokens=work.length,
        tokens_sampled=work.sampled,
        tokens_trained=work.trained,
        phases=phases,
        seconds=sum(phases.values(), exactly(0.0)),
        peak_bytes=found.loaded_bytes + (found.peak_bytes - found.loaded_bytes) * max(1.0, work.growth.expected),
        machine_bytes=total_bytes(policy.network.device),
        disk_bytes=_disk(policy.num_parameters, passes, found, work),
        disk_free_bytes=shutil.disk_usage(existing(folder or Path.cwd())).free,
        grader_calls=work.rollouts + passes.answers,
        graders=[
            GraderPlan(
                model=one.model,
                tokens=one.tokens * (work.rollouts + passes.answers),
                cost=None if one.cost is None else one.cost * (work.rollouts + passes.answers),
            )
            for one in found.spending
        ],
        mean_score=_over_prompts(found, mean_or_none, samples=found.num_samples),
        outcomes=dict(Counter(outcome_of(_graded(scores), settings.passing_score) for scores in found.scores)),
        signal=work.signal,
        budget=list(_budget(settings, passes, found, work, phases)),
        hyperparameters=settings.model_dump(mode="json"),
        reasons=prepared.reasons,
        probe=found,
        warnings=[],
    )
    return replace(made, warnings=[*warnings_of(made), *_warnings_of_probe(made, found)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How much there is to compute."""

    rollouts: int
    length: Range  # tokens of an answer in training
    growth: Range  # of answers against the base's
    pace: Range  # seconds of an answer against the base's
    evaluated_length: float  # of the base's answers to held-out prompts
    signal: Estimate | None
    trained: Range  # tokens
    updates: int  # of the weights
    base_tokens: float  # sampled for the base's evaluation
    sampled: Range  # tokens, in training and evaluation

    @classmethod
    def of(cls, settings: ReinforcementSettings, passes: JobPasses, found: Probe) -> Work:
        """By the probe's lengths and scores."""
        rollouts = settings.num_steps * settings.answers_per_step
        mean = found.mean_length
        later = min(float(settings.max_completion_tokens), found.paid_length)
        expected = BASE_SHARE * mean + (1 - BASE_SHARE) * later
        longest = max(expected, min(settings.max_completion_tokens, expected * LONGER))
        length = Range(expected=expected, low=expected * SHORTER, high=longest)
        growth = length.times(1 / mean)
        evaluated = mean if found.evaluation_tokens_mean is None else found.evaluation_tokens_mean
        signal = _over_prompts(found, lambda scores: 1.0 - silent_chance(scores, settings.group_size))
        share = 1.0 if settings.kl_beta > 0 else signal.value if signal is not None else 0.0
        kept = share if settings.kl_beta > 0 else KEPT_SIGNAL * share
        base = (passes.validated + passes.reported) * evaluated
        after = (passes.validations * passes.validated + passes.reported) * evaluated
        return cls(
            rollouts=rollouts,
            length=length,
            growth=growth,
            pace=exactly(POSITIONS_SHARE) + growth.times(1 - POSITIONS_SHARE),
            evaluated_length=evaluated,
            signal=signal,
            trained=Range(
                expected=rollouts * length.expected * kept,
                low=rollouts * length.low * kept * 0.5,
                high=rollouts * length.high,
            ),
            updates=math.ceil(settings.num_steps * settings.batch_size * kept / settings.groups_per_update),
            base_tokens=base,
            sampled=length.times(rollouts) + exactly(base) + growth.times(after),
        )


def _phases(
    settings: ReinforcementSettings, passes: JobPasses, found: Probe, work: Work, loading: float
) -> dict[PhaseName, Range]:
    cost = found.update
    each = found.evaluation_seconds_per_answer
    if each is None:
        each = found.sampling_seconds_per_token * work.evaluated_length + found.grading_seconds_per_answer
    checkpoints = max(passes.validations, settings.num_steps // settings.checkpoint_interval)
    records = settings.num_steps * found.record_seconds + work.rollouts * found.other_seconds_per_answer
    return {
        "loading": exactly(loading),
        "base evaluation": exactly((passes.validated + passes.reported) * each),
        "sampling": work.pace.times(work.rollouts * found.mean_length * found.sampling_seconds_per_token),
        "grading": exactly(work.rollouts * (found.grading_seconds_per_answer + found.waiting_seconds_per_answer)),
        "update": work.trained.times(cost.seconds_per_token or 0.0)
        + exactly(work.updates * (cost.optimizer_seconds or 0.0)),
        "validation": work.pace.times(passes.validations * passes.validated * each),
        "records and checkpoints": exactly(records + checkpoints * (cost.checkpoint_seconds or 0.0)),
        "report": work.pace.times(passes.reported * each),
    }


def _disk(parameters: int, passes: JobPasses, found: Probe, work: Work) -> Range:
    """Checkpoints, the model that ships, and the records of every answer."""
    answers = (work.rollouts + passes.answers) * _ANSWER_BYTES
    fixed = KEPT_CHECKPOINTS * found.update.checkpoint_bytes + 4 * parameters + answers
    return exactly(fixed) + work.sampled.times(_TOKEN_BYTES)


def _budget(
    settings: ReinforcementSettings,
    passes: JobPasses,
    found: Probe,
    work: Work,
    phases: dict[PhaseName, Range],
) -> Iterator[BudgetPlan]:
    steps, answers = settings.num_steps, settings.answers_per_step
    cost = sum(one.cost or 0.0 for one in found.spending)
    minutes = sum((phases[name] for name in _STEP_PHASES), exactly(0.0)).times(1 / 60 / steps)
    validation = phases["validation"].times(1 / 60 / passes.validations)
    # Of each thing that may be limited: what the base takes, a step, and a validation.
    takes = {
        "budget_minutes": (phases["base evaluation"].expected / 60, minutes, validation),
        "budget_tokens": (
            work.base_tokens,
            work.length.times(answers),
            work.growth.times(passes.validated * work.evaluated_length),
        ),
        "budget_grader_cost": (
            cost * (passes.validated + passes.reported),
            exactly(cost * answers),
            exactly(cost * passes.validated),
        ),
    }
    for name, (base, step, validation) in takes.items():
        limit = getattr(settings, name)
        if limit is not None:
            yield BudgetPlan(
                name=name,
                limit=limit,
                needed=exactly(base) + step.times(steps) + validation.times(passes.validations),
                pause_after=_pause_after(settings, limit, base, step.expected, validation.expected),
            )


def _pause_after(
    settings: ReinforcementSettings, limit: float, base: float, step: float, validation: float
) -> int | None:
    """The last step that fits into ``limit``, or None where all do; see :mod:`openrft.training.budget`."""
    spent = base
    for number in range(1, settings.num_steps + 1):
        spent += step + (validation if settings.is_evaluation_step(number) else 0.0)
        if spent > limit:
            return number - 1
    return None


def _warnings_of_probe(made: JobPlan, found: Probe) -> Iterator[str]:
    if not found.is_whole_batch:
        yield "a whole batch was too slow for the probe; the pace of a smaller one was measured, and may be another"
    if found.update.seconds_per_token is None:
        yield "an update could not be measured; its time is left out"
    if found.truncated_share > 0.1:
        yield f"{found.truncated_share:.0%} of the answers were cut off at max_completion_tokens"
    if made.outcomes.get("ungraded"):
        yield f"{made.outcomes['ungraded']} of {len(found.scores)} prompts had no answer that could be graded"
    if made.signal is not None and made.signal.value < 0.1:
        yield (
            f"only {made.signal.value:.0%} of the groups have a signal; openrft grader rehearse says what may be wrong"
        )


def _graded(scores: Sequence[float | None]) -> list[float]:
    return [score for score in scores if score is not None]


def _over_prompts(
    found: Probe, value_of: Callable[[list[float]], float | None], *, samples: float = 1
) -> Estimate | None:
    """Mean over the prompts that have a graded answer, with its interval."""
    lines = {
        line: graded for line, scores in zip(found.lines, found.scores, strict=True) if (graded := _graded(scores))
    }
    return estimate([value_of(graded) or 0.0 for graded in lines.values()], list(lines), samples)
