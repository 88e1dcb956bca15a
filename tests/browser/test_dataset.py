"""The rows of the data over a run."""

from __future__ import annotations

import re
from typing import Any

import openai
import pytest
from playwright.sync_api import Page, expect

from browser.laboratory import Lab
from openrft.store import Store
from openrft.store.rows import Lease, Project
from platform_server import PlatformServer
from wire_jobs import body, record_step, rollout_row, run_by_hand


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A job with a row of each state."""
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    visits: dict[str, list[list[float | None]]] = {
        "never": [[0, 0.5], [0, 0]],
        "always": [[1, 1], [1, 1]],
        "learned": [[0, 0], [1, 1]],
        "forgotten": [[1, 1], [0, 0]],
        "unstable": [[1, 0], [1, 0]],
        "broken": [[None, None], [None, None]],
    }
    for step in (1, 2):
        given = [(name, reward) for name, steps in visits.items() for reward in steps[step - 1]]
        rows = [rollout_row(step, n, example=name, reward=reward) for n, (name, reward) in enumerate(given)]
        record_step(store, lease, step, rows)
    return lease


@pytest.fixture
def shown(window: Page, server: Any, lease: Lease) -> Page:
    """The job's page of its data."""
    window.goto(f"{server.url}/finetune/{lease.job_id}/dataset")
    return window


def test_each_row_has_its_state_and_the_numbers_of_the_api(shown: Page, client: openai.OpenAI, lease: Lease) -> None:
    found: Any = client.get(f"/fine_tuning/jobs/{lease.job_id}/examples", cast_to=object)
    for state, number in found["counts"].items():
        expect(shown.locator(f"[data-state='{state}']")).to_contain_text(str(number))
    shown.get_by_role("button", name="As numbers").click()
    for one in found["data"]:
        row = shown.locator(f"[data-example='{one['example']}']")
        expect(row).to_contain_text(one["state"])
        expect(row).to_contain_text(one["prompt"])
        visits = row.get_by_role("list").get_by_role("listitem")
        written = ["–" if mean is None else f"{mean:.3f}" for mean in one["means"]]
        expect(visits).to_have_text([f"{step} {mean}" for step, mean in zip(one["visits"], written, strict=True)])


def test_rows_are_picked_by_state_and_lead_to_the_prompt_over_the_run(shown: Page) -> None:
    shown.locator("[data-state=forgotten]").click()
    rows = shown.get_by_role("table", name="Training rows").locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.get_by_role("img")).to_have_attribute("aria-label", "From step 1: 1.000 to step 2: 0.000, 2 bars")
    shown.reload()
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()
    expect(shown).to_have_url(re.compile("example=forgotten"))
    expect(shown.locator("#example-sum")).to_contain_text("2 visits, 4 rollouts, mean reward 0.500")


def test_rows_are_sorted(shown: Page) -> None:
    rows = shown.get_by_role("table", name="Training rows").locator("tbody tr")
    shown.get_by_label("Order").select_option("best first")
    expect(rows.first).to_have_attribute("data-example", "always")
    shown.get_by_label("Order").select_option("worst first")
    expect(rows.first).to_have_attribute("data-example", "never")


def test_held_out_rows_show_what_they_got_at_each_evaluation(
    lab_window: Page, lab: Lab, lab_server: PlatformServer
) -> None:
    page = lab_window
    url = lab_server.base_url.removesuffix("/v1")
    page.goto(f"{url}/finetune/{lab.reinforcement}/dataset")
    page.get_by_role("link", name="Held-out rows").click()
    rows = page.get_by_role("table", name="Held-out rows").locator("tbody tr")
    expect(rows).to_have_count(16)
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key) as client:
        path = f"/fine_tuning/jobs/{lab.reinforcement}/evaluations"
        passes: list[Any] = [client.get(f"{path}/step-00000{step}-valid-sampled", cast_to=object) for step in (0, 8)]
    means = [[sum(row["scores"]) / len(row["scores"]) for row in one["rows"]] for one in passes]
    gains = sorted(last - first for first, last in zip(*means, strict=True))
    for place in (0, 15):
        expect(rows.nth(place).get_by_role("cell").last).to_have_text(f"{gains[place]:+.3f}".replace("-", "−"))
