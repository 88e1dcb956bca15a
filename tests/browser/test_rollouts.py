"""Reading what was sampled: steps, groups, the whole run, one prompt over the run."""

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

FAILED = {"kind": "python_grader_runtime_error", "message": "ValueError: no such column"}


def rows_of(step: int) -> list[dict[str, Any]]:
    """Two prompts with four rollouts each."""
    return [rollout_row(step, number, reward=number / 8, advantage=number / 8 - 0.4) for number in range(8)]


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A job of three steps with a bad rollout in the second, one without a grade, and two that did not train."""
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    for step in (1, 2, 3):
        rows = rows_of(step)
        if step == 2:
            rows[5] = rollout_row(
                2,
                5,
                reward=-1.0,
                output="<think>how to cheat</think>I GIVE UP",
                answer="I GIVE UP",
                printed="looked at it",
            )
        if step == 3:
            changes = {"left_out": "ungraded", "error": FAILED, "explanation": ""}
            rows[1] = {**rollout_row(3, 1, reward=None, **changes), "score": None}
            rows[2] = rollout_row(3, 2, reward=0.25, left_out="no_signal", finish_reason="length")
        record_step(store, lease, step, rows)
    return lease


def ask(client: openai.OpenAI, path: str) -> Any:
    """What the API answers beneath ``/v1/fine_tuning/jobs``."""
    return client.get(f"/fine_tuning/jobs/{path}", cast_to=object)


@pytest.fixture
def at(window: Page, server: Any, lease: Lease) -> Any:
    """Opens an address beneath the job."""

    def go(address: str = "/rollouts") -> Page:
        window.goto(f"{server.url}/finetune/{lease.job_id}{address}")
        return window

    return go


def ids(page: Page) -> list[str]:
    """The rollouts that are shown, in order."""
    return [card.get_attribute("data-item") or "" for card in page.locator("[data-item]").all()]


def test_a_planted_bad_rollout_is_found_in_three_clicks_from_the_overview(at: Any) -> None:
    page = at("")
    page.get_by_role("link", name="Rollouts", exact=True).click()
    page.get_by_role("link", name="Worst", exact=True).click()
    first = page.locator("[data-item]").first
    expect(first).to_contain_text("I GIVE UP")
    first.get_by_role("link", name="Step 2, sample 3").click()
    expect(page).to_have_url(re.compile(r"/rollouts/rollout_2_5$"))
    expect(page.get_by_role("group", name="Output")).to_have_text("I GIVE UP")
    expect(page.get_by_role("group", name="Printed")).to_have_text("looked at it")


def test_the_groups_of_a_step_show_the_numbers_of_the_api(
    lab_window: Page, lab: Lab, lab_server: PlatformServer
) -> None:
    page = lab_window
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key) as client:
        groups = ask(client, f"{lab.reinforcement}/rollouts/steps/4/groups")["data"]
        rollouts = ask(client, f"{lab.reinforcement}/rollouts?step=4&limit=200&sort=oldest")["data"]
    page.goto(f"{lab_server.base_url.removesuffix('/v1')}/finetune/{lab.reinforcement}/rollouts?step=4")
    shown = page.get_by_role("list", name="Groups").get_by_role("listitem")
    expect(shown).to_have_count(len(groups))
    for place, group in enumerate(groups):
        item = shown.nth(place)
        expect(item).to_contain_text(f"{group['mean']:.3f} ± {group['std']:.3f}")
        expect(item.get_by_text("signal", exact=True)).to_have_count(int(group["signal"]))
        item.get_by_role("link").click()
        expect(page.get_by_role("heading", name=f"Group {place + 1}", exact=True)).to_be_visible()
        for rollout in (one for one in rollouts if one["id"] in group["rollout_ids"]):
            card = page.locator(f"[data-item={rollout['id']}]")
            expect(card.locator("[data-reward]")).to_have_attribute(
                "data-reward", str(rollout["reward"]).removesuffix(".0")
            )
            expect(card.locator("[data-advantage]")).to_contain_text(f"{abs(rollout['advantage']):.3f}")
            for name, part in rollout["grade"]["sub_grades"].items():
                grade = card.get_by_role("group", name=f"Grade {name}", exact=True)
                expect(grade).to_contain_text(f"{part['score']:.3f}")
                expect(grade.get_by_role("group", name="Explanation")).to_have_text(part["explanation"])
        expect(page.locator("[data-item]")).to_have_count(group["size"])


def test_steps_are_turned_by_arrows_numbers_and_keys_and_each_has_an_address(at: Any) -> None:
    page = at()
    expect(page.get_by_label("Step", exact=True).get_by_role("spinbutton")).to_have_value("3")  # the newest
    page.get_by_role("link", name="Previous step").click()
    expect(page).to_have_url(re.compile(r"step=2"))
    expect(page.locator("[data-item=rollout_2_0]")).to_be_visible()
    page.keyboard.press("[")
    expect(page.locator("[data-item=rollout_1_0]")).to_be_visible()
    expect(page.get_by_role("button", name="Previous step")).to_be_disabled()
    number = page.get_by_label("Step", exact=True).get_by_role("spinbutton")
    number.fill("3")
    number.press("Enter")
    expect(page.locator("[data-item=rollout_3_0]")).to_be_visible()
    page.go_back()
    expect(page.locator("[data-item=rollout_1_0]")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="Group 2", exact=True)).to_be_visible()
    page.reload()
    expect(page.locator("[data-item=rollout_1_1]")).to_be_visible()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog")
    expect(keys).to_contain_text("Next group")
    page.keyboard.press("Escape")
    expect(keys).to_have_count(0)


def test_a_step_that_comes_while_one_reads_can_be_turned_to(at: Any, store: Store, lease: Lease) -> None:
    page = at()
    expect(page.get_by_role("group", name="Step")).to_contain_text("of 3")
    record_step(store, lease, 4, rows_of(4))
    expect(page.get_by_role("group", name="Step")).to_contain_text("of 4")
    expect(page.locator("[data-item=rollout_3_0]")).to_be_visible()  # what one reads stays
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("[data-item=rollout_4_0]")).to_be_visible()


def test_the_whole_run_is_sorted_filtered_and_searched_as_the_api_does_it(
    at: Any, client: openai.OpenAI, lease: Lease
) -> None:
    page = at("/rollouts?view=run")
    cards = page.locator("[data-item]")
    for title, sort in (
        ("worst first", "worst"),
        ("best first", "best"),
        ("longest first", "longest"),
        ("oldest first", "oldest"),
    ):
        page.get_by_label("Order").select_option(title)
        wanted = [one["id"] for one in ask(client, f"{lease.job_id}/rollouts?sort={sort}&limit=20")["data"]]
        expect(cards.first).to_have_attribute("data-item", wanted[0])
        expect(cards).to_have_count(20)
        assert ids(page) == wanted, title
    page.get_by_role("link", name="Next page").click()
    expect(cards).to_have_count(4)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Reward from").fill("0.5")
    page.get_by_label("to", exact=True).fill("0.7")
    page.get_by_label("to", exact=True).press("Enter")
    expect(cards).to_have_count(5)  # 0.5 and 0.625 of three steps, but the planted one
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Grading").select_option("failed")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("ValueError: no such column")
    expect(cards).to_contain_text("no reward")
    page.get_by_role("button", name="Clear").click()
    page.keyboard.press("/")
    page.get_by_role("searchbox").fill("output 1.3")
    page.get_by_role("searchbox").press("Enter")
    expect(cards).to_have_count(1)
    expect(cards.locator("mark").first).to_have_text("output 1.3")
    page.reload()
    expect(cards).to_have_attribute("data-item", "rollout_1_3")
    page.get_by_role("searchbox").fill("nowhere to be found")
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_role("heading", name="No rollout is like that")).to_be_visible()


def test_keys_go_through_a_list_and_the_place_is_in_the_address(at: Any) -> None:
    page = at("/rollouts?view=run&sort=oldest")
    expect(page.locator("[data-item]")).to_have_count(20)
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page).to_have_url(re.compile("at=rollout_1_1"))
    expect(page.locator("[data-item=rollout_1_1]")).to_be_focused()
    page.keyboard.press("o")
    expect(page).to_have_url(re.compile(r"/rollouts/rollout_1_1$"))
    expect(page.get_by_text("1 of 4")).to_be_visible()
    page.keyboard.press("j")  # the next of its group
    expect(page).to_have_url(re.compile(r"/rollouts/rollout_1_3$"))
    expect(page.get_by_role("group", name="Output")).to_have_text("output 1.3")


def test_what_was_left_out_is_counted_by_reason(at: Any) -> None:
    page = at("/rollouts?view=left_out")
    expect(page.locator("#left-out-sum")).to_contain_text("2 of 24 rollouts did not train")
    expect(page.locator("[data-reason=ungraded]")).to_contain_text("Grading failed")
    expect(page.locator("[data-item]")).to_have_count(2)
    page.locator("[data-reason=no_signal]").click()
    expect(page.locator("[data-item]")).to_have_count(1)
    expect(page.locator("[data-item]")).to_contain_text("cut at the limit")
    expect(page).to_have_url(re.compile("left_out=no_signal"))


def test_thoughts_are_folded_until_the_text_is_asked_for_raw(at: Any) -> None:
    page = at("/rollouts/rollout_2_5")
    thought = page.get_by_text("how to cheat")
    expect(page.get_by_role("group", name="Output")).to_have_text("I GIVE UP")
    expect(thought).to_be_hidden()
    page.get_by_text("Thoughts (12 characters)").click()
    expect(thought).to_be_visible()
    page.get_by_label("Show").select_option("raw text")
    expect(page.get_by_role("group", name="Output")).to_have_text("<think>how to cheat</think>I GIVE UP")
    expect(page).to_have_url(re.compile("render=raw"))


def test_one_prompt_is_followed_over_the_run(at: Any) -> None:
    page = at("/rollouts/rollout_1_1")
    page.get_by_role("link", name="This prompt at every step").click()
    expect(page.locator("#example-sum")).to_contain_text("3 visits, 12 rollouts")
    expect(page.locator("#example-reward")).to_be_visible()
    expect(page.locator("[data-item=rollout_3_1]")).to_be_visible()  # the newest visit
    page.keyboard.press("k")
    expect(page.locator("[data-item=rollout_2_5]")).to_contain_text("I GIVE UP")
    expect(page).to_have_url(re.compile("example=example-1.*step=2|step=2.*example=example-1"))
    page = at("/rollouts?example=example-1&step=2&sample=2")  # as an alert names its evidence
    expect(page.locator("[data-current]")).to_have_attribute("data-item", "rollout_2_5")
    expect(page.locator("[data-current]")).to_be_in_viewport()


def test_a_rollout_is_copied_and_leads_to_the_playground(at: Any, client: openai.OpenAI, lease: Lease) -> None:
    page = at("/rollouts/rollout_2_5")
    page.get_by_role("button", name="Copy JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("async () => JSON.parse(await navigator.clipboard.readText())")
    assert copied == ask(client, f"{lease.job_id}/rollouts/rollout_2_5")
    link = page.get_by_role("link", name="Try in the playground")
    expect(link).to_have_attribute("href", f"/playground?job={lease.job_id}&rollout=rollout_2_5")


def test_jobs_without_rollouts_say_why(
    window: Page, server: Any, client: openai.OpenAI, lab_server: PlatformServer, lab: Lab, login: Any
) -> None:
    job = client.fine_tuning.jobs.create(**body(client)).id
    window.goto(f"{server.url}/finetune/{job}/rollouts")
    expect(window.get_by_role("heading", name="Nothing was sampled yet")).to_be_visible()
    window.expected.append("404")  # type: ignore[attr-defined]
    window.goto(f"{server.url}/finetune/{job}/rollouts/rollout_1_1")
    expect(window.get_by_role("alert")).to_contain_text("No such rollout")
    url = lab_server.base_url.removesuffix("/v1")
    login(url, lab_server.api_key)
    window.goto(f"{url}/finetune/{lab.supervised}/rollouts")
    expect(window.get_by_role("heading", name="A supervised job samples nothing while it trains")).to_be_visible()
    window.goto(f"{url}/finetune/{lab.failed}/rollouts")
    expect(window.get_by_role("heading", name="Nothing was sampled yet")).to_be_visible()
