"""What a job was asked to use, what it used, and why."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai

from openrft.config.web import MASK
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import body, method, run_by_hand


def settings(http: httpx2.Client, job: str) -> dict[str, Any]:
    answer = http.get(f"/v1/fine_tuning/jobs/{job}/settings")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_before_a_worker_has_begun_there_is_what_was_asked(client: openai.OpenAI, http: httpx2.Client) -> None:
    asked = body(client, method=method(hyperparameters={"batch_size": 4, "n_epochs": "auto"}))
    found = settings(http, client.fine_tuning.jobs.create(**asked).id)
    assert found["asked"]["batch_size"] == 4 and found["asked"]["n_epochs"] == "auto"
    assert (found["resolved"], found["reasons"], found["provenance"]) == (None, {}, None)


def test_what_auto_became_stands_beside_what_was_asked_with_the_reason_and_on_what_it_ran(
    client: openai.OpenAI, http: httpx2.Client, store: Store, project: Project
) -> None:
    job = client.fine_tuning.jobs.create(**body(client, method=method(hyperparameters={"n_epochs": "auto"}))).id
    lease = run_by_hand(store, project.id, job)
    resolved = {"hyperparameters": {"n_epochs": 3, "batch_size": 8}, "reasons": {"n_epochs": "the file is short"}}
    store.queue.set_resolved(lease, resolved)
    judge = {"endpoint": {"url": "https://judge.example", "headers": {"x-key": "secret"}}}
    config = {**resolved, "openrft": "0.1.0", "judges": judge, "machine": {"device": "cpu"}}
    store.artifacts.write(f"jobs/{job}/documents/config.json", [json.dumps(config).encode()])
    found = settings(http, job)
    assert found["asked"]["n_epochs"] == "auto"
    assert found["resolved"] == {"n_epochs": 3, "batch_size": 8}
    assert found["reasons"] == {"n_epochs": "the file is short"}
    assert found["provenance"]["machine"] == {"device": "cpu"}
    assert found["provenance"]["judges"]["endpoint"]["headers"] == {"x-key": MASK}


def test_settings_of_another_projects_job_are_not_found(http: httpx2.Client) -> None:
    assert http.get("/v1/fine_tuning/jobs/ftjob-nobodys/settings").status_code == 404
