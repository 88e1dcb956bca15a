"""What a job has told, and everything that it has measured."""

from __future__ import annotations

import re

import openai
import pytest
from playwright.sync_api import Page, expect

from app_server import Server
from browser.laboratory import Lab
from openrft.store import Store
from openrft.store.rows import Lease, NewEvent, Project
from platform_server import PlatformServer
from wire_jobs import body, record_step, rollout_row, run_by_hand

TRACEBACK = 'Traceback (most recent call last):\n  File "grader.py", line {line}, in grade\n{error}'


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


def tell(store: Store, lease: Lease, step: int, *events: NewEvent) -> None:
    store.steps.record(lease, step, {"reward/mean": 0.5}, total_steps=10, events=events)


def test_events_come_by_themselves_and_are_found_by_level_kind_and_text(
    window: Page, server: Server, store: Store, lease: Lease
) -> None:
    window.goto(f"{server.url}/finetune/{lease.job_id}/events")
    events = window.locator("#events li")
    expect(events.first).to_contain_text("Fine-tuning job started")
    slow, broken = NewEvent(message="disk is slow", level="warn"), NewEvent(message="disk broke", level="error")
    tell(store, lease, 1, NewEvent(message="Step 1/10", type="metrics", data={"step": 1}), slow, broken)
    expect(events.first).to_contain_text("disk broke")
    window.get_by_label("Level").select_option("warn")
    expect(events).to_have_count(2)
    window.get_by_label("Level").select_option("error")
    expect(events).to_have_count(1)
    window.get_by_label("Level").select_option("")
    window.get_by_label("Kind").select_option("metrics")
    expect(events).to_have_count(1)
    window.get_by_label("Kind").select_option("")
    window.get_by_role("searchbox", name="Search").fill("DISK")
    expect(events).to_have_count(2)
    expect(events.first.locator("mark")).to_have_text("disk")
    window.reload()
    expect(events).to_have_count(2)


def test_who_reads_may_hold_the_events_still(window: Page, server: Server, store: Store, lease: Lease) -> None:
    window.goto(f"{server.url}/finetune/{lease.job_id}/events")
    events = window.locator("#events li")
    expect(events.first).to_contain_text("Fine-tuning job started")
    window.get_by_label("Follow").uncheck()
    tell(store, lease, 1, NewEvent(message="later"))
    expect(window.get_by_text("1 new")).to_be_visible()
    expect(events.first).to_contain_text("Fine-tuning job started")
    window.get_by_label("Follow").check()
    expect(events.first).to_contain_text("later")


def test_of_a_long_past_the_newest_events_come_first_and_the_others_when_asked_for(
    window: Page, server: Server, store: Store, lease: Lease
) -> None:
    tell(store, lease, 1, *(NewEvent(message=f"number {number}") for number in range(1_100)))
    window.goto(f"{server.url}/finetune/{lease.job_id}/events")
    expect(window.locator("#events")).to_have_attribute("data-events", "1000")
    window.get_by_role("searchbox", name="Search").fill("Created")
    expect(window.get_by_text("No event is like that")).to_be_visible()
    window.get_by_role("button", name="Load what was told before").click()
    expect(window.locator("#events li")).to_have_count(1)
    expect(window.get_by_role("button", name="Load what was told before")).to_have_count(0)


def test_failures_of_a_grader_are_grouped_and_counted(window: Page, server: Server, store: Store, lease: Lease) -> None:
    def failed(step: int, number: int, error: str, line: int) -> dict[str, object]:
        told = {"kind": "python_grader_runtime_error", "message": TRACEBACK.format(line=line, error=error)}
        return rollout_row(step, number, reward=None, error=told, left_out="ungraded")

    for step in (1, 2):
        rows = [failed(step, number, "KeyError: 'answer'", 3) for number in range(3)]
        record_step(store, lease, step, [*rows, failed(step, 3, "ValueError: empty", 9), rollout_row(step, 4)])
    window.goto(f"{server.url}/finetune/{lease.job_id}/events")
    groups = window.locator("#grader-failures details")
    expect(groups).to_have_count(2)
    expect(groups.nth(0).locator("summary")).to_contain_text("6 × KeyError: 'answer'")
    expect(groups.nth(1).locator("summary")).to_contain_text("2 × ValueError: empty")
    groups.nth(0).locator("summary").click()
    expect(groups.nth(0)).to_contain_text('File "grader.py", line 3')
    groups.nth(0).get_by_role("link", name="First, step 1").click()
    expect(window).to_have_url(re.compile(r"/rollouts/rollout_1_0$"))


def test_a_job_that_failed_shows_the_traceback_that_ended_it(
    lab_window: Page, lab: Lab, lab_server: PlatformServer
) -> None:
    lab_window.goto(f"{lab_server.base_url.removesuffix('/v1')}/finetune/{lab.failed}/events")
    expect(lab_window.locator("#grader-failures details")).to_contain_text("1 × ValueError: no such column")
    expect(lab_window.get_by_label("Follow")).to_have_count(0)


def test_every_metric_is_found_by_its_name_and_drawn_over_samples(
    lab_window: Page, lab: Lab, lab_server: PlatformServer
) -> None:
    page, path = lab_window, f"{lab_server.base_url}/fine_tuning/jobs/{lab.reinforcement}/metrics"
    page.goto(f"{lab_server.base_url.removesuffix('/v1')}/finetune/{lab.reinforcement}/metrics")
    series = page.request.get(path).json()["series"]
    expect(page.locator("[data-found]")).to_have_attribute("data-found", str(len(series)))
    page.get_by_role("link", name="Show all").click()
    expect(page.locator("figure.chart")).to_have_count(len(series))
    page.get_by_role("searchbox", name="Search").fill("entropy")
    entropy = page.get_by_role("figure", name="policy/entropy")
    expect(page.locator("figure.chart")).to_have_count(1)
    page.get_by_label("Over").select_option("samples")
    entropy.get_by_role("button", name="Table").click()
    rows = entropy.locator("tbody tr")
    expect(rows).to_have_count(8)
    expect(rows.nth(3).locator("th")).to_have_text("128")
    expect(rows.nth(3).locator("td")).to_have_text(f"{series['policy/entropy']['values'][3]:.4g}")
    rows.nth(3).get_by_role("button").click()
    expect(page).to_have_url(re.compile(r"/rollouts\?step=4$"))


def test_between_steps_that_are_known_an_axis_is_interpolated(lab_window: Page) -> None:
    root = lab_window.locator("script[src*='/app.js']").get_attribute("src")
    assert root is not None
    axis = f"async () => (await import('{root.removesuffix('app.js')}core/axis.js')).axisOf"
    spent = "{'rollout/total': {steps: [1, 3], values: [10, 50]}}"
    assert lab_window.evaluate(f"{axis}('samples', {spent}, [])([0, 1, 2, 3, 9])") == [0, 10, 30, 50, 50]
    events = ", ".join(
        f"{{type: 'metrics', created_at: {at}, data: {{step: {step}}}}}" for step, at in ((0, 0), (2, 7200))
    )
    assert lab_window.evaluate(f"{axis}('hours', {{}}, [{events}])([0, 1, 2])") == [0, 1, 2]
    assert lab_window.evaluate(f"{axis}('tokens', {{}}, [])") is None
