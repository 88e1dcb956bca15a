"""Everything a supervised run needs, checked before any compute is spent; see :mod:`openrft.training.prepare`."""

from __future__ import annotations

from dataclasses import dataclass

from openrft.config.job import Job
from openrft.config.supervised import Supervised
from openrft.dataset import Dataset
from openrft.errors import DatasetError, InvalidRequest, Problem
from openrft.graders import build_grader
from openrft.models.decoder.products import short_type_gain
from openrft.models.load import Policy
from openrft.rollout.collect import Prompt
from openrft.rollout.native import stop_ids_of
from openrft.rollout.prompt import render_example
from openrft.rollout.supervised import Demonstration, render_demonstration
from openrft.training.memory import room_of
from openrft.training.prepare import (
    Prepared,
    build_engine,
    check_grader_on,
    choose_trained,
    fingerprint,
    load_base,
    read_datasets,
    refuse_tools,
)
from openrft.training.progress import Progress
from openrft.training.resolve_supervised import SupervisedFacts, SupervisedSettings, resolve_supervised


@dataclass(frozen=True, kw_only=True)
class PreparedSupervised(Prepared):
    """All that a supervised run needs, checked. ``valid`` and ``test`` are sampled where there is a grader."""

    settings: SupervisedSettings
    rows: list[Demonstration]  # that train
    valid_rows: list[Demonstration]
    test_rows: list[Demonstration]


def prepare_supervised(job: Job, asked: Supervised, progress: Progress) -> PreparedSupervised:
    """Check everything there is to check and load what is needed; nothing is computed and nothing written.

    Raises :class:`~openrft.errors.DatasetError`, :class:`~openrft.errors.InvalidRequest` or
    :class:`~openrft.errors.ModelError`, each naming place, expectation and fix.
    """
    datasets = read_datasets(job, progress)
    if asked.grader is not None:
        _check_graded(job)
        refuse_tools({name: data for name, data in datasets.items() if name != "training_file"})
        graded = {name: data for name, data in datasets.items() if name != "training_file"}
        check_grader_on(asked.grader, graded, progress, where="method.supervised.grader")
    policy = load_base(job, progress)
    effort = asked.hyperparameters.reasoning_effort
    rows = {name: _render(data, policy, effort, progress) for name, data in datasets.items()}
    prompts = {
        name: [
            Prompt(example=example, token_ids=render_example(policy.tokenizer, example, reasoning_effort=effort))
            for example in data.examples
        ]
        for name, data in datasets.items()
        if asked.grader is not None and name != "training_file"
    }
    sequences = [one for part in rows.values() for row in part for one in row.sequences]
    facts = SupervisedFacts(
        num_parameters=policy.num_parameters,
        context_tokens=policy.context_tokens,
        num_train=len(rows["training_file"]),
        num_valid=len(rows.get("validation_file", ())),
        longest_prompt=max(len(one.prompt_token_ids) for one in sequences),
        longest_answer=max(len(one.token_ids) for one in sequences),
        room=room_of(policy),
        short_type_gain=short_type_gain(policy.network.device),
    )
    settings, reasons = resolve_supervised(asked.hyperparameters, asked.grader, facts)
    base_fingerprint = fingerprint(policy.network)
    choose_trained(policy, settings, job.seed, progress)
    return PreparedSupervised(
        job=job,
        settings=settings,
        reasons=reasons,
        policy=policy,
        engine=build_engine(policy, progress),
        grader=None if asked.grader is None else build_grader(asked.grader),
        valid=prompts.get("validation_file", []),
        test=prompts.get("test_file", []),
        rows=rows["training_file"],
        valid_rows=rows.get("validation_file", []),
        test_rows=rows.get("test_file", []),
        datasets=datasets,
        base_fingerprint=base_fingerprint,
    )


def _check_graded(job: Job) -> None:
    if job.validation_file is None:
        raise InvalidRequest(
            "method.supervised.grader grades answers to the validation prompts, but there is no validation_file; add "
            "one, or remove the grader",
            param="validation_file",
        )


def _render(data: Dataset, policy: Policy, effort: str, progress: Progress) -> list[Demonstration]:
    """The rows as tokens, those that are too long cut at their end as OpenAI does, which people are told."""
    stop_ids = frozenset(stop_ids_of(policy.network, policy.tokenizer))
    context, rows, cut, problems = policy.context_tokens, [], [], []
    for example in data.examples:
        row = render_demonstration(policy.tokenizer, example, stop_ids, reasoning_effort=effort)
        if row.longest > context:
            cut.append(example.line)
            row = row.cut(context)
        if not row.num_trained:
            problems.append(_too_long(data, example.line, context))
        rows.append(row)
    if problems:
        raise DatasetError(problems)
    if cut:
        lines = ", ".join(map(str, cut[:5])) + (", …" if len(cut) > 5 else "")
        progress.note(
            f"{data.name}: {len(cut)} rows are longer than the model's context of {context} tokens and are cut there, "
            f"line {lines}: their answers do not learn to end",
            "warn",
        )
    return rows


def _too_long(data: Dataset, line: int, context: int) -> Problem:
    return Problem(
        file=data.name,
        line=line,
        key="messages",
        code="prompt_too_long",
        expected=f"an answer that begins within the model's context of {context:,} tokens",
        found="one after it",
        fix="Shorten the conversation, remove the row, or use a model with a longer context.",
    )
