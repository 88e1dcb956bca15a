"""A job's integrations and what openrft.toml says about them; the page on them says the same."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from openrft.config.integrations import (
    Integrations,
    MlflowSettings,
    TrackingSettings,
    TrackioSettings,
    WandbSettings,
)
from openrft.config.settings import parse_settings
from openrft.config.spec import parse_spec
from openrft.errors import InvalidRequest


def page(repository: Path) -> str:
    return (repository / "docs" / "tracking.md").read_text(encoding="utf-8")


def test_the_integrations_of_the_page_are_taken(repository: Path) -> None:
    [block] = re.findall(r"^```json\n(.*?)^```", page(repository), re.MULTILINE | re.DOTALL)
    integrations = parse_spec(Integrations, json.loads(f"{{{block}}}")["integrations"])
    assert [one.type for one in integrations] == ["wandb", "tensorboard", "trackio", "mlflow"]


def test_the_settings_of_the_page_are_taken_and_all_are_on_it(repository: Path) -> None:
    [block] = re.findall(r"^```toml\n(.*?)^```", page(repository), re.MULTILINE | re.DOTALL)
    assert parse_settings(tomllib.loads(block)).tracking.mlflow.tracking_uri == "http://mlflow.example.com:5000"
    keys = {
        key
        for table in (TrackingSettings, WandbSettings, MlflowSettings, TrackioSettings)
        for key in table.model_fields
    }
    assert [key for key in keys - {"wandb", "mlflow", "trackio"} if f"| `{key}` |" not in page(repository)] == []


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"api_key": "0123456789abcdef"}, "tracking.wandb.api_key"),
        ({"api_key_env": "0123456789abcdef"}, "tracking.wandb.api_key_env"),
        ({"base_url": "https://me:0123456789abcdef@wandb.example"}, "tracking.wandb.base_url"),
    ],
)
def test_a_key_in_the_file_is_refused_unseen(table: dict[str, str], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_settings({"tracking": {"wandb": table}})
    assert caught.value.param == place
    assert "0123456789abcdef" not in caught.value.message
