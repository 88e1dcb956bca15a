"""``openrft.toml``: which server answers for which model name of a grader, and what its tokens cost.

Keys are never in the file: it names the environment variable that holds one.

    [grader_models."gpt-4.1-2025-04-14"]
    base_url = "https://api.openai.com/v1"
    api_key_env = "OPENAI_API_KEY"

``openrft serve`` reads three more: ``[aliases]``, ``[served_models."name"]`` and ``[server]``. Every run reads
``[evaluation]`` and ``[tracking]``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from openrft.config.integrations import TrackingSettings
from openrft.config.messages import Number
from openrft.config.spec import Spec, parse_spec
from openrft.config.web import wrong_web_address
from openrft.errors import InvalidRequest

SETTINGS_VARIABLE = "OPENRFT_CONFIG"
"""The environment variable that names the settings file."""

SETTINGS_FILE = "openrft.toml"
"""The file in the working folder that is read when the variable is not set."""

Price = Annotated[Number, Field(ge=0)]

# Upper case only: a key that was pasted in place of a name has small letters in it and is refused unseen.
_VARIABLE_NAME = r"[A-Z_][A-Z0-9_]*"


class ServedModel(Spec):
    """Where a model is served, and how it may be called."""

    base_url: str
    """The address before ``/chat/completions``, as in ``http://127.0.0.1:8000/v1``."""
    api_key_env: Annotated[str, Field(pattern=rf"^{_VARIABLE_NAME}$")] | None = None
    """The environment variable that holds the key; without it no key is sent."""
    model: Annotated[str, Field(min_length=1)] | None = None
    """The model's name on that server; without it, the name of this table."""
    input_price: Price | None = None
    """Price of a million prompt tokens."""
    max_concurrency: Annotated[int, Field(strict=True, ge=1, le=1024)] = 16
    """Most calls at once."""
    timeout_seconds: Annotated[Number, Field(gt=0)] = 120.0
    """How long one call may take, from its first byte to the last one of the answer."""
    max_attempts: Annotated[int, Field(strict=True, ge=1, le=100)] = 5
    """Calls for one grade, retries included."""

    @field_validator("base_url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        return url.rstrip("/")


class GraderModel(ServedModel):
    """A server of chat completions that answers for a model name of ``score_model`` and ``label_model``."""

    cached_input_price: Price | None = None
    """Price of a million prompt tokens that the server had seen before; without it, ``input_price``."""
    output_price: Price | None = None
    """Price of a million tokens of answers."""
    structured_output: Literal["auto", "json_schema", "json_object", "prompt"] = "auto"
    """How the model is held to its answer's form. ``auto`` tries the others in this order and keeps the first that
    the server takes.
    """


class EmbeddingModel(ServedModel):
    """A server of embeddings, for the metric ``cosine``."""


class ServerSettings(Spec):
    """How ``openrft serve`` behaves on this machine."""

    organization: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "openrft"
    """The middle of a fine-tuned model's name: ``ft:base:organization:suffix:id``."""
    max_file_bytes: Annotated[int, Field(strict=True, ge=1)] = 512 * 1024 * 1024
    """Largest file that is taken; OpenAI's limit by default."""
    serving_memory_gb: Annotated[Number, Field(gt=0)] | None = None
    """Most memory for models that answer requests; without it, a quarter of the machine's."""
    serving_threads: Annotated[int, Field(strict=True, ge=1)] = 1
    """Threads that compute answers; the others are left to training."""
    allowed_hosts: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Names in the ``Host`` header that are answered beside loopback's and the one that is listened on."""
    reachable: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Private addresses (``host:port``, or a network such as ``10.0.0.0/8``) that graders and webhooks may call."""
    requests_per_second: Annotated[Number, Field(gt=0)] = 200.0
    """Most requests of one key, on average; five seconds' worth may come at once."""


class EvaluationSettings(Spec):
    """What runs keep for one another."""

    reuse_base: bool = True
    """Whether the untouched base's evaluation is taken from an earlier run where that is sure to be the same."""
    kept_megabytes: Annotated[int, Field(strict=True, ge=1)] = 512
    """Most space for them; the least recently used make room."""


class Settings(Spec):
    """What one machine knows and a job does not say."""

    cosine_model: Annotated[str, Field(min_length=1)] = "text-embedding-3-large"
    """Which of ``embedding_models`` the metric ``cosine`` uses."""
    grader_models: dict[str, GraderModel] = Field(default_factory=dict)
    embedding_models: dict[str, EmbeddingModel] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=dict)
    """Model names of existing scripts, and the models that answer to them here: ``"o4-mini" = "openrft-tiny"``."""
    served_models: dict[str, ServedModel] = Field(default_factory=dict)
    """Models that a server elsewhere answers for (vLLM, or anything that speaks OpenAI's chat completions)."""
    server: ServerSettings = Field(default_factory=ServerSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)


def settings_path(environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> Path | None:
    """The file that :func:`read_settings` reads, or None when there is none to read."""
    if named := environment.get(SETTINGS_VARIABLE):
        return Path(named).absolute()
    path = (folder or Path.cwd()) / SETTINGS_FILE
    return path if path.exists() else None


def read_settings(environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> Settings:
    """The settings of the file that ``OPENRFT_CONFIG`` names, else of ``openrft.toml`` in ``folder``, else defaults.

    Raises :class:`InvalidRequest` that names file, table and key. No value that may be a key is in its message.
    """
    path = settings_path(environment, folder)
    if path is None:
        return Settings()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = f"settings file {path} does not exist; correct or unset {SETTINGS_VARIABLE}"
        raise InvalidRequest(message, param=SETTINGS_VARIABLE) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"settings file {path} is not TOML: {error}", param=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"settings file {path} cannot be read: {error}", param=str(path)) from None
    return parse_settings(data, where=str(path))


def parse_settings(data: dict[str, Any], *, where: str = SETTINGS_FILE) -> Settings:
    """Settings from the parsed document; ``where`` is its name in messages."""
    problems = [f"{where}: {place}: {message}" for place, message in _secrets(data)]
    if problems:
        raise InvalidRequest("\n".join(problems), param=problems[0].split(": ")[1])
    try:
        return parse_spec(Settings, data)
    except InvalidRequest as error:
        lines = [f"{where}: {line}" for line in error.message.splitlines()]
        raise InvalidRequest("\n".join(lines), param=error.param) from None


def _secrets(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Mistakes whose value may be a key or a password, and is therefore not quoted: (place, sentence)."""
    found = []
    for kind in ("grader_models", "embedding_models", "served_models"):
        tables = data.get(kind)
        for name, table in tables.items() if isinstance(tables, dict) else ():
            place = f'{kind}."{name}"'
            if not isinstance(table, dict):
                found.append((place, f"expected a table, but got {type(table).__name__}"))
                continue
            inner = next((key for key, value in table.items() if isinstance(value, dict)), None)
            if inner is not None:
                fix = f'put quotes around names with dots, as in [{kind}."{name}.{inner}"]'
                found.append((place, f"holds a table {inner!r}; {fix}"))
            found += _secrets_in(place, table)
            if any(mark in str(table.get("base_url")) for mark in "?#"):
                found.append((f"{place}.base_url", "paths are added at its end, so it cannot have a ? or # in it"))
    tracking = data.get("tracking")
    wandb = tracking.get("wandb") if isinstance(tracking, dict) else None
    return found + (_secrets_in("tracking.wandb", wandb) if isinstance(wandb, dict) else [])


def _secrets_in(place: str, table: dict[str, Any]) -> list[tuple[str, str]]:
    """The same of one table, that names a server and the variable with its key."""
    found = []
    if "api_key" in table:
        fix = 'write api_key_env = "NAME" and put the key into that environment variable'
        found.append((f"{place}.api_key", f"keys are not kept in this file; {fix}"))
    variable = table.get("api_key_env")
    if variable is not None and not _is_variable_name(variable):
        expected = "expected the name of an environment variable in capitals, as in OPENAI_API_KEY"
        found.append((f"{place}.api_key_env", f"{expected}; what is there is not shown, it may be a key"))
    if "base_url" in table and (wrong := wrong_web_address(table["base_url"])):
        found.append((f"{place}.base_url", wrong))
    return found


def _is_variable_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(_VARIABLE_NAME, value) is not None
