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
from openrft.api.platform import Platform
from openrft.config.graders import parse_grader
from openrft.config.job import Job
from openrft.config.reinforcement import Reinforcement, ReinforcementHyperparameters, ReinforcementMethod
from openrft.config.spec import Spec
from openrft.errors import InvalidRequest, NotFound
from openrft.graders import check_grader
from openrft.serving.places import place_of
from openrft.store.rows import NewJob

_METHOD = "method.reinforcement"
_LARGEST_SEED = 2**31 - 1
_PURPOSE = "fine-tune"
_ECHOED = (  # OpenAI's own, which its answers always hold
    "batch_size",
    "learning_rate_multiplier",
    "n_epochs",
    "eval_interval",
    "eval_samples",
    "compute_multiplier",
    "reasoning_effort",
)

Name = Annotated[str, Field(min_length=1, max_length=500)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class Method(Spec):
    """How to fine-tune: ``reinforcement`` with its own object."""

    type: str
    """``reinforcement``; ``supervised`` and ``dpo`` are not available yet."""
    reinforcement: dict[str, Any] | None = None
    """``grader``, ``hyperparameters`` and ``response_format``."""
    supervised: dict[str, Any] | None = None
    dpo: dict[str, Any] | None = None


class JobRequest(Spec):
    """The body of ``POST /v1/fine_tuning/jobs``, without its nulls."""

    model: Name
    """A bundled model, an alias of openrft.toml, a hub name, or a fine-tuned model (``ft:…``) to go on with."""
    training_file: Name
    """The id of a file with the purpose ``fine-tune``."""
    validation_file: Name | None = None
    """Likewise. Reinforcement fine-tuning needs one."""
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """A part of the fine-tuned model's name."""
    seed: Annotated[int, Field(strict=True, ge=0, le=_LARGEST_SEED)] | None = None
    """Drawn by lot when it is not given, and always echoed."""
    method: Method | None = None
    integrations: list[Any] | None = None
    """None are available yet."""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    hyperparameters: dict[str, Any] | None = None
    """OpenAI's old place for those of supervised jobs; leave it out."""
    trainingType: Any = None
    """Azure's; ignored."""


def read_job_request(platform: Platform, project_id: str, body: Mapping[str, Any]) -> NewJob:
    """The job that ``body`` asks for. Raises :class:`InvalidRequest` that names the field and what to do."""
    given = _without_nulls(body)
    if "test_file" in given:
        raise InvalidRequest(
            "Unknown parameter: 'test_file'. openrft takes the id of a test file in "
            f"'{_METHOD}.hyperparameters.test_file'",
            param="test_file",
            code="unknown_parameter",
        )
    if isinstance(given.get("method"), dict):
        given["method"] = _without_nulls(given["method"])
    asked: JobRequest = parse_body(JobRequest, given)
    reinforcement = _reinforcement_of(asked)
    _refuse_integrations(asked.integrations)
    test_file, options = _split_hyperparameters(reinforcement)
    method = _read_method(platform, reinforcement, options)
    base_model = _base_model(platform, project_id, asked.model)
    if asked.validation_file is None:
        raise InvalidRequest(
            "Missing required parameter: 'validation_file'. A reinforcement job is watched on rows that it does not "
            "train on, and its best checkpoint is chosen by them; upload a second file and name it here",
            param="validation_file",
            code="missing_required_parameter",
        )
    for param, file_id in (
        ("training_file", asked.training_file),
        ("validation_file", asked.validation_file),
        (f"{_METHOD}.hyperparameters.test_file", test_file),
    ):
        if file_id is not None:
            _check_file(platform, project_id, file_id, param)
    seed = secrets.randbelow(_LARGEST_SEED + 1) if asked.seed is None else asked.seed
    document = Job(
        model=base_model,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        test_file=test_file,
        suffix=asked.suffix,
        seed=seed,
        method=method,
        metadata=asked.metadata,
    )
    return NewJob(
        model=asked.model,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        suffix=asked.suffix,
        seed=seed,
        metadata=asked.metadata,
        spec={
            "request": {"method": _echo(reinforcement, method, options, test_file), "integrations": []},
            "base_model": base_model,
            "document": document.model_dump(mode="json"),
        },
    )


def _without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def _reinforcement_of(asked: JobRequest) -> dict[str, Any]:
    """``method.reinforcement`` without its nulls, once it is clear that the job is one."""
    kind = "supervised" if asked.method is None else asked.method.type
    if kind in ("supervised", "dpo"):
        absent = "; a job without 'method' is a supervised one" if asked.method is None else ""
        raise InvalidRequest(
            f"Invalid value for 'method.type': '{kind}' fine-tuning is not available yet{absent}. Send "
            '{"type": "reinforcement", "reinforcement": {"grader": …}}',
            param="method" if asked.method is None else "method.type",
        )
    if kind != "reinforcement" or asked.method is None:
        raise InvalidRequest(
            f"Invalid value for 'method.type': '{kind[:80]}'. Supported values are: 'reinforcement'.",
            param="method.type",
        )
    for other in ("supervised", "dpo"):
        if getattr(asked.method, other) is not None:
            message = f"Unknown parameter: 'method.{other}'. The method's type is 'reinforcement'; leave it out"
            raise InvalidRequest(message, param=f"method.{other}", code="unknown_parameter")
    if asked.hyperparameters:
        raise InvalidRequest(
            f"'hyperparameters' at the top are those of supervised jobs; write them into '{_METHOD}.hyperparameters'",
            param="hyperparameters",
        )
    if asked.method.reinforcement is None:
        raise _missing(_METHOD)
    return _without_nulls(asked.method.reinforcement)


def _refuse_integrations(integrations: list[Any] | None) -> None:
    if integrations:
        raise InvalidRequest(
            "'integrations' are not available here: nothing would be sent to Weights & Biases. Leave the field out; "
            "GET /v1/fine_tuning/jobs/{id}/metrics has every series, also as CSV",
            param="integrations",
        )


def _split_hyperparameters(reinforcement: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The test file's id, and the other hyperparameters that were given."""
    given = reinforcement.get("hyperparameters", {})
    if not isinstance(given, dict):
        return None, given  # parse_body says what is wrong with it
    options = _without_nulls(given)
    test_file = options.pop("test_file", None)
    if test_file is not None and (not isinstance(test_file, str) or not 1 <= len(test_file) <= 500):
        param = f"{_METHOD}.hyperparameters.test_file"
        message = f"Invalid type for '{param}': expected a string, the id of a file"
        raise InvalidRequest(message, param=param, code="invalid_type")
    return test_file, options


def _read_method(platform: Platform, reinforcement: Mapping[str, Any], options: Any) -> ReinforcementMethod:
    for agent in ("tools", "max_episode_steps"):
        if reinforcement.get(agent):
            raise InvalidRequest(
                f"'{_METHOD}.{agent}' is not available yet: a rollout is one answer, and calls no tools. Leave it out "
                "to train without",
                param=f"{_METHOD}.{agent}",
            )
    if "grader" not in reinforcement:
        raise _missing(f"{_METHOD}.grader")
    grader = parse_grader(reinforcement["grader"], where=f"{_METHOD}.grader")
    check_grader(grader, where=f"{_METHOD}.grader", settings=platform.settings)
    rest = {key: value for key, value in reinforcement.items() if key not in ("tools", "max_episode_steps")}
    hyperparameters: ReinforcementHyperparameters = parse_body(
        ReinforcementHyperparameters, options, where=f"{_METHOD}.hyperparameters"
    )
    parsed: Reinforcement = parse_body(
        Reinforcement, {**rest, "grader": grader, "hyperparameters": hyperparameters}, where=_METHOD
    )
    return ReinforcementMethod(reinforcement=parsed)


def _missing(param: str) -> InvalidRequest:
    message = f"Missing required parameter: '{param}'."
    return InvalidRequest(message, param=param, code="missing_required_parameter")


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


def _echo(
    reinforcement: Mapping[str, Any], method: ReinforcementMethod, options: Mapping[str, Any], test_file: str | None
) -> dict[str, Any]:
    """``method`` as answers show it: what was sent, and OpenAI's hyperparameters whole."""
    asked = method.reinforcement.hyperparameters.model_dump(mode="json")
    shown = {name: asked[name] for name in (*_ECHOED, *options)}
    if test_file is not None:
        shown["test_file"] = test_file
    return {
        "type": "reinforcement",
        "reinforcement": {
            "hyperparameters": shown,
            "grader": reinforcement["grader"],
            "response_format": reinforcement.get("response_format"),
        },
    }
