"""Evals that a real job made: runs, answers with their grades, and two runs compared; figures are the API's."""

from __future__ import annotations

import math
from typing import Any

import openai
import pytest
from playwright.sync_api import Page, expect

from app_server import Server
from browser.laboratory import Lab
from openrft.store import Store
from openrft.store.evals_rows import NewOutputItem
from openrft.store.rows import Project
from platform_server import PlatformServer


@pytest.fixture
def client(lab_server: PlatformServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key)


@pytest.fixture
def eval_id(client: openai.OpenAI, lab: Lab) -> str:
    return str(client.fine_tuning.jobs.retrieve(lab.reinforcement).eval_id)  # type: ignore[attr-defined]


@pytest.fixture
def runs(client: openai.OpenAI, eval_id: str) -> list[Any]:
    """Of steps 0, 4 and 8."""
    return sorted(client.evals.runs.list(eval_id), key=lambda run: run.name)


def percent(share: float) -> str:
    """As the page rounds: halves go up."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{math.floor(100 * share + 0.5)} %"


def at(page: Page, path: str) -> Page:
    page.goto(page.url.partition("/finetune")[0] + path)
    return page


def test_the_way_from_all_evals_to_one_answer_and_its_grades(
    lab_window: Page, lab: Lab, client: openai.OpenAI, eval_id: str, runs: list[Any]
) -> None:
    page = lab_window
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Evals").click()
    page.get_by_role("link", name=f"Reinforcement Fine Tuning validation runs for {lab.reinforcement}").click()
    for run in runs:
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=run.name, exact=True))
        counts = run.result_counts
        expect(row).to_contain_text(percent(counts.passed / (counts.passed + counts.failed)))
        expect(row).to_contain_text(f"{counts.passed} of {counts.passed + counts.failed}")
    page.get_by_role("link", name="Step 0", exact=True).click()
    first = runs[0].result_counts
    expect(page.locator("#passed")).to_contain_text(f"{first.passed} of {first.total} that could be graded")

    items = list(client.evals.runs.output_items.list(runs[0].id, eval_id=eval_id))
    answers = page.get_by_role("table", name="Answers")
    expect(answers.get_by_role("rowheader")).to_have_count(len(items))
    page.get_by_role("combobox", name="Result", exact=True).select_option("pass")
    passed = [item for item in items if item.status == "pass"]
    expect(answers.get_by_role("rowheader")).to_have_count(len(passed))
    answers.get_by_role("link", name=f"Row {passed[0].datasource_item_id}, open").first.click()
    detail = page.locator("#item")
    expect(detail).to_contain_text(passed[0].sample.output[0].content or "")
    expect(detail).to_contain_text("compliant: 1.000")
    assert "item=" in page.url and "status=pass" in page.url
    page.reload()
    expect(detail.get_by_text("passed", exact=True)).to_be_visible()
    detail.get_by_role("link", name="Close").click()
    expect(detail).to_have_count(0)


def test_kinds_of_rows_are_listed_by_the_share_that_passes(
    lab_window: Page, client: openai.OpenAI, eval_id: str, runs: list[Any]
) -> None:
    page = at(lab_window, f"/evals/{eval_id}/runs/{runs[0].id}")
    counted: dict[str, list[bool]] = {}
    for item in client.evals.runs.output_items.list(runs[0].id, eval_id=eval_id):
        counted.setdefault(str(item.datasource_item["compliant"]), []).append(item.status == "pass")
    slices = page.get_by_role("table", name="Slices").get_by_role("row")
    for value, passed in counted.items():
        row = slices.filter(has=page.get_by_role("rowheader", name=f"compliant = {value}", exact=True))
        expect(row).to_contain_text(f"{sum(passed)} of {len(passed)}")
    shares = [float(text.split()[0]) for text in slices.locator("td:nth-child(2)").all_inner_texts()]
    assert shares == sorted(shares) and len(shares) >= 2


def test_two_runs_are_compared_row_by_row_with_the_worse_ones_first(
    lab_window: Page, client: openai.OpenAI, eval_id: str, runs: list[Any]
) -> None:
    base, *_, tuned = runs
    page = at(lab_window, f"/evals/{eval_id}")
    page.get_by_role("checkbox", name=f"Compare {tuned.name}").check()  # the wrong way round: worse on purpose
    page.get_by_role("checkbox", name=f"Compare {base.name}").check()
    answer = client.get(f"/evals/{eval_id}/compare?runs={tuned.id},{base.id}", cast_to=dict[str, Any])
    table = page.get_by_role("table", name="Differences")
    for name, told in (("Share that passes", answer["passed"]), ("Score of review", answer["testing_criteria"][0])):
        row = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))
        low, high = told["interval"]
        written = f"{told['difference']:.3f} [{low:.3f}, {high:.3f}]".replace("-", "−")
        expect(row).to_contain_text(written)
        expect(row).to_contain_text(f"{told['better']} / {told['worse']} / {told['same']}")
        expect(row).to_contain_text("worse")
    expect(page.get_by_role("heading", name=f"Rows that got worse ({len(answer['worse'])})")).to_be_visible()
    first = answer["worse"][0]
    panel = page.locator("#comparison details").first
    expect(panel).to_contain_text(f"Row {first['datasource_item_id']}:")
    panel.locator("summary").click()
    panel.get_by_role("link", name="sample 1").first.click()
    expect(page.locator("#item")).to_be_visible()
    assert f"/runs/{tuned.id}" in page.url


def test_a_run_that_goes_on_grows_by_itself_until_it_ends(
    hurried: Page, server: Server, store: Store, project: Project, first_key: str
) -> None:
    grader = {"type": "string_check", "name": "exact", "input": "", "reference": "", "operation": "eq"}
    with openai.OpenAI(base_url=server.base_url, api_key=first_key) as own:
        made = own.evals.create(
            data_source_config={"type": "custom", "item_schema": {}},
            testing_criteria=[grader],  # type: ignore[list-item]
        )
    run = store.eval_runs.create(project.id, made.id, {"type": "jsonl"}, name="long", model="base")
    hurried.goto(f"{server.url}/evals/{made.id}/runs/{run.id}")
    status = hurried.locator("[data-status]")
    expect(status).to_have_text("queued")
    claim = store.eval_runs.claim("test")
    assert claim is not None
    for row in range(2):
        item = NewOutputItem(
            row=row, sample_index=0, status="pass", datasource_item={"n": row}, sample={},
            results=[{"name": made.testing_criteria[0].id, "score": 1.0, "passed": True}],
        )  # fmt: skip
        store.eval_items.record(claim.lease, [item])
        expect(hurried.get_by_role("table", name="Answers").get_by_role("rowheader")).to_have_count(row + 1)
        expect(status).to_have_text("in progress")
    store.eval_runs.finish(claim.lease)
    expect(status).to_have_text("completed")
