"""The list of jobs: it lives, its figures are the API's, it can be searched, and two jobs ticked in it are compared."""

from __future__ import annotations

import re

import openai
import pytest
from playwright.sync_api import Page, expect

from app_server import Server
from openrft.store import Store
from openrft.store.rows import NewEvent, NewJob, Project
from wire_jobs import GRADER, body, record_step, run_by_hand, supervised


def row_of(page: Page, job_id: str):
    return page.locator(f"[data-job='{job_id}']")


def expect_jobs(page: Page, ids: list[str]) -> None:
    """These jobs are listed and no others, in this order."""
    rows = page.locator("[data-job]")
    expect(rows).to_have_count(len(ids))
    for place in sorted({0, len(ids) // 2, len(ids) - 1}):
        expect(rows.nth(place)).to_have_attribute("data-job", ids[place])
    assert rows.evaluate_all("rows => rows.map(row => row.dataset.job)") == ids


def test_a_job_that_the_openai_client_creates_appears_by_itself_and_its_figures_are_the_apis(
    window: Page, client: openai.OpenAI, store: Store, project: Project
) -> None:
    expect(window.get_by_role("heading", name="No job yet")).to_be_visible()
    expect(window.get_by_role("link", name="Create a job")).to_have_attribute("href", "/finetune/new")
    expect(window.get_by_role("group", name="Python")).to_contain_text(f"{client.base_url}".rstrip("/"))
    expect(window.get_by_role("group", name="Shell")).to_contain_text("make demo")
    window.evaluate("window.isSamePage = true")

    job = client.fine_tuning.jobs.create(**body(client, suffix="genes"))
    row = row_of(window, job.id)
    expect(row.get_by_role("link", name="genes")).to_have_attribute("href", f"/finetune/{job.id}")
    expect(row).to_contain_text("validating files")
    expect(row).to_contain_text("No worker is alive to take it: start one with openrft worker.")
    expect(row).to_contain_text("by first key")
    expect(row).to_contain_text("rows.jsonl")

    lease = run_by_hand(store, project.id, job.id)
    store.queue.set_resolved(lease, {"hyperparameters": {"eval_interval": 2}})
    for step, valid in ((0, 0.25), (1, None), (2, 0.75), (3, None), (4, 0.5)):
        record_step(store, lease, step, [], **({} if valid is None else {"valid/reward_mean": valid}))
    expect(row.get_by_text("4 / 10")).to_be_visible()
    expect(row.get_by_role("progressbar", name="Steps done")).to_have_attribute("value", "4")
    curve = row.get_by_role("img")
    expect(curve).to_have_attribute("data-points", "5")
    said = "Training reward 0.500 → 0.500, validation 0.250 → 0.500, steps 0 to 4"
    expect(curve).to_have_attribute("aria-label", said)
    expect(row).to_contain_text("+0.500so far")
    expect(row.locator("[data-status]")).to_have_text("running")

    data = {"verdict": {"outcome": "better", "gain": 0.4, "low": 0.25, "high": 0.55}}
    store.events.append(lease, NewEvent(message="better: +40 points.", key="verdict", data=data))
    store.queue.finish(lease, "succeeded", message="done", fine_tuned_model="ft:a:b::c")
    expect(row).to_contain_text("+0.400[0.250, 0.550]better")
    expect(row).to_contain_text("Try ft:a:b::c, or export it.")
    assert window.evaluate("window.isSamePage") is True
    window.goto(window.url.replace("/finetune", "/"))
    expect(row.get_by_role("link", name="genes")).to_be_visible()


def test_an_update_changes_what_is_shown_and_takes_nothing_away(
    window: Page, client: openai.OpenAI, store: Store, project: Project
) -> None:
    job = client.fine_tuning.jobs.create(**body(client, suffix="kept"))
    lease = run_by_hand(store, project.id, job.id)
    tick = window.get_by_role("checkbox", name="Compare kept")
    tick.focus()
    # Whatever is redrawn from here on, the row and what has the focus stay the same elements.
    window.evaluate("window.marked = document.querySelector('[data-job]')")
    window.evaluate("""() => {
        window.gaps = 0;
        new MutationObserver(() => { if (!document.querySelector('[data-job]')) window.gaps += 1; })
            .observe(document.querySelector('main'), {childList: true, subtree: true});
    }""")
    record_step(store, lease, 1, [])
    expect(row_of(window, job.id).get_by_text("1 / 10")).to_be_visible()
    record_step(store, lease, 2, [])
    expect(row_of(window, job.id).get_by_text("2 / 10")).to_be_visible()
    assert window.evaluate("window.gaps === 0 && window.marked === document.querySelector('[data-job]')")
    expect(tick).to_be_focused()


def test_the_address_says_what_is_searched_filtered_sorted_and_ticked(
    window: Page, client: openai.OpenAI, store: Store, project: Project
) -> None:
    names = ("alpha", "beta", "gamma")
    jobs = {name: client.fine_tuning.jobs.create(**body(client, suffix=name)).id for name in names[:2]}
    jobs["gamma"] = client.fine_tuning.jobs.create(**body(client, suffix="gamma", method=supervised())).id
    client.fine_tuning.jobs.cancel(jobs["alpha"])
    for name in names:
        expect(row_of(window, jobs[name])).to_be_visible()
    expect_jobs(window, [jobs["gamma"], jobs["beta"], jobs["alpha"]])

    window.get_by_role("combobox", name="Order", exact=True).select_option("Name")
    expect_jobs(window, [jobs[name] for name in names])
    window.get_by_role("combobox", name="Method", exact=True).select_option("supervised")
    expect(row_of(window, jobs["alpha"])).to_have_count(0)
    expect_jobs(window, [jobs["gamma"]])
    window.get_by_role("combobox", name="Method", exact=True).select_option("any")
    window.get_by_role("combobox", name="Status", exact=True).select_option("cancelled")
    expect(row_of(window, jobs["beta"])).to_have_count(0)
    expect_jobs(window, [jobs["alpha"]])
    window.get_by_role("combobox", name="Status", exact=True).select_option("any")
    window.get_by_label("Search jobs").fill("BET")
    expect(row_of(window, jobs["alpha"])).to_have_count(0)
    expect_jobs(window, [jobs["beta"]])
    window.get_by_label("Search jobs").fill("nothing has this name")
    expect(window.get_by_role("heading", name="No job is like that")).to_be_visible()
    window.get_by_label("Search jobs").fill("")
    expect(row_of(window, jobs["alpha"])).to_be_visible()
    expect(window.get_by_label("Search jobs")).to_be_focused()  # the page of who has no job was not shown meanwhile
    window.get_by_label("Search jobs").fill("nothing has this name")
    expect(window.get_by_role("heading", name="No job is like that")).to_be_visible()
    window.get_by_role("button", name="Show all jobs").click()

    window.get_by_role("checkbox", name="Compare gamma").check()
    expect(window.get_by_text("1 job is ticked; tick another one")).to_be_visible()
    window.get_by_role("checkbox", name="Compare alpha").check()
    window.reload()
    expect(window.get_by_role("checkbox", name="Compare alpha")).to_be_checked()
    expect_jobs(window, [jobs[name] for name in names])
    window.get_by_role("link", name="Compare", exact=True).click()
    window.wait_for_url(f"**/compare?jobs={jobs['gamma']},{jobs['alpha']}")


def test_older_jobs_come_page_by_page_and_none_twice(window: Page, store: Store, project: Project) -> None:
    def make(number: int) -> str:
        asked = NewJob(
            model="openrft-tiny", training_file="file-a", validation_file=None, seed=7, suffix=f"job{number}",
            spec={"request": {}, "base_model": "openrft-tiny", "document": {"method": {"type": "supervised"}}},
        )  # fmt: skip
        return store.jobs.create(project.id, asked).id

    made = [make(number) for number in range(103)]
    expect(window.locator("[data-job]")).to_have_count(50)
    more = window.get_by_role("button", name="Show older jobs")
    more.click()
    expect(window.locator("[data-job]")).to_have_count(100)
    made.append(make(103))  # one comes meanwhile: nothing is lost between the pages
    more.click()
    expect(window.locator("[data-job]")).to_have_count(104)
    expect_jobs(window, made[::-1])
    expect(more).to_have_count(0)
    expect(window.get_by_role("status").first).to_have_text("104 jobs")
    window.goto(f"{window.url.partition('?')[0]}?picked={','.join(made[-8:])}")
    expect(window.get_by_text("8 jobs are ticked, as many as can be compared")).to_be_visible()
    ninth = window.get_by_role("checkbox", name="Compare job95", exact=True)
    expect(ninth).to_be_disabled()
    window.get_by_role("checkbox", name="Compare job96", exact=True).uncheck()
    expect(ninth).to_be_enabled()


def test_a_lost_server_is_told_and_what_was_known_stays(window: Page, client: openai.OpenAI, server: Server) -> None:
    window.expected.append("ERR_")  # type: ignore[attr-defined]
    job = client.fine_tuning.jobs.create(**body(client, suffix="kept"))
    expect(row_of(window, job.id)).to_be_visible()
    window.context.set_offline(True)
    expect(window.get_by_role("alert")).to_contain_text("The server cannot be reached")
    expect(row_of(window, job.id)).to_be_visible()
    window.context.set_offline(False)
    expect(window.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("hostile", ["<img src=x onerror=alert(1)>", "a\u202eb"])
def test_what_people_wrote_is_text(window: Page, client: openai.OpenAI, hostile: str) -> None:
    grader = {**GRADER, "name": hostile}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    job = client.fine_tuning.jobs.create(**body(client, method=method))
    row = row_of(window, job.id)
    expect(row).to_contain_text(hostile.replace("\u202e", "⟨U+202E⟩"))
    expect(row.locator("img")).to_have_count(0)


def test_a_narrow_window_shows_cards_and_nothing_beside_the_page(
    window: Page, client: openai.OpenAI, store: Store, project: Project
) -> None:
    window.set_viewport_size({"width": 390, "height": 800})
    job = client.fine_tuning.jobs.create(**body(client, suffix="genes"))
    record_step(store, run_by_hand(store, project.id, job.id), 1, [])
    row = row_of(window, job.id)
    expect(row.get_by_text("1 / 10")).to_be_visible()
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box, status = row.bounding_box(), row.locator("[data-status]").bounding_box()
    assert box is not None and status is not None
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    link = row.get_by_role("link", name="genes").bounding_box()
    assert link is not None and status["y"] > link["y"]  # beneath one another, not side by side
    expect(window.get_by_role("columnheader", name=re.compile("Status"))).to_have_count(0)
