"""A real server through OpenAI's client: what a job would take, and a job with a budget that pauses itself."""

import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from platform_server import platform_server

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "rare_disease_genes"
SHORT = {"num_steps": 4, "batch_size": 4, "group_size": 8, "max_completion_tokens": 96, "eval_interval": 4}


def upload(client: openai.OpenAI, name: str) -> str:
    return client.files.create(file=EXAMPLE / name, purpose="fine-tune").id


def body(files: list[str], **hyperparameters: Any) -> dict[str, Any]:
    """A short job on the bundled tiny model, with a seed."""
    method = {
        "type": "reinforcement",
        "reinforcement": {
            "grader": json.loads((EXAMPLE / "grader.json").read_text()),
            "hyperparameters": {**SHORT, "eval_samples": 1, **hyperparameters},
        },
    }
    return {
        "model": "openrft-tiny", "training_file": files[0], "validation_file": files[1], "method": method, "seed": 3
    }  # fmt: skip


def create(client: openai.OpenAI, files: list[str], **hyperparameters: Any) -> str:
    asked: Any = body(files, **hyperparameters)
    return client.fine_tuning.jobs.create(**asked).id


def until(client: openai.OpenAI, job: str, *wanted: str) -> str:
    deadline = time.monotonic() + 300
    while (status := str(client.fine_tuning.jobs.retrieve(job).status)) not in wanted:
        assert time.monotonic() < deadline, status
        assert status not in ("failed", "cancelled"), client.fine_tuning.jobs.retrieve(job).error
        time.sleep(0.3)
    return status


def spent(client: openai.OpenAI, job: str) -> list[float]:
    text = client.get(f"/fine_tuning/jobs/{job}/metrics?format=csv", cast_to=str)
    return [float(row["spent/tokens"]) for row in csv.DictReader(io.StringIO(text))]


def rewards(client: openai.OpenAI, job: str) -> list[str]:
    text = client.get(f"/fine_tuning/jobs/{job}/metrics?format=csv", cast_to=str)
    return [row["reward/mean"] for row in csv.DictReader(io.StringIO(text))]


def test_a_job_pauses_itself_and_goes_on_as_if_it_never_had(tmp_path: Path) -> None:
    settings = tmp_path / "openrft.toml"
    settings.write_text("[evaluation]\nreuse_base = false\n")  # both jobs spend the same
    with platform_server(tmp_path / "home", environment={"OPENRFT_CONFIG": str(settings)}) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key=server.api_key)
        files = [upload(client, name) for name in ("train.jsonl", "valid.jsonl")]
        whole = create(client, files)
        until(client, whole, "succeeded")
        [base, first, *_] = spent(client, whole)
        job = create(client, files, budget_tokens=int(2 * first - base))  # enough for two steps, not for a third
        until(client, job, "paused")
        told = [
            event for event in client.fine_tuning.jobs.list_events(job, limit=100) if "budget_tokens" in event.message
        ]
        [event] = told
        assert re.match(r"The job was paused before step 3 of 4: [\d,]+ of [\d,]+ tokens are spent", event.message)
        assert "resume to spend as much again" in event.message
        assert len(spent(client, job)) == 3  # the base and two steps
        client.fine_tuning.jobs.resume(job)
        until(client, job, "succeeded")
        assert rewards(client, job) == rewards(client, whole)


def test_a_server_plans_and_rehearses_a_job_and_names_what_is_wrong_with_another(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text((EXAMPLE / "valid.jsonl").read_text() + "not json\\n")
    with platform_server(tmp_path / "home") as server:
        client = openai.OpenAI(base_url=server.base_url, api_key=server.api_key)
        files = [upload(client, name) for name in ("train.jsonl", "valid.jsonl")]
        made: Any = client.post("/fine_tuning/plans?seconds=2", body=body(files, budget_tokens=7000), cast_to=object)
        assert made["object"] == "fine_tuning.plan"
        assert made["rollouts"] == 4 * 4 * 8
        assert made["seconds"]["low"] <= made["seconds"]["expected"] <= made["seconds"]["high"]
        assert made["hyperparameters"]["batch_size"] == 4
        assert made["reasons"]["learning_rate"]
        assert made["budget"][0]["name"] == "budget_tokens"
        assert str(tmp_path) not in str(made)
        path = "/fine_tuning/rehearsals?rows=2&samples=2"
        rehearsed: Any = client.post(path, body=body(files), cast_to=object)
        assert rehearsed["object"] == "fine_tuning.rehearsal"
        assert (rehearsed["num_rows"], rehearsed["num_samples"], rehearsed["training_file"]) == (2, 2, files[0])
        assert isinstance(rehearsed["can_learn"], bool) and rehearsed["sentence"]
        assert isinstance(rehearsed["notes"], list) and isinstance(made["notes"], list)
        assert "/tmp" not in str(rehearsed)
        for refused in ("rows=21", "samples=1"):
            with pytest.raises(openai.BadRequestError):
                client.post(f"/fine_tuning/rehearsals?{refused}", body=body(files), cast_to=object)
        assert list(client.fine_tuning.jobs.list()) == []  # nothing is kept
        wrong = client.files.create(file=bad, purpose="fine-tune").id
        with pytest.raises(openai.BadRequestError, match=f"{wrong}, line 49") as caught:
            client.post("/fine_tuning/plans", body=body([files[0], wrong]), cast_to=object)
        assert "/tmp" not in str(caught.value)
