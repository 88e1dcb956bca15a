"""The trackers there are, by the type that a job names, and what each needs of this machine."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from openrft.config.integrations import (
    Integration,
    MlflowIntegration,
    TensorBoardIntegration,
    TrackingSettings,
    TrackioIntegration,
    WandbIntegration,
)
from openrft.errors import InvalidRequest
from openrft.tracking.tracker import Tracker

TITLES = {"wandb": "Weights & Biases", "tensorboard": "TensorBoard", "trackio": "Trackio", "mlflow": "MLflow"}

_WANDB_KEY = "WANDB_API_KEY"
_WANDB_URL = "https://api.wandb.ai"
_MLFLOW_URI = "MLFLOW_TRACKING_URI"


def open_tracker(integration: Integration, settings: TrackingSettings, folder: Path) -> Tracker:
    """The tracker that ``integration`` names; ``folder`` is where it may keep what it needs.

    Its library is loaded only here: each is an optional extra.
    """
    if isinstance(integration, TensorBoardIntegration):
        from openrft.tracking.tensorboard import TensorBoardTracker

        return TensorBoardTracker(integration.tensorboard)
    if isinstance(integration, WandbIntegration):
        from openrft.tracking.wandb import WandbTracker

        return WandbTracker(integration.wandb, folder)
    if isinstance(integration, TrackioIntegration):
        from openrft.tracking.trackio import TrackioTracker

        return TrackioTracker(integration.trackio)
    from openrft.tracking.mlflow import MlflowTracker

    known = integration.mlflow.tracking_uri or settings.mlflow.tracking_uri
    return MlflowTracker(integration.mlflow.model_copy(update={"tracking_uri": known}))


def check_integrations(
    integrations: Sequence[Integration] | None,
    settings: TrackingSettings,
    *,
    environment: Mapping[str, str] = os.environ,
    is_from_client: bool = False,
) -> None:
    """Refuse at once what would fail later: a library that is not installed, a key that is not there.

    ``is_from_client``: asked for over the API, where a job may not say what is written where on the server's machine.
    Raises :class:`InvalidRequest` that says what to do.
    """
    for number, integration in enumerate(integrations or ()):
        place, kind = f"integrations[{number}]", integration.type
        if find_spec(kind) is None:
            raise InvalidRequest(
                f"{place}: {TITLES[kind]} is not installed here; pip install 'openrft[{kind}]'", param=f"{place}.type"
            )
        if isinstance(integration, WandbIntegration) and not _has_wandb_key(settings, environment):
            raise InvalidRequest(
                f"{place}: there is no key for Weights & Biases on this machine. Put it into the environment variable "
                f"{settings.wandb.api_key_env}, or name the variable that holds it as api_key_env below "
                "[tracking.wandb] in openrft.toml",
                param=place,
            )
        if is_from_client:
            _refuse_places(integration, settings, environment, place)


def _refuse_places(
    integration: Integration, settings: TrackingSettings, environment: Mapping[str, str], place: str
) -> None:
    if isinstance(integration, TensorBoardIntegration) and integration.tensorboard.folder is not None:
        raise InvalidRequest(
            f"{place}.tensorboard.folder: a job of this server cannot choose a folder; leave it out, and its event "
            "files are in tensorboard/ of the server's home",
            param=f"{place}.tensorboard.folder",
        )
    if isinstance(integration, MlflowIntegration):
        if integration.mlflow.tracking_uri is not None:
            raise InvalidRequest(
                f"{place}.mlflow.tracking_uri: a job of this server cannot choose the MLflow server; leave it out, "
                "and it is tracking_uri below [tracking.mlflow] in the server's openrft.toml",
                param=f"{place}.mlflow.tracking_uri",
            )
        if settings.mlflow.tracking_uri is None and not environment.get(_MLFLOW_URI):
            raise InvalidRequest(
                f"{place}: this server knows no MLflow; its operator names it as tracking_uri below [tracking.mlflow] "
                "in openrft.toml",
                param=place,
            )


def tracker_environment(settings: TrackingSettings, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a tracker's process: what openrft.toml says, in the words that the libraries read."""
    told = dict(environment)
    if key := environment.get(settings.wandb.api_key_env):
        told[_WANDB_KEY] = key
    if settings.wandb.base_url is not None:
        told["WANDB_BASE_URL"] = settings.wandb.base_url
    if settings.trackio.folder is not None:
        told["TRACKIO_DIR"] = settings.trackio.folder
    return told


def _has_wandb_key(settings: TrackingSettings, environment: Mapping[str, str]) -> bool:
    """Whether W&B can be written to: by a key, after ``wandb login``, or because it shall stay offline."""
    if environment.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    if environment.get(settings.wandb.api_key_env):
        return True
    url = settings.wandb.base_url or environment.get("WANDB_BASE_URL") or _WANDB_URL
    file = environment.get("NETRC") or os.path.join(environment.get("HOME", ""), ".netrc")
    try:
        return netrc.netrc(file).authenticators(urlsplit(url).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
