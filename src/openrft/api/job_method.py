"""The ``method`` of a job's request: what is run, and how answers echo it.

    {"type": "reinforcement", "reinforcement": {"grader": …, "hyperparameters": …, "response_format": …}}
    {"type": "supervised", "supervised": {"hyperparameters": …}}
    nothing: a supervised job, as on OpenAI's platform

A supervised job's hyperparameters may also stand at the top of the request, OpenAI's older place for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openrft.api.bodies import parse_body
from openrft.api.platform import Platform
from openrft.config.graders import parse_grader
from openrft.config.job import TrainingMethod
from openrft.config.reinforcement import Reinforcement, ReinforcementHyperparameters, ReinforcementMethod
from openrft.config.spec import Spec
from openrft.config.supervised import Supervised, SupervisedHyperparameters, SupervisedMethod
from openrft.errors import InvalidRequest
from openrft.graders import check_grader

METHODS = ("supervised", "dpo", "reinforcement")
"""OpenAI's words for ``method.type``; each has an object of the same name beside it."""

# OpenAI's own hyperparameters, which its answers always hold.
_OF_ALL = ("batch_size", "learning_rate_multiplier", "n_epochs")
_OF_REINFORCEMENT = (*_OF_ALL, "eval_interval", "eval_samples", "compute_multiplier", "reasoning_effort")


class Method(Spec):
    """How to fine-tune: a type, with that type's own object."""

    type: str
    """``reinforcement`` or ``supervised``; ``dpo`` is not available yet."""
    reinforcement: dict[str, Any] | None = None
    """``grader``, ``hyperparameters`` and ``response_format``; ours: ``monitor_grader``."""
    supervised: dict[str, Any] | None = None
    """``hyperparameters``; ours: ``grader``, by which answers to held-out rows are scored."""
    dpo: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedMethod:
    """What a request says about training."""

    method: TrainingMethod
    echo: dict[str, Any]
    """``method`` as answers show it: what was sent, and OpenAI's hyperparameters whole."""
    test_file: str | None
    test_file_param: str


def read_method(platform: Platform, asked: Method | None, hyperparameters: Mapping[str, Any] | None) -> AskedMethod:
    """The method of a request, whose ``hyperparameters`` at the top are its older place for a supervised job's.

    Raises :class:`InvalidRequest` that names the field and what to do.
    """
    kind = "supervised" if asked is None else asked.type
    if kind not in METHODS:
        raise InvalidRequest(
            f"Invalid value for 'method.type': '{kind[:80]}'. Supported values are: 'reinforcement' and 'supervised'.",
            param="method.type",
        )
    if kind == "dpo":
        raise InvalidRequest(
            "Invalid value for 'method.type': 'dpo' fine-tuning is not available yet. Send "
            '{"type": "reinforcement", "reinforcement": {"grader": …}} or {"type": "supervised"}',
            param="method.type",
        )
    for other in METHODS:
        if asked is not None and other != kind and getattr(asked, other) is not None:
            message = f"Unknown parameter: 'method.{other}'. The method's type is '{kind}'; leave it out"
            raise InvalidRequest(message, param=f"method.{other}", code="unknown_parameter")
    if kind == "supervised":
        return _supervised(platform, without_nulls((asked and asked.supervised) or {}), hyperparameters)
    assert asked is not None
    if hyperparameters:
        raise InvalidRequest(
            "'hyperparameters' at the top are those of supervised jobs; write them into "
            "'method.reinforcement.hyperparameters'",
            param="hyperparameters",
        )
    if asked.reinforcement is None:
        raise missing("method.reinforcement")
    return _reinforcement(platform, without_nulls(asked.reinforcement))


def without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` without what is null: OpenAI's client sends a null where nothing was given."""
    return {key: value for key, value in data.items() if value is not None}


def missing(param: str) -> InvalidRequest:
    """The error for a parameter that is needed."""
    message = f"Missing required parameter: '{param}'."
    return InvalidRequest(message, param=param, code="missing_required_parameter")


def _reinforcement(platform: Platform, given: dict[str, Any]) -> AskedMethod:
    where = "method.reinforcement"
    for agent in ("tools", "max_episode_steps"):
        if given.pop(agent, None):
            raise InvalidRequest(
                f"'{where}.{agent}' is not available yet: a rollout is one answer, and calls no tools. Leave it out "
                "to train without",
                param=f"{where}.{agent}",
            )
    place = f"{where}.hyperparameters"
    test_file, options = _split_hyperparameters(given.get("hyperparameters", {}), place)
    if "grader" not in given:
        raise missing(f"{where}.grader")
    graders = _graders(platform, given, where)
    hyperparameters: ReinforcementHyperparameters = parse_body(ReinforcementHyperparameters, options, where=place)
    asked: Reinforcement = parse_body(
        Reinforcement, {**given, **graders, "hyperparameters": hyperparameters}, where=where
    )
    echo = {
        "hyperparameters": _shown(hyperparameters, (*_OF_REINFORCEMENT, *options), test_file),
        **{key: given[key] for key in graders},
        "response_format": given.get("response_format"),
    }
    return AskedMethod(
        method=ReinforcementMethod(reinforcement=asked),
        echo={"type": "reinforcement", "reinforcement": echo},
        test_file=test_file,
        test_file_param=f"{place}.test_file",
    )


def _supervised(platform: Platform, given: dict[str, Any], at_the_top: Mapping[str, Any] | None) -> AskedMethod:
    where = "method.supervised"
    place = f"{where}.hyperparameters"
    if at_the_top:
        if given.get("hyperparameters"):
            raise InvalidRequest(
                f"'hyperparameters' are given at the top and in '{place}'; leave out those at the top",
                param="hyperparameters",
            )
        given["hyperparameters"], place = at_the_top, "hyperparameters"
    test_file, options = _split_hyperparameters(given.get("hyperparameters", {}), place)
    graders = _graders(platform, given, where)
    hyperparameters: SupervisedHyperparameters = parse_body(SupervisedHyperparameters, options, where=place)
    asked: Supervised = parse_body(Supervised, {**given, **graders, "hyperparameters": hyperparameters}, where=where)
    echo = {
        "hyperparameters": _shown(hyperparameters, (*_OF_ALL, *options), test_file),
        **{key: given[key] for key in graders},
    }
    return AskedMethod(
        method=SupervisedMethod(supervised=asked),
        echo={"type": "supervised", "supervised": echo},
        test_file=test_file,
        test_file_param=f"{place}.test_file",
    )


def _graders(platform: Platform, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Those of the method's graders that were given, checked as far as they can be without rows."""
    graders = {}
    for key in ("grader", "monitor_grader"):
        if key in given:
            graders[key] = parse_grader(given[key], where=f"{where}.{key}")
            check_grader(graders[key], where=f"{where}.{key}", settings=platform.settings)
    return graders


def _split_hyperparameters(given: Any, place: str) -> tuple[str | None, dict[str, Any]]:
    """The test file's id, and the other hyperparameters that were given."""
    if not isinstance(given, dict):
        return None, given  # parse_body says what is wrong with it
    options = without_nulls(given)
    test_file = options.pop("test_file", None)
    if test_file is not None and (not isinstance(test_file, str) or not 1 <= len(test_file) <= 500):
        param = f"{place}.test_file"
        message = f"Invalid type for '{param}': expected a string, the id of a file"
        raise InvalidRequest(message, param=param, code="invalid_type")
    return test_file, options


def _shown(hyperparameters: Spec, names: tuple[str, ...], test_file: str | None) -> dict[str, Any]:
    values = hyperparameters.model_dump(mode="json")
    shown = {name: values[name] for name in names}
    return shown if test_file is None else {**shown, "test_file": test_file}
