"""What a tracker needs of this machine is asked for before a job begins."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from openrft.config.integrations import (
    DEFAULT_INTEGRATIONS,
    TrackingSettings,
    TrackioSettings,
    WandbSettings,
)
from openrft.errors import InvalidRequest
from openrft.tracking.catalog import check_integrations, tracker_environment

WANDB = [DEFAULT_INTEGRATIONS["wandb"]]


def check(environment: dict[str, str], settings: TrackingSettings | None = None) -> None:
    check_integrations(WANDB, settings or TrackingSettings(), environment=environment)


def test_a_library_that_is_not_installed_is_named_with_its_extra() -> None:
    if find_spec("trackio") is not None:
        pytest.skip("trackio is installed here")
    with pytest.raises(InvalidRequest) as caught:
        check_integrations([DEFAULT_INTEGRATIONS["trackio"]], TrackingSettings())
    assert caught.value.message == ("integrations[0]: Trackio is not installed here; pip install 'openrft[trackio]'")


def test_wandb_needs_a_key_a_login_or_no_network(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    nothing = {"HOME": str(tmp_path)}
    with pytest.raises(InvalidRequest, match="WANDB_API_KEY"):
        check(nothing)
    check({**nothing, "WANDB_API_KEY": "k"})
    check({**nothing, "WANDB_MODE": "offline"})
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password k\n")
    (tmp_path / ".netrc").chmod(0o600)
    check(nothing)


def test_the_key_may_be_in_another_variable() -> None:
    pytest.importorskip("wandb")
    settings = TrackingSettings(wandb=WandbSettings(api_key_env="TEAM_KEY", base_url="https://wandb.example"))
    with pytest.raises(InvalidRequest, match="TEAM_KEY"):
        check({"WANDB_API_KEY": "k", "HOME": "/nowhere"}, settings)
    check({"TEAM_KEY": "k"}, settings)
    told = tracker_environment(settings, {"TEAM_KEY": "k", "PATH": "/bin"})
    assert told == {
        "TEAM_KEY": "k",
        "PATH": "/bin",
        "WANDB_API_KEY": "k",
        "WANDB_BASE_URL": "https://wandb.example",
    }


def test_trackios_folder_is_told_in_its_own_word() -> None:
    settings = TrackingSettings(trackio=TrackioSettings(folder="/data/trackio"))
    assert tracker_environment(settings, {}) == {"TRACKIO_DIR": "/data/trackio"}
