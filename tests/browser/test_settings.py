"""The settings of a job: every fact that the API has, why each "auto" became what it did, and files that are real."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import openai
import pytest
from playwright.sync_api import Page, expect

from browser.laboratory import Lab
from platform_server import PlatformServer


@pytest.fixture
def lab_client(lab_server: PlatformServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key) as client:
        yield client


def read(page: Page, job: str) -> dict[str, Any]:
    """The job object as it is on the wire."""
    found: dict[str, Any] = page.request.get(f"{urljoin(page.url, '/')}v1/fine_tuning/jobs/{job}").json()
    return found


def show(page: Page, job: str) -> Page:
    page.goto(f"{page.url.partition('/finetune')[0]}/finetune/{job}/settings")
    return page


def test_every_fact_of_the_job_is_there(lab_window: Page, lab: Lab) -> None:
    page = show(lab_window, lab.reinforcement)
    job = read(page, lab.reinforcement)
    facts = {
        "Job": job["id"], "Base model": "openrft-tiny", "Output model": job["fine_tuned_model"], "Suffix": "review",
        "Trained tokens": f"{job['trained_tokens']:,}", "Batch size": "4", "Epochs": "1.333", "Seed": "1",
        "Training file": job["training_file"], "Validation file": job["validation_file"], "Eval": job["eval_id"],
        "Result files": job["result_files"][0], "Status": "succeeded", "Shared with OpenAI": "no",
    }  # fmt: skip
    for name, value in facts.items():
        expect(page.locator(f"[data-fact='{name}']")).to_contain_text(str(value))
    shown = json.loads(page.get_by_role("group", name="Grader").locator("code").inner_text())
    assert shown == job["method"]["reinforcement"]["grader"]


def test_hyperparameters_stand_as_asked_and_as_used_with_the_reason(lab_window: Page, lab: Lab) -> None:
    page = show(lab_window, lab.reinforcement)
    documents = lab.home / "artifacts" / "jobs" / lab.reinforcement / "documents"
    config = json.loads((documents / "config.json").read_text())
    table = page.get_by_role("region", name="Options that were set or chosen")
    for name, reason in config["reasons"].items():
        expect(table.locator(f"[data-option='{name}']")).to_contain_text(reason)
        expect(table.locator(f"[data-option='{name}'] td").first).to_have_text("auto")
    expect(table.locator("[data-option='group_size'] td")).to_have_text(["8", "8", ""])
    expect(table.locator("[data-option='max_completion_tokens'] td").nth(1)).to_have_text(
        f"{config['hyperparameters']['max_completion_tokens']:,}"
    )
    expect(page.get_by_role("region", name="Provenance")).to_contain_text(config["model"]["fingerprint"])


def test_a_failed_job_says_why_with_the_graders_traceback(lab_window: Page, lab: Lab) -> None:
    page = show(lab_window, lab.failed)
    expect(page.get_by_role("region", name="Error")).to_contain_text("ValueError: no such column")
    expect(page.get_by_role("group", name="Source of broken")).to_contain_text("raise ValueError('no such column')")


def test_everything_the_job_made_is_downloaded_whole(
    lab_window: Page, lab: Lab, lab_client: openai.OpenAI, tmp_path: Path
) -> None:
    page = show(lab_window, lab.reinforcement)
    files = {}
    for name in ("Results (.csv)", "Metrics (.csv)", "Rollouts (.jsonl)", "Whole run (.zip)", "Model (.zip)"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert path.name == "step_metrics.csv" or path.name.startswith(lab.reinforcement)
        files[name] = path.read_bytes()
    result = lab_client.fine_tuning.jobs.retrieve(lab.reinforcement).result_files[0]
    assert files["Results (.csv)"] == lab_client.files.content(result).content
    metrics = list(csv.DictReader(io.StringIO(files["Metrics (.csv)"].decode())))
    assert [row["step"] for row in metrics] == [str(step) for step in range(9)]
    rollouts = [json.loads(line) for line in files["Rollouts (.jsonl)"].splitlines()]
    assert len(rollouts) == 8 * 4 * 8 and {row["step"] for row in rollouts} == set(range(1, 9))
    for name, wanted in (("Whole run (.zip)", "report.json"), ("Model (.zip)", "model.safetensors")):
        with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
            assert archive.testzip() is None
            assert wanted in {one.rpartition("/")[2] for one in archive.namelist()}


def test_the_python_it_is_shown_as_makes_the_same_job(lab_window: Page, lab: Lab, lab_server: PlatformServer) -> None:
    page = show(lab_window, lab.reinforcement)
    page.get_by_text("Python", exact=True).click()
    script = page.get_by_role("group", name="Python").locator("code").inner_text()
    keys = {"OPENAI_API_KEY": lab_server.api_key}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, **keys})
    assert done.returncode == 0, done.stderr
    made, old = (read(page, one) for one in (done.stdout.strip(), lab.reinforcement))
    same = ("model", "training_file", "validation_file", "user_provided_suffix", "seed", "metadata", "integrations")
    assert {name: made[name] for name in same} == {name: old[name] for name in same}
    grader = [one["method"]["reinforcement"]["grader"] for one in (made, old)]
    assert grader[0] == grader[1]
    asked = made["method"]["reinforcement"]["hyperparameters"]
    assert {**asked, "n_epochs": "auto"} == {
        "batch_size": 4, "learning_rate_multiplier": "auto", "n_epochs": "auto", "eval_interval": 4, "eval_samples": 2,
        "compute_multiplier": "auto", "reasoning_effort": "default", "num_steps": 8, "group_size": 8,
    }  # fmt: skip
