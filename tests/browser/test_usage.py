"""What jobs have spent: the page's figures are those of the API."""

from __future__ import annotations

import httpx2
import openai
from playwright.sync_api import Page, expect

from app_server import Server
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import body, record_step, run_by_hand


def test_totals_days_and_jobs_are_the_apis(
    window: Page, server: Server, first_key: str, client: openai.OpenAI, store: Store, project: Project
) -> None:
    window.goto(f"{server.url}/usage")
    expect(window.get_by_role("heading", name="Nothing was trained in these days")).to_be_visible()
    for name, times in (("short", 1), ("long", 3)):
        lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client, suffix=name)).id)
        for step in range(1, 3):
            spent = {
                "spent/tokens": 1000.0 * step * times, "spent/grader_cost": 0.25 * step, "rollout/count": 10.0,
                "time/spent_minutes": 1.5 * step * times, "rollout/completion_tokens_mean": 20.0,
                "grade/tokens/judge/prompt": 100.0, "grade/tokens/judge/completion": 5.0,
                "grade/tokens/judge/cached": 50.0,
            }  # fmt: skip
            record_step(store, lease, step, [], **spent)
        store.queue.finish(lease, "succeeded", message="done", fine_tuned_model=f"ft:{name}")
    answer = httpx2.get(f"{server.url}/v1/usage", headers={"Authorization": f"Bearer {first_key}"})
    total = answer.json()["total"]
    assert (total["sampled_tokens"], total["training_minutes"], total["grader_cost"]) == (8000, 12.0, 1.0)

    window.reload()
    expect(window.locator("#total-minutes")).to_contain_text("12 min 0 s")
    expect(window.locator("#total-sampled")).to_contain_text("8,000")
    expect(window.locator("#total-trained")).to_contain_text(f"{total['trained_tokens']:,}")
    expect(window.locator("#total-cost")).to_contain_text("$1.00")
    expect(window.locator("#total-grading")).to_contain_text("420")
    rows = window.get_by_role("table", name="By job").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("long")
    expect(rows.nth(1)).to_contain_text("9 min 0 s")
    expect(rows.nth(2)).to_contain_text("2,000")
    judge = window.get_by_role("table", name="Models that grade").get_by_role("cell")
    expect(judge).to_have_text(["400", "200", "20"])

    bars = window.get_by_role("img", name="Training time: 12 min 0 s in 30 days, at most 12 min 0 s on one")
    expect(bars).to_be_visible()
    window.get_by_role("link", name="Sampled tokens by day").click()
    expect(window.get_by_role("img", name="Sampled tokens: 8,000 in 30 days")).to_be_visible()
    window.get_by_role("combobox", name="The last", exact=True).select_option("7 days")
    expect(window.get_by_role("figure")).to_have_attribute("data-days", "7")
    window.reload()
    expect(window.get_by_role("img", name="Sampled tokens: 8,000 in 7 days")).to_be_visible()
    window.get_by_text("As a table").click()
    expect(window.get_by_role("table", name="Sampled tokens by day").get_by_role("cell")).to_have_text(["8,000"])
