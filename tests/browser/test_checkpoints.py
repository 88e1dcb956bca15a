"""The table of checkpoints: its figures are the API's, and what it offers works."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import openai
import pytest
from playwright.sync_api import Page, expect

from app_server import Server
from browser.laboratory import Lab
from openrft.store import Store
from openrft.store.rows import Project
from platform_server import PlatformServer
from wire_jobs import body, record_step, run_by_hand


@pytest.fixture
def checkpoints(lab_server: PlatformServer, lab: Lab) -> list[Any]:
    """What the API says of the reinforcement job's checkpoints."""
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key) as client:
        return list(client.fine_tuning.jobs.checkpoints.list(lab.reinforcement))


def show(page: Page, job: str, tab: str = "checkpoints") -> Page:
    page.goto(f"{page.url.partition('/finetune')[0]}/finetune/{job}/{tab}")
    return page


def test_every_checkpoint_has_its_validation_with_interval_its_graders_and_size(
    lab_window: Page, lab: Lab, checkpoints: list[Any]
) -> None:
    page = show(lab_window, lab.reinforcement)
    expect(page.locator("[data-checkpoint]")).to_have_count(len(checkpoints))
    said = page.get_by_text("The dashed line is the base model").inner_text()
    base = float(said.partition("base model, ")[2].rstrip("."))
    for one in checkpoints:
        row = page.locator(f"[data-checkpoint='{one.id}']")
        valid = one.valid
        for figure in (
            f"{valid['mean']:.3f} [{valid['low']:.3f}, {valid['high']:.3f}]",
            *(f"{score:.3f}" for score in one.graders.values()),
            f"{one.bytes / 1e6:.1f} MB",
        ):
            expect(row).to_contain_text(figure)
        gain = valid["mean"] - base
        assert abs(float(row.locator("td.number").first.inner_text().lstrip("+")) - gain) < 0.001
        bar = f"{name_of(one)}: {row.locator('.validation').inner_text().strip()}, base {base:.3f}"
        expect(row.get_by_role("img")).to_have_attribute("aria-label", bar)
    final = next(one for one in checkpoints if one.is_final)
    expect(page.locator(f"[data-checkpoint='{final.id}']")).to_contain_text("ships")
    expect(page.get_by_text("The three with the highest validation reward are kept")).to_be_visible()


def test_what_is_known_stays_while_a_later_request_fails(
    window: Page, client: openai.OpenAI, server: Server, store: Store, project: Project
) -> None:
    job = client.fine_tuning.jobs.create(**body(client)).id
    lease = run_by_hand(store, project.id, job)
    record_step(store, lease, 1, [])
    window.expected = ["net::ERR_"]  # type: ignore[attr-defined]
    window.clock.install()
    for tab, known in (("checkpoints", "No checkpoint yet"), ("report", "Nothing was measured yet")):
        window.goto(f"{server.url}/finetune/{job}/{tab}")
        expect(window.get_by_role("heading", name=known)).to_be_visible()
        window.route("**/evaluations*", lambda route: route.abort())
        window.clock.fast_forward(5_000)
        expect(window.get_by_role("alert")).to_contain_text("The server cannot be reached")
        expect(window.get_by_role("heading", name=known)).to_be_visible()
        window.unroute("**/evaluations*")
    window.goto(f"{server.url}/finetune/{job}/metrics")
    reward = window.get_by_role("figure", name="reward/mean", exact=True)
    expect(reward).to_have_attribute("data-points", "1")
    window.route("**/metrics?*", lambda route: route.abort())
    record_step(store, lease, 2, [])
    expect(window.get_by_role("alert")).to_contain_text("The server cannot be reached")
    expect(reward).to_have_attribute("data-points", "1")
    window.unroute("**/metrics?*")
    window.clock.fast_forward(2_000)
    expect(reward).to_have_attribute("data-points", "2")
    expect(window.get_by_role("alert")).to_have_count(0)


def name_of(one: Any) -> str:
    return f"the model that ships (step {one.step_number})" if one.is_final else f"step {one.step_number}"


def test_sorted_by_validation_the_best_comes_first_and_the_address_says_so(
    lab_window: Page, lab: Lab, checkpoints: list[Any]
) -> None:
    page = show(lab_window, lab.reinforcement)
    page.get_by_role("button", name="Validation reward").click()
    best = max(checkpoints, key=lambda one: one.valid["mean"])
    expect(page.locator("[data-checkpoint]").first).to_have_attribute("data-checkpoint", best.id)
    assert "sort=validation" in page.url
    page.reload()
    expect(page.locator("[data-checkpoint]").first).to_have_attribute("data-checkpoint", best.id)


def test_what_is_ticked_is_tried_side_by_side(lab_window: Page, lab: Lab, checkpoints: list[Any]) -> None:
    page = show(lab_window, lab.reinforcement)
    for one in checkpoints[:2]:
        page.locator(f"[data-checkpoint='{one.id}']").get_by_role("checkbox").check()
    page.get_by_role("link", name="Try 2 side by side").click()
    for one in checkpoints[:2]:
        expect(page.get_by_role("region", name=one.fine_tuned_model_checkpoint)).to_be_visible()


def test_each_leads_to_its_comparison_with_the_base_and_to_a_job_that_goes_on(
    lab_window: Page, lab: Lab, checkpoints: list[Any]
) -> None:
    page = show(lab_window, lab.reinforcement)
    one = next(found for found in checkpoints if found.step_number == 8)
    row = page.locator(f"[data-checkpoint='{one.id}']")
    going_on = row.get_by_role("link", name="Continue from step 8").get_attribute("href") or ""
    assert parse_qs(urlsplit(going_on).query) == {"model": [one.fine_tuned_model_checkpoint]}
    row.get_by_role("button", name="Copy id").click()
    expect(row.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == one.fine_tuned_model_checkpoint
    row.get_by_role("link", name="Compare step 8 with the base").click()
    expect(page.locator("#pass-b")).to_have_value("step-000008-valid-sampled")
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()


def test_the_model_that_ships_is_downloaded_as_a_folder_and_another_step_tells_the_command(
    lab_window: Page, lab: Lab, checkpoints: list[Any], tmp_path: Path
) -> None:
    page = show(lab_window, lab.reinforcement)
    page.get_by_role("button", name="Export the model that ships").click()
    dialog = page.get_by_role("dialog")
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Model (.zip)").click()
    download.value.save_as(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as model:
        assert model.testzip() is None
        names = {name.rpartition("/")[2] for name in model.namelist()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    expect(dialog.get_by_role("link", name="Adapter")).to_have_count(0)  # all weights were trained
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Export step 8").click()
    expect(dialog).to_contain_text(f"openrft export {lab.reinforcement}-run --to model-step-8 --step 8")


def test_checkpoints_of_a_supervised_job_are_placed_by_loss(lab_window: Page, lab: Lab) -> None:
    page = show(lab_window, lab.supervised)
    page.get_by_role("button", name="Validation loss").click()
    path = f"/v1/fine_tuning/jobs/{lab.supervised}/checkpoints"
    found = page.request.get(page.url.partition("/finetune")[0] + path).json()["data"]
    losses = [one["metrics"]["full_valid_loss"] for one in found]
    expect(page.locator("[data-checkpoint]").first).to_contain_text(f"{min(losses):.4g}".removesuffix("0"))
    expect(page.locator("[data-checkpoint]").last).to_contain_text(f"{max(losses):.4g}".removesuffix("0"))
    expect(page.get_by_text("The three with the lowest validation loss are kept")).to_be_visible()


def test_a_job_without_checkpoints_says_when_there_will_be_one(
    window: Page, server: Server, client: openai.OpenAI
) -> None:
    job = client.fine_tuning.jobs.create(**body(client))
    show(window, job.id)
    expect(window.get_by_role("heading", name="No checkpoint yet")).to_be_visible()
