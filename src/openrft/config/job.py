"""A fine-tuning job as people write it: OpenAI's create request, with openrft's own options beside OpenAI's.

``openrft run job.json`` reads exactly this document; file names in it are relative to it. Every hyperparameter may be
left out or be ``"auto"``; ``openrft.training.resolve`` turns each "auto" into a value and says why.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

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
    validation_file: Annotated[str, Field(min_length=1)]
    """Watched all along; picks the checkpoint."""
    test_file: str | None = None
    """Rows that nothing is chosen by; the report's figures come from them. Ours."""
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 0
    method: TrainingMethod
    metadata: dict[str, str] | None = None

    @property
    def reinforcement(self) -> Reinforcement:
        """The options of a reinforcement job. Raises :class:`InvalidRequest` for a job of another method."""
        if not isinstance(self.method, ReinforcementMethod):
            raise InvalidRequest(f"this is a job of method {self.method.type}, expected reinforcement", param="method")
        return self.method.reinforcement


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

    ``method.reinforcement.grader`` may also be the name of a JSON file. Raises
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
    method = data.get("method")
    if isinstance(method, dict) and method.get("type") in ("supervised", "dpo"):
        raise InvalidRequest(
            f'method type {method["type"]!r} is not available yet; use "reinforcement"', param="method.type"
        )
    reinforcement = method.get("reinforcement") if isinstance(method, dict) else None
    if isinstance(reinforcement, dict):
        if isinstance(reinforcement.get("grader"), str):
            reinforcement["grader"] = read_json(folder / reinforcement["grader"], what="grader file")
        for later in ("tools", "max_episode_steps"):
            if reinforcement.pop(later, None) is not None:
                raise InvalidRequest(
                    f"method.reinforcement.{later} is not available yet; remove it to run the job without",
                    param=f"method.reinforcement.{later}",
                )
    if isinstance(data.get("model"), str):
        data["model"] = absolute_model(data["model"], folder)
    job: Job = parse_spec(Job, data)
    return job
