"""A job's ``integrations``: which experiment trackers are told how it goes.

OpenAI's type is ``wandb``; the others are ours and have the same shape. What a machine knows and a job does not say
(servers, keys) is in ``openrft.toml`` below ``[tracking]``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from openrft.config.spec import Spec

# The signs that W&B takes in no project's name; Trackio makes a file's name of it.
ProjectName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\#?%:]+$")]
RunName = Annotated[str, Field(min_length=1, max_length=128)]
OWN_PROJECT = "openrft"


class Wandb(Spec):
    """Where in Weights & Biases a job goes."""

    project: ProjectName
    name: RunName | None = None
    """The run's name; without it, the job's."""
    entity: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Whose project it is; without it, that of the API key's owner."""
    tags: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=20)] | None = None
    """Beside openrft/finetune, the base model and the job."""


class TensorBoard(Spec):
    """Where TensorBoard's event files go."""

    folder: Annotated[str, Field(min_length=1)] | None = None
    """A folder of many runs, each below it under its own name; without it, ``tensorboard/`` in the run's folder."""


class Trackio(Spec):
    """Which project of Trackio's a job goes to."""

    project: ProjectName = OWN_PROJECT
    name: RunName | None = None


class Mlflow(Spec):
    """Which experiment of MLflow's a job goes to."""

    tracking_uri: Annotated[str, Field(min_length=1)] | None = None
    """Without it, that of openrft.toml, else of ``MLFLOW_TRACKING_URI``, else MLflow's own default."""
    experiment: Annotated[str, Field(min_length=1, max_length=256)] = OWN_PROJECT
    name: RunName | None = None


class WandbIntegration(Spec):
    """OpenAI's integration."""

    type: Literal["wandb"]
    wandb: Wandb


class TensorBoardIntegration(Spec):
    """Event files of TensorBoard's."""

    type: Literal["tensorboard"]
    tensorboard: TensorBoard = TensorBoard()


class TrackioIntegration(Spec):
    """Trackio: a database on this machine, or a Space."""

    type: Literal["trackio"]
    trackio: Trackio = Trackio()


class MlflowIntegration(Spec):
    """An MLflow server, or a database on this machine."""

    type: Literal["mlflow"]
    mlflow: Mlflow = Mlflow()


Integration = Annotated[
    WandbIntegration | TensorBoardIntegration | TrackioIntegration | MlflowIntegration, Field(discriminator="type")
]
Integrations = Annotated[tuple[Integration, ...], Field(max_length=5)]

DEFAULT_INTEGRATIONS: dict[str, Integration] = {
    "tensorboard": TensorBoardIntegration(type="tensorboard"),
    "wandb": WandbIntegration(type="wandb", wandb=Wandb(project=OWN_PROJECT)),
    "trackio": TrackioIntegration(type="trackio"),
    "mlflow": MlflowIntegration(type="mlflow"),
}
"""What a tracker's name alone stands for."""


class WandbSettings(Spec):
    """How this machine gets into Weights & Biases."""

    api_key_env: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] = "WANDB_API_KEY"
    """The environment variable that holds the key."""
    base_url: str | None = None
    """A server of one's own; without it, W&B's."""


class MlflowSettings(Spec):
    """Which MLflow jobs go to."""

    tracking_uri: Annotated[str, Field(min_length=1)] | None = None


class TrackioSettings(Spec):
    """Where Trackio keeps its databases."""

    folder: Annotated[str, Field(min_length=1)] | None = None
    """Without it, Trackio's own choice."""


class TrackingSettings(Spec):
    """``[tracking]`` of openrft.toml."""

    wait_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long a finished run waits for trackers that have not taken in everything."""
    wandb: WandbSettings = WandbSettings()
    mlflow: MlflowSettings = MlflowSettings()
    trackio: TrackioSettings = TrackioSettings()
