"""Everything a run needs, checked before any compute is spent: data, model, "auto", grader, engine.

:func:`prepare` is for reinforcement jobs. What a job of another method needs as well is here without being its own:
:mod:`openrft.training.prepare_supervised`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from openrft.config.graders import GraderSpec, PythonSpec, judging_parts
from openrft.config.job import Job
from openrft.config.response_format import constraint_of
from openrft.dataset import Dataset, check_overlap, check_prompt_lengths, read_examples, row_limits
from openrft.errors import DatasetError, InvalidRequest, Problem
from openrft.graders import build_grader, check_grader
from openrft.graders.sandbox import find_isolation
from openrft.models.decoder.products import short_type_gain
from openrft.models.load import Policy, attach_adapter, cast_weights, load_policy, load_tokenizer
from openrft.rollout.collect import Prompt
from openrft.rollout.native import NativeEngine, schema_compiler
from openrft.rollout.prompt import render_example
from openrft.training.choices import Hyperparameters
from openrft.training.memory import room_of
from openrft.training.progress import Progress
from openrft.training.resolve import ReinforcementFacts, ReinforcementSettings, resolve
from openrft.types import Engine, Grader


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that a run of any method needs, checked."""

    job: Job
    settings: Hyperparameters
    reasons: dict[str, str]
    policy: Policy
    engine: Engine
    grader: Grader | None  # None: nothing is sampled
    valid: list[Prompt]
    test: list[Prompt]
    datasets: dict[str, Dataset]
    base_fingerprint: str  # of the untouched base's weights
    monitor: Grader | None = None  # the second grader, which only watches

    @property
    def json_schema(self) -> str | None:
        """What every answer is held to; None where answers are free."""
        return None

    @property
    def algorithm(self) -> str:
        """What trains, in a word."""
        return self.job.method.type

    @property
    def answers_per_step(self) -> int | None:
        """Completions that a step samples; None where it samples none."""
        return None

    def num_rows(self, file: str) -> int:
        """Rows of one of the job's files; 0 of one that it has not got."""
        return len(self.datasets[file].examples) if file in self.datasets else 0

    def close(self) -> None:
        """Give back what the graders hold."""
        for grader in (self.grader, self.monitor):
            if grader is not None:
                grader.close()


@dataclass(frozen=True, kw_only=True)
class PreparedReinforcement(Prepared):
    """All that a reinforcement run needs, checked."""

    settings: ReinforcementSettings
    grader: Grader
    train: list[Prompt]
    facts: ReinforcementFacts  # what "auto" went by

    @property
    def json_schema(self) -> str | None:
        """What every answer is held to by the job's ``response_format``."""
        return constraint_of(self.job.reinforcement.response_format)

    @property
    def algorithm(self) -> str:
        """Which advantage and loss."""
        return self.settings.algorithm

    @property
    def answers_per_step(self) -> int:
        """Completions that a step samples."""
        return self.settings.answers_per_step


def prepare(job: Job, progress: Progress) -> PreparedReinforcement:
    """Check everything there is to check and load what is needed; nothing is sampled and nothing written.

    Raises :class:`~openrft.errors.DatasetError`, :class:`~openrft.errors.InvalidRequest` or
    :class:`~openrft.errors.ModelError`, each naming place, expectation and fix.
    """
    asked = job.reinforcement
    datasets = read_datasets(job, progress)
    refuse_tools(datasets)
    check_grader_on(asked.grader, datasets, progress, where="method.reinforcement.grader")
    if asked.monitor_grader is not None:
        check_grader_on(asked.monitor_grader, datasets, progress, where="method.reinforcement.monitor_grader")
    policy = load_base(job, progress)
    effort = asked.hyperparameters.reasoning_effort
    prompts = {
        name: [
            Prompt(example=example, token_ids=render_example(policy.tokenizer, example, reasoning_effort=effort))
            for example in data.examples
        ]
        for name, data in datasets.items()
    }
    _check_lengths(datasets, prompts, policy)
    facts = ReinforcementFacts(
        num_parameters=policy.num_parameters,
        context_tokens=policy.context_tokens,
        num_train=len(prompts["training_file"]),
        num_valid=len(prompts["validation_file"]),
        longest_prompt=max(len(prompt.token_ids) for part in prompts.values() for prompt in part),
        room=room_of(policy),
        short_type_gain=short_type_gain(policy.network.device),
    )
    settings, reasons = resolve(asked.hyperparameters, asked.grader, facts)
    if "max_completion_tokens" in reasons and settings.max_completion_tokens < 64:
        progress.note(
            f"the longest prompt ({facts.longest_prompt} tokens) leaves every answer only "
            f"{settings.max_completion_tokens} of the context's {facts.context_tokens} tokens; shorten or remove it",
            "warn",
        )
    _check_form(job, policy)
    base_fingerprint = fingerprint(policy.network)
    choose_trained(policy, settings, job.seed, progress)
    return PreparedReinforcement(
        job=job,
        facts=facts,
        settings=settings,
        reasons=reasons,
        policy=policy,
        engine=build_engine(policy, progress),
        grader=build_grader(asked.grader),
        monitor=None if asked.monitor_grader is None else build_grader(asked.monitor_grader),
        train=prompts["training_file"],
        valid=prompts["validation_file"],
        test=prompts.get("test_file", []),
        datasets=datasets,
        base_fingerprint=base_fingerprint,
    )


def load_base(job: Job, progress: Progress) -> Policy:
    """The job's base model, nothing of which trains yet."""
    progress.phase(f"loading {job.model}")
    policy = load_policy(job.model, weights="frozen")
    for note in policy.notes:
        progress.note(note, "warn")
    return policy


def choose_trained(policy: Policy, settings: Hyperparameters, seed: int, progress: Progress) -> None:
    """Let every weight train or attach an adapter, and compute in the run's precision."""
    if settings.weights == "lora":
        if policy.network.device.type == "cuda" and settings.precision == "bfloat16":
            cast_weights(policy, torch.bfloat16)  # the frozen base; the adapter stays fp32
        attach_adapter(policy, rank=settings.lora_rank, seed=seed)
    else:
        policy.network.requires_grad_(True)
    policy.compute_in(getattr(torch, settings.precision))
    if policy.decoder is None:
        how = f"in {settings.precision} by autocast" if policy.autocast is not None else "slower than openrft's own"
        kind = policy.network.config.model_type
        progress.note(f"{kind} models run through transformers' forward pass, {how}", "info")


def build_engine(policy: Policy, progress: Progress) -> Engine:
    """What samples from the policy in this process."""
    return NativeEngine(
        policy.network,
        policy.tokenizer,
        decoder=policy.decoder,
        autocast=policy.autocast,
        tell=lambda words: progress.note(words, "warn"),
    )


def check_grader_on(grader: GraderSpec, datasets: dict[str, Dataset], progress: Progress, *, where: str) -> None:
    """Check the grader at ``where`` by itself and on every row; people are told how its code is isolated."""
    check_grader(grader, where=where)
    for name, data in datasets.items():
        try:  # what is left to find is about rows
            check_grader(grader, data.examples, where=where)
        except InvalidRequest as error:
            raise InvalidRequest(f"{name} {data.path}: {error.message}", param=error.param) from None
    level = sandbox_level(grader)
    if level is not None:
        words = "without any sandbox, as the environment asks" if level == "none" else f"in the sandbox, level {level}"
        progress.note(f"Python graders run {words}", "warn" if level == "none" else "info")


def _check_form(job: Job, policy: Policy) -> None:
    """Raise :class:`InvalidRequest` unless this model's answers can be held to the job's ``response_format``."""
    json_schema = constraint_of(job.reinforcement.response_format)
    if json_schema is None:
        return
    try:
        schema_compiler(policy.network, policy.tokenizer).start(json_schema, ())
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="method.reinforcement.response_format") from None


def read_datasets(job: Job, progress: Progress) -> dict[str, Dataset]:
    """Every file of the job, all their problems told at once."""
    files = {"training_file": job.training_file, "validation_file": job.validation_file, "test_file": job.test_file}
    datasets: dict[str, Dataset] = {}
    problems: list[Problem] = []
    wrong = []
    for name, file in files.items():
        if file is None:
            continue
        try:
            least, most = row_limits(job.method.type, name)
            datasets[name] = read_examples(Path(file), method=job.method.type, min_rows=least, max_rows=most)
        except DatasetError as error:
            problems += error.problems
            wrong.append(name)
    if problems:
        raise DatasetError(problems, param=wrong[0])
    for data in datasets.values():
        for warning in data.warnings:
            progress.note(str(warning), "warn")
    for name in ("validation_file", "test_file"):
        if name in datasets:
            for warning in check_overlap(datasets["training_file"], datasets[name]):
                progress.note(str(warning), "warn")
    return datasets


def refuse_tools(datasets: dict[str, Dataset]) -> None:
    """Raise :class:`InvalidRequest` for rows whose answers are to be sampled with tools."""
    for name, data in datasets.items():
        with_tools = [example.line for example in data.examples if example.tools]
        if with_tools:
            raise InvalidRequest(
                f"{data.path}: {len(with_tools)} rows have tools, first line {with_tools[0]}; tools are not available "
                "yet, remove them to train without",
                param=name,
            )


def sandbox_level(grader: GraderSpec | None) -> str | None:
    """How the grader's Python code is isolated; None when it has none.

    Raises :class:`~openrft.errors.SandboxUnavailable` where code cannot be isolated.
    """
    return find_isolation().name if has_code(grader) else None


def has_code(grader: GraderSpec | None) -> bool:
    """Whether grading runs Python code on this machine."""
    return grader is not None and any(isinstance(part, PythonSpec) for part in judging_parts(grader))


def check_lengths_against(model: str, data: Dataset) -> list[Problem]:
    """Rows whose prompt leaves ``model`` no room for an answer. Loads the tokenizer and the config, not the weights."""
    tokenizer, context_tokens = load_tokenizer(model)
    return check_prompt_lengths(data, lambda example: len(render_example(tokenizer, example)), context_tokens - 1)


def _check_lengths(datasets: dict[str, Dataset], prompts: dict[str, list[Prompt]], policy: Policy) -> None:
    """Raise :class:`DatasetError` for prompts that leave no token of the context for an answer."""
    lengths = {prompt.example.id: len(prompt.token_ids) for part in prompts.values() for prompt in part}
    problems = [
        problem
        for data in datasets.values()
        for problem in check_prompt_lengths(data, lambda example: lengths[example.id], policy.context_tokens - 1)
    ]
    if problems:
        raise DatasetError(problems)


def fingerprint(network: Any) -> str:
    """A hash of up to 256 numbers of every tensor: cheap for any size, and different for other weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        flat = tensor.detach().flatten()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(flat[:: max(1, flat.numel() // 256)][:256].float().cpu().numpy().tobytes())
    return digest.hexdigest()
