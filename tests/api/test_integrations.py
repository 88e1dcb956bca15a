"""A job's integrations on the API: taken and echoed as OpenAI does, refused at once where they could not work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from openrft.config.integrations import MlflowSettings, TrackingSettings
from openrft.config.settings import Settings
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import body

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def settings() -> Settings:
    return Settings(tracking=TrackingSettings(mlflow=MlflowSettings(tracking_uri="http://mlflow.example")))


@pytest.fixture
def wandb_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield KEY


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def refused(client: openai.OpenAI, *integrations: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(**body(client, integrations=list(integrations)))
    assert isinstance(caught.value.body, dict)
    return caught.value.body


def test_wandb_is_echoed_with_the_id_of_its_run_and_the_key_is_nowhere(
    client: openai.OpenAI, store: Store, project: Project, wandb_key: str
) -> None:
    pytest.importorskip("wandb")
    asked = {"type": "wandb", "wandb": {"project": "genes", "name": None, "entity": "us", "tags": ["first"]}}
    job = client.fine_tuning.jobs.create(**body(client, integrations=[asked]))
    again = client.fine_tuning.jobs.retrieve(job.id)
    assert job.integrations is not None and job.integrations[0].wandb.project == "genes"
    assert again.to_dict()["integrations"] == [
        {"type": "wandb", "wandb": {"project": "genes", "entity": "us", "tags": ["first"], "run_id": job.id}}
    ]
    row = store.jobs.get(project.id, job.id)
    assert row.spec["document"]["integrations"] == [asked]
    assert wandb_key not in repr(row) + repr(again)


def test_without_a_key_for_wandb_no_job_is_made(client: openai.OpenAI, no_key: None) -> None:
    pytest.importorskip("wandb")
    error = refused(client, {"type": "wandb", "wandb": {"project": "genes"}})
    assert error["param"] == "integrations[0]"
    assert "WANDB_API_KEY" in error["message"] and "[tracking.wandb] in openrft.toml" in error["message"]
    assert list(client.fine_tuning.jobs.list()) == []


def test_a_client_chooses_no_place_on_the_server(client: openai.OpenAI) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    elsewhere = {"type": "tensorboard", "tensorboard": {"folder": "/etc"}}
    assert refused(client, elsewhere)["param"] == "integrations[0].tensorboard.folder"
    other = {"type": "mlflow", "mlflow": {"tracking_uri": "http://169.254.169.254/"}}
    assert refused(client, {"type": "tensorboard"}, other)["param"] == "integrations[1].mlflow.tracking_uri"
    taken = [{"type": "tensorboard"}, {"type": "mlflow", "mlflow": {"experiment": "genes"}}]
    job = client.fine_tuning.jobs.create(**body(client, integrations=taken))
    assert [one["type"] for one in job.to_dict()["integrations"]] == ["tensorboard", "mlflow"]


@pytest.mark.parametrize(
    ("integrations", "param"),
    [
        ([{"type": "comet"}], "integrations[0]"),
        ([{"type": "wandb"}], "integrations[0].wandb"),
        ([{"type": "wandb", "wandb": {"project": "../other"}}], "integrations[0].wandb.project"),
        ([{"type": "wandb", "wandb": {"project": "p", "api_key": "k"}}], "integrations[0].wandb.api_key"),
        ([{"type": "tensorboard"}] * 6, "integrations"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(client: openai.OpenAI, integrations: list[Any], param: str) -> None:
    assert refused(client, *integrations)["param"] == param


def test_a_job_without_integrations_has_an_empty_list(client: openai.OpenAI) -> None:
    for nothing in (None, []):
        assert client.fine_tuning.jobs.create(**body(client, integrations=nothing)).integrations == []
