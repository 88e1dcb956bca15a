"""Everything a run needs, checked before any compute is spent: data, model, "auto", grader, engine."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from openrft import __version__
from openrft.config.graders import GraderSpec, LabelModelSpec, PythonSpec, ScoreModelSpec, judging_parts
from openrft.config.job import Job
from openrft.config.response_format import constraint_of
from openrft.config.settings import read_settings
from openrft.dataset import (
    MAX_TRAINING_ROWS,
    MAX_VALIDATION_ROWS,
    Dataset,
    check_overlap,
    check_prompt_lengths,
    read_examples,
)
from openrft.errors import DatasetError, InvalidRequest, OpenRFTError, Problem
from openrft.graders import build_grader, check_grader
from openrft.graders.sandbox import find_isolation
from openrft.models.decoder.products import kernel, short_type_gain
from openrft.models.load import Policy, attach_adapter, cast_weights, load_policy, load_tokenizer
from openrft.rollout.collect import Prompt
from openrft.rollout.native import NativeEngine, schema_compiler
from openrft.rollout.prompt import render_example
from openrft.training.memory import room_of
from openrft.training.progress import Progress
from openrft.training.resolve import Facts, ReinforcementSettings, resolve
from openrft.training.threads import update_threads
from openrft.types import Engine, Grader, SamplingParams


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that a run needs, checked."""

    job: Job
    settings: ReinforcementSettings
    reasons: dict[str, str]
    policy: Policy
    engine: Engine
    grader: Grader
    train: list[Prompt]
    valid: list[Prompt]
    test: list[Prompt]
    datasets: dict[str, Dataset]
    base_fingerprint: str  # of the untouched base's weights

    @property
    def json_schema(self) -> str | None:
        """What every answer is held to by the job's ``response_format``."""
        return constraint_of(self.job.reinforcement.response_format)


def evaluation_sampling(settings: ReinforcementSettings, json_schema: str | None = None) -> SamplingParams:
    """How held-out examples are sampled: as in training, with the job's nucleus cut."""
    return SamplingParams(
        max_tokens=settings.max_completion_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        stop=settings.stop,
        json_schema=json_schema,
    )


def prepare(job: Job, progress: Progress) -> Prepared:
    """Check everything there is to check and load what is needed; nothing is sampled and nothing written.

    Raises :class:`~openrft.errors.DatasetError`, :class:`~openrft.errors.InvalidRequest` or
    :class:`~openrft.errors.ModelError`, each naming place, expectation and fix.
    """
    asked = job.reinforcement
    datasets = _read_datasets(job, progress)
    _check_grader(asked.grader, datasets, progress)
    progress.phase(f"loading {job.model}")
    policy = load_policy(job.model, weights="frozen")
    for note in policy.notes:
        progress.note(note, "warn")
    effort = asked.hyperparameters.reasoning_effort
    prompts = {
        name: [
            Prompt(example=example, token_ids=render_example(policy.tokenizer, example, reasoning_effort=effort))
            for example in data.examples
        ]
        for name, data in datasets.items()
    }
    _check_lengths(datasets, prompts, policy)
    facts = Facts(
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
    base_fingerprint = _fingerprint(policy.network)
    if settings.weights == "lora":
        if policy.network.device.type == "cuda" and settings.precision == "bfloat16":
            cast_weights(policy, torch.bfloat16)  # the frozen base; the adapter stays fp32
        attach_adapter(policy, rank=settings.lora_rank, seed=job.seed)
    else:
        policy.network.requires_grad_(True)
    _choose_precision(settings, policy, progress)
    return Prepared(
        job=job,
        settings=settings,
        reasons=reasons,
        policy=policy,
        engine=NativeEngine(
            policy.network,
            policy.tokenizer,
            decoder=policy.decoder,
            autocast=policy.autocast,
            tell=lambda words: progress.note(words, "warn"),
        ),
        grader=build_grader(asked.grader),
        train=prompts["training_file"],
        valid=prompts["validation_file"],
        test=prompts.get("test_file", []),
        datasets=datasets,
        base_fingerprint=base_fingerprint,
    )


def _choose_precision(settings: ReinforcementSettings, policy: Policy, progress: Progress) -> None:
    policy.compute_in(getattr(torch, settings.precision))
    if policy.decoder is None:
        how = f"in {settings.precision} by autocast" if policy.autocast is not None else "slower than openrft's own"
        kind = policy.network.config.model_type
        progress.note(f"{kind} models run through transformers' forward pass, {how}", "info")


def _check_grader(grader: GraderSpec, datasets: dict[str, Dataset], progress: Progress) -> None:
    check_grader(grader, where="method.reinforcement.grader")
    for name, data in datasets.items():
        try:  # what is left to find is about rows
            check_grader(grader, data.examples, where="method.reinforcement.grader")
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


def _read_datasets(job: Job, progress: Progress) -> dict[str, Dataset]:
    """Every file of the job, all their problems told at once."""
    files = {"training_file": job.training_file, "validation_file": job.validation_file, "test_file": job.test_file}
    datasets: dict[str, Dataset] = {}
    problems: list[Problem] = []
    wrong = []
    for name, file in files.items():
        if file is None:
            continue
        try:
            most = MAX_TRAINING_ROWS if name == "training_file" else MAX_VALIDATION_ROWS
            datasets[name] = read_examples(Path(file), max_rows=most)
        except DatasetError as error:
            problems += error.problems
            wrong.append(name)
    if problems:
        raise DatasetError(problems, param=wrong[0])
    for name, data in datasets.items():
        with_tools = [example.line for example in data.examples if example.tools]
        if with_tools:
            raise InvalidRequest(
                f"{data.path}: {len(with_tools)} rows have tools, first line {with_tools[0]}; tools are not available "
                "yet, remove them to train without",
                param=name,
            )
    for data in datasets.values():
        for warning in data.warnings:
            progress.note(str(warning), "warn")
    for name in ("validation_file", "test_file"):
        if name in datasets:
            for warning in check_overlap(datasets["training_file"], datasets[name]):
                progress.note(str(warning), "warn")
    return datasets


def sandbox_level(grader: GraderSpec) -> str | None:
    """How the grader's Python code is isolated; None when it has none.

    Raises :class:`~openrft.errors.SandboxUnavailable` where code cannot be isolated.
    """
    return find_isolation().name if has_code(grader) else None


def has_code(grader: GraderSpec) -> bool:
    """Whether grading runs Python code on this machine."""
    return any(isinstance(part, PythonSpec) for part in judging_parts(grader))


def _judges(grader: GraderSpec) -> dict[str, dict[str, str]]:
    """Which server and model stand behind each model name of the grader: other judges give other rewards."""
    names = {part.model for part in judging_parts(grader) if isinstance(part, ScoreModelSpec | LabelModelSpec)}
    tables = read_settings().grader_models
    return {
        name: {"base_url": tables[name].base_url, "model": tables[name].model or name}
        for name in sorted(names)
        if name in tables
    }


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


def describe(prepared: Prepared) -> dict[str, Any]:
    """What ``config.json`` holds: all that the run depends on, resolved."""
    policy = prepared.policy
    return {
        "openrft": __version__,
        "seed": prepared.job.seed,
        "hyperparameters": prepared.settings.model_dump(mode="json"),
        "reasons": prepared.reasons,
        "model": {
            "name": policy.name,
            "architecture": type(policy.network).__name__,
            "parameters": policy.num_parameters,
            "trained_parameters": sum(tensor.numel() for _, tensor in policy.trained_parameters()),
            "context_tokens": policy.context_tokens,
            "fingerprint": prepared.base_fingerprint,
        },
        "files": {
            name: {"path": str(data.path), "rows": len(data.examples), "fingerprint": data.fingerprint}
            for name, data in prepared.datasets.items()
        },
        "sandbox": sandbox_level(prepared.job.reinforcement.grader),
        "judges": _judges(prepared.job.reinforcement.grader),
        "machine": {
            "device": str(policy.network.device),
            "threads": torch.get_num_threads(),
            "update_threads": update_threads(),
            "products": kernel(),
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "transformers", "peft", "llguidance")},
        },
    }


def check_unchanged(config: dict[str, Any], prepared: Prepared) -> list[str]:
    """A resumed run must see the rows, the options and the base of the interrupted one: its steps build on them.

    Raises :class:`InvalidRequest` or :class:`OpenRFTError` where it does not, and returns warnings about what may only
    round differently: the device and the versions of packages.
    """
    now = describe(prepared)
    for name, facts in config["files"].items():
        if now["files"].get(name, {}).get("fingerprint") != facts["fingerprint"]:
            raise InvalidRequest(
                f"{name} {facts['path']} has changed since the run began; restore it, or start a new run", param=name
            )
    if config["model"] != now["model"]:
        different = [name for name, value in config["model"].items() if now["model"].get(name) != value]
        raise InvalidRequest(
            f"model {config['model']['name']} has changed since the run began ({', '.join(different)}); "
            "restore it, or start a new run",
            param="model",
        )
    if config["hyperparameters"] != now["hyperparameters"]:
        before, present = config["hyperparameters"], now["hyperparameters"]
        different = [name for name in before | present if before.get(name) != present.get(name)]
        raise OpenRFTError(
            f"this version of openrft resolves {', '.join(different)} differently than when the run began; "
            "start it anew, or go on with the version in its config.json",
            code="resume_mismatch",
        )
    warnings = []
    for name, judge in config.get("judges", {}).items():
        present = now["judges"].get(name, {})
        if present.get("model") != judge["model"]:
            raise InvalidRequest(
                f"grader model {name} was {judge['model']} when the run began and is {present.get('model')} now; its "
                "rewards could not be compared. Map it as before, or start a new run",
                param="method.reinforcement.grader",
            )
        if present["base_url"] != judge["base_url"]:
            moved = f"{judge['base_url']} when the run began and at {present['base_url']} now"
            warnings.append(f"grader model {name} was at {moved}")
    return warnings + [
        f"{name} was {value} when the run began and is {now['machine'].get(name)} now; results may round differently"
        for name, value in config["machine"].items()
        if now["machine"].get(name) != value
    ]


def _fingerprint(network: Any) -> str:
    """A hash of up to 256 numbers of every tensor: cheap for any size, and different for other weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        flat = tensor.detach().flatten()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(flat[:: max(1, flat.numel() // 256)][:256].float().cpu().numpy().tobytes())
    return digest.hexdigest()
