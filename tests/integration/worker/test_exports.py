"""A job of a real worker leaves through the API, and its parts load elsewhere."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import worker_jobs as kit
from openrft.api.app import create_app
from openrft.api.platform import Platform
from openrft.config.settings import Settings
from openrft.training.export import export_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def test_the_exports_of_a_job_load_in_transformers_in_peft_and_in_the_command_line(
    store, home, project, tmp_path
) -> None:
    job = kit.create_job(store, project.id, weights="lora", num_steps=2)
    with kit.working(store, home):
        assert kit.ended(store, job).status == "succeeded"
    key = store.projects.create_key(project.id, "test", scope="read")[1]
    app = create_app(Platform(store=store, settings=Settings(), home=home.path))
    with TestClient(app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {key}"}) as client:
        for kind in ("merged", "adapter", "run"):
            answer = client.get(f"/v1/fine_tuning/jobs/{job.id}/exports/{kind}")
            assert answer.status_code == 200, answer.text
            (tmp_path / f"{kind}.zip").write_bytes(answer.content)
            with zipfile.ZipFile(tmp_path / f"{kind}.zip") as archive:
                archive.extractall(tmp_path)
        summary = client.get("/v1/fine_tuning/summaries").json()["data"][0]
        used = client.get("/v1/usage").json()["total"]
        table = client.get(f"/v1/fine_tuning/jobs/{job.id}/checkpoints").json()["data"]
        examples = client.get(f"/v1/fine_tuning/jobs/{job.id}/examples").json()
    check_model(tmp_path / f"{job.id}-merged", tmp_path / f"{job.id}-adapter")
    run = tmp_path / f"{job.id}-run"
    path, step = export_checkpoint(run, tmp_path / "exported", step=2)
    assert (path / "model.safetensors").is_file() and step == 2
    assert summary["report"]["outcome"] in ("better", "no change", "worse")
    assert summary["report"]["low"] <= summary["report"]["gain"] <= summary["report"]["high"]
    assert summary["base"] is not None and summary["best"] is not None
    assert used["sampled_tokens"] > used["trained_tokens"] == summary["job"]["trained_tokens"] > 0
    assert used["training_minutes"] > 0
    assert [one["is_final"] for one in table] == [True, False]
    assert all(one["bytes"] > 1000 and one["valid"] and one["graders"].keys() == {"letters"} for one in table)
    assert sum(one["rollouts"] for one in examples["data"]) == 2 * 3 * 4


def check_model(merged: Path, adapter: Path) -> None:
    """The adapter on its base answers as the merged model does."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from openrft.models.catalog import bundled_models

    tokens = torch.tensor([[5, 6, 7, 8]])
    whole: Any = AutoModelForCausalLM.from_pretrained(merged)
    [tiny] = [one for one in bundled_models() if one.name == "openrft-tiny"]
    base: Any = AutoModelForCausalLM.from_pretrained(tiny.path)
    tuned: Any = PeftModel.from_pretrained(base, adapter)
    with torch.no_grad():
        assert torch.allclose(whole(tokens).logits, tuned(tokens).logits, atol=1e-3)
