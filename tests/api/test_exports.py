"""What leaves a job as one download, of files made by hand; a real job's are in tests/integration/worker."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx2
import pytest

from wire_jobs import body, record_step, rollout_row, run_by_hand


@pytest.fixture
def lease(client, store, project):
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


@pytest.fixture
def get(http, lease) -> Any:
    def ask(path: str, status: int = 200) -> httpx2.Response:
        answer = http.get(f"/v1/fine_tuning/jobs/{lease.job_id}/exports/{path}")
        assert answer.status_code == status, answer.text
        return answer

    return ask


@pytest.fixture
def ended(store, lease) -> str:
    """The job has a model of step 3, with an adapter."""
    folder = f"jobs/{lease.job_id}/model"
    for name in ("model.safetensors", "config.json", "adapter/adapter_model.safetensors"):
        store.artifacts.write(f"{folder}/{name}", [name.encode()])
    store.checkpoints.record(lease, 3, model_name="ft:a:b::c", artifact=folder, metrics={})
    store.queue.finish(lease, "succeeded", message="done", fine_tuned_model="ft:a:b::c")
    return str(lease.job_id)


def unzipped(answer: httpx2.Response) -> dict[str, bytes]:
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return {name: archive.read(name) for name in archive.namelist()}


def test_the_model_and_its_adapter_are_zips_of_a_folder_each(get, ended: str) -> None:
    answer = get("merged")
    assert answer.headers["content-disposition"] == f'attachment; filename="{ended}-merged.zip"'
    assert unzipped(answer) == {
        f"{ended}-merged/config.json": b"config.json",
        f"{ended}-merged/model.safetensors": b"model.safetensors",
    }
    adapter = {f"{ended}-adapter-step-3/adapter_model.safetensors": b"adapter/adapter_model.safetensors"}
    assert unzipped(get("adapter?step=3")) == adapter
    kinds = {info.compress_type for info in zipfile.ZipFile(io.BytesIO(get("adapter").content)).infolist()}
    assert kinds == {zipfile.ZIP_STORED}


def test_another_step_than_the_one_that_ships_is_refused_with_the_way_to_have_it(get, store, lease) -> None:
    store.checkpoints.record(lease, 2, model_name="ft:a:b::c:ckpt-step-2", artifact="jobs/x/checkpoints/2", metrics={})
    told = get("merged", status=400).json()["error"]
    assert told["param"] == "kind" and "is running and has no model yet" in told["message"]
    assert f"openrft export {lease.job_id}-run --to model --step 2" in told["message"]
    store.checkpoints.record(lease, 3, model_name="ft:a:b::c", artifact=f"jobs/{lease.job_id}/model", metrics={})
    store.queue.finish(lease, "succeeded", message="done", fine_tuned_model="ft:a:b::c")
    assert get("merged?step=2", status=400).json()["error"]["param"] == "step"
    assert "trained all weights" in get("adapter", status=400).json()["error"]["message"]


def test_rollouts_are_the_lines_that_were_recorded(get, store, lease) -> None:
    recorded = [[rollout_row(step, n, output="x" * 1000) for n in range(3)] for step in (1, 2, 3)]
    for step, rows in enumerate(recorded, start=1):
        record_step(store, lease, step, rows)
    answer = get("rollouts")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == [row for rows in recorded for row in rows]
    assert [json.loads(line) for line in get("rollouts?step=2").text.splitlines()] == recorded[1]
    assert get("rollouts?step=9", status=404).json()["error"]["param"] == "step"
    store.artifacts.delete(f"jobs/{lease.job_id}/rollouts/step-000002-e1.jsonl")  # somebody made room
    assert len(get("rollouts").text.splitlines()) == 6


def test_a_run_keeps_the_headers_of_graders_to_itself(get, store, lease) -> None:
    document = {"grader": {"headers": {"Authorization": "Bearer secret"}}, "note": "ä"}
    store.artifacts.write(f"jobs/{lease.job_id}/documents/job.json", [json.dumps(document).encode()])
    record_step(store, lease, 1, [rollout_row(1, 0)], loss=float("nan"))
    files = unzipped(get("run"))
    assert not any(b"secret" in content for content in files.values())
    folder = f"{lease.job_id}-run"
    assert json.loads(files[f"{folder}/job.json"])["note"] == "ä"
    assert json.loads(files[f"{folder}/metrics.jsonl"]) == {"step": 1, "reward/mean": 0.5, "loss": None}
    assert json.loads(files[f"{folder}/rollouts/step-000001.jsonl"])["step"] == 1
    assert get("run?step=1", status=400).json()["error"]["param"] == "step"


def test_what_is_not_there_is_told(get) -> None:
    assert get("run", status=400).json()["error"]["param"] == "fine_tuning_job_id"
    assert get("weights", status=400).json()["error"]["param"] == "kind"
