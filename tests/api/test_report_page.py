"""The report as one HTML file, made from what a job left in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest

from html_record import HOSTILE, graded_record
from openrft.store import Store
from openrft.store.rows import Lease, Project
from wire_jobs import body, record_step, rollout_row, run_by_hand


@dataclass
class Reported:
    """A job whose report is in the store."""

    lease: Lease
    http: httpx2.Client

    def page(self, status: int = 200) -> httpx2.Response:
        answer = self.http.get(f"/v1/fine_tuning/jobs/{self.lease.job_id}/report?format=html")
        assert answer.status_code == status, answer.text[:500]
        return answer


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A running job."""
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


@pytest.fixture
def reported(store: Store, lease: Lease, http: httpx2.Client) -> Reported:
    record = graded_record(HOSTILE)
    put(store, lease, "report.json", record.report)
    put(store, lease, "job.json", record.job)
    put(store, lease, "config.json", record.config)
    for step in (1, 2, 3):
        rows = [rollout_row(step, number, output=f"{HOSTILE} step {step}") for number in range(4)]
        shares = {"groups/all_fail_share": 0.25, "groups/all_pass_share": float("nan")}
        record_step(store, lease, step, rows, **shares, **{"rollout/completion_tokens_mean": 12.0})
    return Reported(lease, http)


def put(store: Store, lease: Lease, name: str, document: Mapping[str, Any]) -> None:
    store.artifacts.write(f"jobs/{lease.job_id}/documents/{name}", [json.dumps(document).encode()])


def test_the_page_is_an_attachment_that_no_browser_may_run(reported: Reported) -> None:
    answer = reported.page()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{reported.lease.job_id}-report.html"'
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_has_the_verdict_the_series_and_rollouts_of_the_first_and_last_step(reported: Reported) -> None:
    text = reported.page().text
    assert "<h2>Better</h2>" in text
    assert f"<dd>{reported.lease.job_id}</dd>" in text
    assert ">Length of answers<" in text
    assert "Step 1: 4 of 4 rollouts" in text and "Step 3: 4 of 4 rollouts" in text and "Step 2:" not in text
    assert "<script" not in text and "<img" not in text and "\x1b" not in text
    assert "hunter2" not in text and "/data/somebody" not in text


def test_a_job_without_its_rollouts_and_settings_has_a_page_still(reported: Reported, store: Store) -> None:
    for part in ("documents/job.json", "documents/config.json", "rollouts"):
        store.artifacts.delete(f"jobs/{reported.lease.job_id}/{part}")
    text = reported.page().text
    assert "<h2>Better</h2>" in text and "Step 1:" not in text


def test_before_the_end_there_is_no_page(http: httpx2.Client, lease: Lease) -> None:
    answer = Reported(lease, http).page(status=404)
    assert "once training is over" in answer.json()["error"]["message"]


def test_another_project_sees_no_page(reported: Reported, server: Any, other_key: str) -> None:
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {other_key}"}) as other:
        answer = Reported(reported.lease, other).page(status=404)
    assert answer.json()["error"]["message"] == f"Could not find fine-tuning job {reported.lease.job_id}"
