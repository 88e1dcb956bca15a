"""What a run depends on, written into its ``config.json``; and whether a resumed run still sees the same."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

from openrft import __version__
from openrft.config.graders import GraderSpec, LabelModelSpec, ScoreModelSpec, judging_parts
from openrft.config.hyperparameters import BUDGET_NAMES
from openrft.config.settings import read_settings
from openrft.errors import InvalidRequest, OpenRFTError
from openrft.models.decoder.products import kernel
from openrft.training.prepare import Prepared, sandbox_level
from openrft.training.threads import update_threads


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
        "sandbox": sandbox_level(prepared.job.method.options.grader) or sandbox_level(prepared.job.monitor_grader),
        "judges": _judges(prepared.job.method.options.grader) | _judges(prepared.job.monitor_grader),
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
    before, present = config["hyperparameters"], now["hyperparameters"]
    different = [name for name in before | present if before.get(name) != present.get(name)]
    different = [name for name in different if name not in BUDGET_NAMES]  # what may be spent decides no weight
    if different:
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
                param=f"method.{prepared.job.method.type}.grader",
            )
        if present["base_url"] != judge["base_url"]:
            moved = f"{judge['base_url']} when the run began and at {present['base_url']} now"
            warnings.append(f"grader model {name} was at {moved}")
    return warnings + [
        f"{name} was {value} when the run began and is {now['machine'].get(name)} now; results may round differently"
        for name, value in config["machine"].items()
        if now["machine"].get(name) != value
    ]


def _judges(grader: GraderSpec | None) -> dict[str, dict[str, str]]:
    """Which server and model stand behind each model name of the grader: other judges give other rewards."""
    if grader is None:
        return {}
    names = {part.model for part in judging_parts(grader) if isinstance(part, ScoreModelSpec | LabelModelSpec)}
    tables = read_settings().grader_models
    return {
        name: {"base_url": tables[name].base_url, "model": tables[name].model or name}
        for name in sorted(names)
        if name in tables
    }
