"""A fine-tuning job as people write it: OpenAI's create request, with openrft's own options beside OpenAI's.

``openrft run job.json`` reads exactly this document; file names in it are relative to it. Every hyperparameter may be
left out or be ``"auto"``; ``openrft.training.resolve`` turns each "auto" into a value and says why.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from openrft.config.graders import GraderSpec
from openrft.config.integrations import Integrations
from openrft.config.reinforcement import Reinforcement, ReinforcementMethod
from openrft.config.spec import Spec, parse_spec, read_json
from openrft.config.supervised import SupervisedMethod
from openrft.errors import InvalidRequest

TrainingMethod = Annotated[ReinforcementMethod | SupervisedMethod, Field(discriminator="type")]


class Job(Spec):
    """One fine-tuning request: OpenAI's ``POST /fine_tuning/jobs`` body, files by path, plus ``test_file``."""

    model: Annotated[str, Field(min_length=1)]
    """A bundled model, a folder, or a name on the Hugging Face hub; looked for in this order."""
    training_file: Annotated[str, Field(min_length=1)]
    validation_file: Annotated[str, Field(min_length=1)] | None = None
    """Watched all along; picks the checkpoint. A supervised job may do without."""
    test_file: str | None = None
    """Rows that nothing is chosen by; the report's figures come from them. Ours."""
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 0
    method: TrainingMethod
    metadata: dict[str, str] | None = None
    integrations: Integrations | None = None
    """Experiment trackers that are told how it goes."""

    @property
    def reinforcement(self) -> Reinforcement:
        """The options of a reinforcement job. Raises :class:`InvalidRequest` for a job of another method."""
        if not isinstance(self.method, ReinforcementMethod):
            raise InvalidRequest(f"this is a job of method {self.method.type}, expected reinforcement", param="method")
        return self.method.reinforcement

    @property
    def monitor_grader(self) -> GraderSpec | None:
        """The second grader, which only watches; None without one."""
        grader: GraderSpec | None = None
        if isinstance(self.method, ReinforcementMethod):
            grader = self.method.reinforcement.monitor_grader
        return grader


def absolute_model(name: str, folder: Path) -> str:
    """The model ``name`` for a job that is kept: a local folder by its absolute path, any other name as it is.

    The order is that of ``openrft.models.catalog.locate_model``: a bundled model wins, then a folder (relative to
    ``folder``), then the hub. Plain names that start with ``openrft-`` are ours and never a folder; write
    ``./openrft-mine`` for a folder that is called so.
    """
    is_ours = name.startswith("openrft-") and os.sep not in name
    path = (folder / os.path.expanduser(name)).absolute()
    return str(path) if name and not is_ours and os.path.isdir(path) else name


def read_job(path: Path) -> Job:
    """Read a job document; file names in it become absolute, taken relative to the document's folder.

    So does ``model`` where it names a folder; see :func:`absolute_model`.

    A grader of the method may also be the name of a JSON file. Raises
    :class:`~openrft.errors.InvalidRequest` with file and field.
    """
    data = read_json(path, what="job file")
    if not isinstance(data, dict):
        raise InvalidRequest(f"job file {path} holds {type(data).__name__}, expected an object", param=str(path))
    folder = path.resolve().parent
    for key in ("model", "training_file", "validation_file", "test_file"):
        if isinstance(data.get(key), str) and "\0" in data[key]:
            raise InvalidRequest(f"{key}: holds a NUL character; no file or model can have this name", param=key)
    for key in ("training_file", "validation_file", "test_file"):
        if isinstance(data.get(key), str) and data[key]:
            data[key] = str(folder / data[key])
    _read_method(data.get("method"), folder)
    if isinstance(data.get("model"), str):
        data["model"] = absolute_model(data["model"], folder)
    for integration in data["integrations"] if isinstance(data.get("integrations"), list) else ():
        tensorboard = integration.get("tensorboard") if isinstance(integration, dict) else None
        if isinstance(tensorboard, dict) and isinstance(tensorboard.get("folder"), str):
            tensorboard["folder"] = str(folder / tensorboard["folder"])
    job: Job = parse_spec(Job, data)
    if job.validation_file is None and isinstance(job.method, ReinforcementMethod):
        raise InvalidRequest(
            "validation_file: missing; a reinforcement job is watched on rows that it does not train on, and its best "
            "checkpoint is chosen by them",
            param="validation_file",
        )
    return job


def _read_method(method: Any, folder: Path) -> None:
    """Put graders that are named by their file in place, and refuse what is known but not there yet."""
    if not isinstance(method, dict):
        return
    if method.get("type") == "dpo":
        raise InvalidRequest(
            'method type "dpo" is not available yet; use "reinforcement" or "supervised"', param="method.type"
        )
    for kind in ("reinforcement", "supervised"):
        options = method.get(kind)
        if isinstance(options, dict):
            for name in ("grader", "monitor_grader"):
                if isinstance(options.get(name), str):
                    options[name] = read_json(folder / options[name], what="grader file")
    reinforcement = method.get("reinforcement")
    for later in ("tools", "max_episode_steps"):
        if isinstance(reinforcement, dict) and reinforcement.pop(later, None) is not None:
            raise InvalidRequest(
                f"method.reinforcement.{later} is not available yet; remove it to run the job without",
                param=f"method.reinforcement.{later}",
            )
