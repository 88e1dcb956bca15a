"""The part of "auto" that needs a look at answers: how large a group must be for the untouched base to differ in it.

Two steps' worth of training prompts are answered and graded before the run begins, with random numbers of their own.
"""

from __future__ import annotations

from dataclasses import replace

from openrft.config.graders import GraderSpec
from openrft.rollout.collect import collect
from openrft.training.prepare import PreparedReinforcement
from openrft.training.probe import PROBE_STREAM, choose_prompts
from openrft.training.progress import Progress
from openrft.training.rehearse import COSTLY_KINDS, grader_kinds
from openrft.training.resolve import LARGE_GROUP, NORMAL_GROUP, resolve
from openrft.training.sampling import training_sampling

NUM_PROMPTS = 16
FEW = 0.5  # of the prompts; below this larger groups find more that differ

_STEP = 1_000_000  # of the probe's stream: far from the steps of a plan


def fit_group_size(prepared: PreparedReinforcement, progress: Progress) -> PreparedReinforcement:
    """``prepared`` with the group size that fits its base and rows, where that is "auto"."""
    asked = prepared.job.reinforcement.hyperparameters
    if asked.group_size != "auto":
        return prepared
    grader = prepared.job.reinforcement.grader
    if _is_costly(grader):
        group, reason = NORMAL_GROUP, "not tried out, because this grader's answers cost money"
    else:
        group, reason = fitting_group(_scores(prepared, progress))
    facts = replace(prepared.facts, fitting_group=group, fitting_reason=reason)
    settings, reasons = resolve(asked, grader, facts)
    return replace(prepared, facts=facts, settings=settings, reasons=reasons)


def fitting_group(scores: list[list[float | None]]) -> tuple[int, str]:
    """Completions per prompt, and why, from each prompt's scores of ``NORMAL_GROUP`` answers.

    A prompt that is solved once in twenty tries differs in a third of all groups of 8 and in more than half of those
    of 16. Where most groups differ already, more answers per prompt say little that other prompts would not say better.
    """
    graded = [row for row in ([score for score in row if score is not None] for row in scores) if len(row) > 1]
    if not graded:
        return NORMAL_GROUP, "no answer of the untouched base could be graded"
    differing = sum(len(set(row)) > 1 for row in graded)
    share = f"{NORMAL_GROUP} answers of the untouched base differ in grade on {differing} of {len(graded)} prompts"
    if differing < FEW * len(graded) and not _are_solved(graded):
        return LARGE_GROUP, f"{share}: larger groups find more"
    return NORMAL_GROUP, share


def _are_solved(graded: list[list[float]]) -> bool:
    """Whether the prompts that do not differ are mostly right, where nothing is to be found."""
    silent = [row[0] for row in graded if len(set(row)) == 1]
    return bool(silent) and sum(score >= 0.5 for score in silent) > len(silent) / 2


def _is_costly(grader: GraderSpec) -> bool:
    return bool(grader_kinds(grader) & COSTLY_KINDS)


def _scores(prepared: PreparedReinforcement, progress: Progress) -> list[list[float | None]]:
    prompts = choose_prompts(prepared.train, NUM_PROMPTS, seed=prepared.job.seed)
    progress.phase(f"{len(prompts)} prompts of the untouched base, for the group size", len(prompts) * NORMAL_GROUP)
    groups = collect(
        prepared.engine,
        prepared.grader,
        prompts,
        num_samples=NORMAL_GROUP,
        sampling=training_sampling(prepared.settings, prepared.json_schema),
        seed=prepared.job.seed,
        stream=PROBE_STREAM,
        step=_STEP,
        model=prepared.policy.name,
        on_rollout=progress.rollout,
    )
    return [[rollout.grade.score for rollout in group.rollouts] for group in groups]
