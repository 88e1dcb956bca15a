"""``POST /v1/fine_tuning/jobs``: from the body that clients send to the job that is kept.

What can be known at once is refused here, with the field's path; what needs the files' rows is found by the worker and
ends up in the job's ``error``, as on OpenAI's platform. A null is the same as nothing. The kept job holds what is
echoed (``spec["request"]``) and what is run (``spec["document"]``), with file ids for files.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from openrft.api.bodies import parse_body
from openrft.api.job_method import Method, read_method, without_nulls
from openrft.api.platform import Platform
from openrft.config.integrations import Integrations
from openrft.config.job import Job, TrainingMethod
from openrft.config.reinforcement import ReinforcementMethod
from openrft.config.spec import Spec
from openrft.errors import InvalidRequest, NotFound
from openrft.serving.places import place_of
from openrft.store.rows import NewJob
from openrft.tracking.catalog import check_integrations

_LARGEST_SEED = 2**31 - 1
_PURPOSE = "fine-tune"

Name = Annotated[str, Field(min_length=1, max_length=500)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class JobRequest(Spec):
    """The body of ``POST /v1/fine_tuning/jobs``, without its nulls."""

    model: Name
    """A bundled model, an alias of openrft.toml, a hub name, or a fine-tuned model (``ft:…``) to go on with."""
    training_file: Name
    """The id of a file with the purpose ``fine-tune``."""
    validation_file: Name | None = None
    """Likewise. Reinforcement fine-tuning needs one; a supervised job may do without."""
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """A part of the fine-tuned model's name."""
    seed: Annotated[int, Field(strict=True, ge=0, le=_LARGEST_SEED)] | None = None
    """Drawn by lot when it is not given, and always echoed."""
    method: Method | None = None
    """Without one, the job is a supervised one."""
    integrations: Integrations | None = None
    """Experiment trackers: OpenAI's ``wandb``, and ``tensorboard``, ``trackio``, ``mlflow``."""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    hyperparameters: dict[str, Any] | None = None
    """OpenAI's older place for those of supervised jobs."""
    trainingType: Any = None
    """Azure's; ignored."""


def read_job_request(platform: Platform, project_id: str, body: Mapping[str, Any]) -> NewJob:
    """The job that ``body`` asks for. Raises :class:`InvalidRequest` that names the field and what to do."""
    given = without_nulls(body)
    if "test_file" in given:
        raise InvalidRequest(
            "Unknown parameter: 'test_file'. openrft takes the id of a test file in the method's hyperparameters, for "
            "instance 'method.reinforcement.hyperparameters.test_file'",
            param="test_file",
            code="unknown_parameter",
        )
    if isinstance(given.get("method"), dict):
        given["method"] = without_nulls(given["method"])
    asked: JobRequest = parse_body(JobRequest, given)
    training = read_method(platform, asked.method, without_nulls(asked.hyperparameters or {}))
    check_integrations(asked.integrations, platform.settings.tracking, is_from_client=True)
    base_model = _base_model(platform, project_id, asked.model)
    if asked.validation_file is None:
        _check_unwatched(training.method)
    for param, file_id in (
        ("training_file", asked.training_file),
        ("validation_file", asked.validation_file),
        (training.test_file_param, training.test_file),
    ):
        if file_id is not None:
            _check_file(platform, project_id, file_id, param)
    seed = secrets.randbelow(_LARGEST_SEED + 1) if asked.seed is None else asked.seed
    document = Job(
        model=base_model,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        test_file=training.test_file,
        suffix=asked.suffix,
        seed=seed,
        method=training.method,
        metadata=asked.metadata,
        integrations=asked.integrations or None,
    )
    return NewJob(
        model=asked.model,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        suffix=asked.suffix,
        seed=seed,
        metadata=asked.metadata,
        spec={
            "request": {
                "method": training.echo,
                "integrations": [one.model_dump(mode="json", exclude_none=True) for one in asked.integrations or ()],
            },
            "base_model": base_model,
            "document": document.model_dump(mode="json"),
        },
    )


def _check_unwatched(method: TrainingMethod) -> None:
    """Raise :class:`InvalidRequest` unless a job of ``method`` can do without a validation file."""
    if isinstance(method, ReinforcementMethod):
        why = (
            "A reinforcement job is watched on rows that it does not train on, and its best checkpoint is chosen by "
            "them; upload a second file and name it here"
        )
    elif method.supervised.grader is not None:
        why = (
            "'method.supervised.grader' grades answers to its prompts; upload a second file and name it here, or leave "
            "the grader out"
        )
    else:
        return
    message = f"Missing required parameter: 'validation_file'. {why}"
    raise InvalidRequest(message, param="validation_file", code="missing_required_parameter")


def _base_model(platform: Platform, project_id: str, model: str) -> str:
    """What ``model`` stands for: a base model, or the name of a fine-tuned one to go on with."""
    try:
        place = place_of(platform.store, platform.settings, project_id, model)
    except NotFound as error:  # not a 404: the job is what was asked for, and its model is wrong
        message = error.message
        if not model.startswith("ft:"):
            message += f"\nOr start it with: openrft serve --alias {model[:200]}=openrft-tiny"
        raise InvalidRequest(message, param="model", code=error.code) from None
    if place.server is not None:
        raise InvalidRequest(
            f"The model `{model[:200]}` is served elsewhere, and only models on this machine can be trained; give "
            "openrft-tiny, a hub name, or an alias of one",
            param="model",
        )
    if place.weights is None:
        return place.base
    target = model
    while not target.startswith("ft:"):  # an alias of a fine-tuned model
        target = platform.settings.aliases[target]
    return target


def _check_file(platform: Platform, project_id: str, file_id: str, param: str) -> None:
    try:
        file = platform.store.files.get(project_id, file_id)
    except NotFound:
        raise InvalidRequest(
            f"Invalid value for '{param}': there is no file '{file_id[:80]}' in this project; upload it with the "
            f"purpose '{_PURPOSE}' and give its id",
            param=param,
            code="invalid_file",
        ) from None
    if file.purpose != _PURPOSE:
        raise InvalidRequest(
            f"Invalid value for '{param}': the file '{file.id}' has the purpose '{file.purpose}'; upload it again with "
            f"the purpose '{_PURPOSE}'",
            param=param,
            code="invalid_file",
        )
    if file.status == "uploaded":
        message = f"File '{file.id}' is still being processed and is not ready; wait until its status is 'processed'"
        raise InvalidRequest(message, param=param, code="invalid_file")
