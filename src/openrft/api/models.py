"""``/v1/models``: every name that answers in this project; beside OpenAI's keys, where it is from (``source``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from openrft.api.access import Admin, Platforms, Reader
from openrft.api.platform import Platform
from openrft.config.settings import Settings
from openrft.errors import InvalidRequest
from openrft.serving.places import known_names, place_of
from openrft.store.rows import CheckpointRow

router = APIRouter(prefix="/models", tags=["models"])

_SINCE = 1_767_225_600  # 2026-01-01: base models have no better date of their own


@router.get("")
def list_models(caller: Reader, platform: Platforms) -> dict[str, Any]:
    """Base models, aliases and models of other servers, then what this project may use of what was trained."""
    trained = platform.store.checkpoints.list_usable(caller.project_id)
    data = [_base(name, platform.settings) for name in known_names(platform.settings)]
    return {"object": "list", "data": data + _trained(platform, caller.project_id, trained)}


@router.get("/{model:path}")
def retrieve_model(caller: Reader, platform: Platforms, model: str) -> dict[str, Any]:
    """One of them. Names have colons in them, and those of the Hugging Face hub a slash."""
    place_of(platform.store, platform.settings, caller.project_id, model)
    if model.startswith("ft:") and model not in platform.settings.aliases:
        row = platform.store.checkpoints.get_by_name(caller.project_id, model)
        return _trained(platform, caller.project_id, [row])[0]
    return _base(model, platform.settings)


@router.delete("/{model:path}")
def delete_model(caller: Admin, platform: Platforms, model: str) -> dict[str, Any]:
    """Forget a model that this project trained, and its files."""
    if model in known_names(platform.settings):
        raise InvalidRequest(
            f"the model {model!r} is part of the server; only trained ones can be deleted", param="model"
        )
    row, files_too = platform.store.checkpoints.delete(caller.project_id, model)
    if files_too:
        platform.store.artifacts.delete(row.artifact)
    return {"id": model, "object": "model", "deleted": True}


def _base(name: str, settings: Settings) -> dict[str, Any]:
    source: dict[str, Any] = {"type": "base"}
    if name in settings.served_models:
        source = {"type": "server"}
    elif name in settings.aliases:
        source = {"type": "alias", "model": settings.aliases[name]}
    return {
        "id": name,
        "object": "model",
        "created": _SINCE,
        "owned_by": "openrft",
        "shutdown_date": None,
        "source": source,
    }


def _trained(platform: Platform, project_id: str, rows: Sequence[CheckpointRow]) -> list[dict[str, Any]]:
    """Each with its job, unless that belongs to another project, which only grants the model."""
    own = {row.id for row in platform.store.checkpoints.of_jobs(project_id, sorted({row.job_id for row in rows}))}
    return [
        {
            "id": row.model_name,
            "object": "model",
            "created": row.created_at,
            "owned_by": platform.organization,
            "shutdown_date": None,
            "source": _job_of(row) if row.id in own else {"type": "granted"},
        }
        for row in rows
    ]


def _job_of(row: CheckpointRow) -> dict[str, Any]:
    return {
        "type": "job",
        "fine_tuning_job_id": row.job_id,
        "step_number": row.step,
        "is_final": not row.model_name.endswith(f":ckpt-step-{row.step}"),
        "valid_mean_reward": row.metrics.get("full_valid_mean_reward"),
        "valid_loss": row.metrics.get("full_valid_loss"),
    }
