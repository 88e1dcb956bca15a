"""The page of graders: versions and what they changed, what was given, and whether a person agrees."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import openai
import pytest
from playwright.sync_api import Page, expect

import wire_jobs
from app_server import Server
from browser.laboratory import Lab
from openrft.store import Store
from openrft.store.rows import Project
from platform_server import PlatformServer


def part(score: float | None) -> dict[str, Any]:
    return {"grader": "part", "score": score, "error": None, "replaced": None, "explanation": "", "printed": "",
            "grading_seconds": 0.0, "grading_usage": {}, "unparsed": False, "sub_grades": {}}  # fmt: skip


def create(client: openai.OpenAI, **grader: Any) -> str:
    asked = wire_jobs.method(grader={**wire_jobs.GRADER, **grader})
    return client.fine_tuning.jobs.create(**wire_jobs.body(client, method=asked)).id


def sample(store: Store, project: Project, job_id: str, scores: list[tuple[float, float, float]]) -> None:
    """One step of the job: rollouts with a reward and the scores of two parts."""
    lease = wire_jobs.run_by_hand(store, project.id, job_id)
    rows = [
        wire_jobs.rollout_row(1, number, reward=reward, score=reward, sub_grades={"exact": part(a), "close": part(b)})
        for number, (reward, a, b) in enumerate(scores)
    ]
    wire_jobs.record_step(store, lease, 1, rows)


def test_graders_of_one_name_are_versions_that_say_what_they_changed(
    window: Page, server: Server, client: openai.OpenAI
) -> None:
    first = create(client, name="exact")
    create(client, name="exact", pass_threshold=0.5, operation="ilike")
    create(client, name="exact")
    create(client, name="other")
    page = window
    page.goto(f"{server.url}/graders?name=exact")
    row = page.get_by_role("row", name=re.compile("^exact"))
    expect(row).to_contain_text("string_check")
    versions = page.get_by_role("list", name="Versions of exact")
    expect(versions.locator("[data-version]")).to_have_count(2)
    newest = versions.locator('[data-version="2"]')
    expect(newest.locator("tbody tr")).to_have_count(2)
    expect(newest.get_by_role("row", name=re.compile("operation"))).to_contain_text("eqilike")
    expect(newest.get_by_role("row", name=re.compile("pass_threshold"))).to_contain_text("not there0.5")
    expect(versions.locator('[data-version="1"]').get_by_role("link")).to_have_count(2)
    expect(versions.locator(f'[data-version="1"] a[href="/finetune/{first}"]')).to_be_visible()


def test_scores_are_counted_and_parts_are_compared_by_rank(
    window: Page, server: Server, client: openai.OpenAI, store: Store, project: Project
) -> None:
    job = create(client, name="two")
    # Ranks of a: 1 2.5 2.5 4; of b: 2 1 3 4. Deviations from 2.5: (0.75 + 0 + 0 + 2.25) / sqrt(4.5 × 5) = 0.6325
    sample(store, project, job, [(0.0, 0.0, 0.2), (0.5, 0.5, 0.1), (0.5, 0.5, 0.3), (1.0, 1.0, 0.4)])
    page = window
    page.goto(f"{server.url}/graders")
    rewards = page.get_by_role("table", name="Rewards")
    expect(rewards).to_have_attribute("data-count", "4")
    counts = client.get(f"/fine_tuning/jobs/{job}/rollouts/histogram?buckets=10", cast_to=object)["reward"]["counts"]  # type: ignore[index]
    assert [int(one) for one in rewards.locator("tbody td.number").all_inner_texts()] == counts
    expect(page.locator('[data-pair="exact close"]')).to_have_text("0.6325")


def test_own_scores_are_compared_with_the_graders_and_kept(
    window: Page, server: Server, client: openai.OpenAI, store: Store, project: Project
) -> None:
    job = create(client, name="mine", pass_threshold=0.5)
    sample(store, project, job, [(score, score, score) for score in (0.0, 0.25, 0.5, 0.75, 1.0)])
    page = window
    page.goto(f"{server.url}/graders")
    own = {"output 1.0": 0, "output 1.1": 0.75, "output 1.2": 0.5, "output 1.3": 0, "output 1.4": 1}
    items = page.locator("#calibration li")
    expect(items).to_have_count(5)
    expect(page.locator("[data-score]")).to_have_count(0)  # the grader's score is no hint
    for number in range(5):
        answer = items.nth(number).locator(".text pre").last.inner_text().strip()
        items.nth(number).get_by_label(re.compile("^Your score")).fill(str(own[answer]))
    # Differences 0, 0.5, 0, 0.75, 0. Ranks of the grader 1 2 3 4 5, mine 1.5 4 3 1.5 5; deviations from 3:
    # (3 - 1 + 0 - 1.5 + 4) / sqrt(10 × 9.5) = 0.4617
    figures = {"difference": "0.25", "rank": "0.4617", "both": "2", "onlyA": "1", "onlyB": "1", "neither": "1"}
    for name, value in figures.items():
        expect(page.locator(f'[data-figure="{name}"]')).to_have_text(re.compile(rf"^{re.escape(value)}\b"))
    page.reload()
    expect(page.locator("#calibration")).to_have_attribute("data-labelled", "5")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Labels as JSONL").click()
    lines = Path(waiting.value.path()).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["answer"]: row["label"] for row in rows} == own
    assert all(row["score"] == int(row["answer"][-1]) / 4 for row in rows)


def test_a_job_that_has_sampled_nothing_says_so(window: Page, server: Server, client: openai.OpenAI) -> None:
    window.goto(f"{server.url}/graders")
    expect(window.get_by_role("heading", name="No job has a grader yet")).to_be_visible()
    create(client, name="fresh")
    window.goto(f"{server.url}/graders")
    expect(window.get_by_role("heading", name="This job has graded nothing yet")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_changed_grader_goes_into_a_new_job(
    lab_window: Page, lab: Lab, lab_server: PlatformServer, width: int
) -> None:
    page, url = lab_window, lab_server.base_url.removesuffix("/v1")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{url}/graders?name=review&job={lab.reinforcement}")
    page.get_by_label("Calculate output").fill("compliant")
    page.get_by_role("button", name="Type answers myself").click()
    page.get_by_label("Answer to line 1", exact=True).fill("nothing that parses")
    expect(page.locator("[data-grader=good]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Grade again").click()
    expect(page.get_by_role("region", name="Graded sample rows").locator("tbody tr").first).to_contain_text(
        "sample parse error"
    )
    page.get_by_role("button", name="Use it in a new job").click()
    page.wait_for_url(f"{url}/finetune/new")
    expect(page.get_by_label("Base model")).to_have_value("openrft-tiny")
    expect(page.get_by_label("Calculate output")).to_have_value("compliant")
