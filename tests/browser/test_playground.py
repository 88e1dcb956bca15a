"""The playground: models answer side by side as they write, and each answer is graded as the job grades."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import openai
import pytest
from playwright.sync_api import Locator, Page, expect

from browser.laboratory import Lab
from platform_server import PlatformServer


@pytest.fixture
def lab_client(lab_server: PlatformServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key, max_retries=0) as client:
        yield client


@pytest.fixture
def models(lab_client: openai.OpenAI, lab: Lab) -> list[str]:
    """The base and the tuned model of the reinforcement job, both loaded."""
    job = lab_client.fine_tuning.jobs.retrieve(lab.reinforcement)
    assert job.fine_tuned_model is not None
    found = [job.model, job.fine_tuned_model]
    patient = lab_client.with_options(max_retries=20)  # models answer a little later than the server does
    for model in found:
        patient.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "?"}], max_completion_tokens=1
        )
    return found


@pytest.fixture
def held_out(lab_client: openai.OpenAI, lab: Lab) -> tuple[str, list[dict[str, Any]]]:
    """The reinforcement job's validation file, and its rows."""
    job = lab_client.fine_tuning.jobs.retrieve(lab.reinforcement)
    assert job.validation_file is not None
    lines = lab_client.files.content(job.validation_file).text.splitlines()
    return job.validation_file, [json.loads(line) for line in lines]


def show(page: Page, **query: Any) -> Page:
    page.goto(f"{page.url.partition('/finetune')[0]}/playground?{urlencode(query)}")
    return page


def column(page: Page, model: str) -> Locator:
    return page.get_by_role("region", name=model, exact=True)


def slow_down(page: Page, bytes_per_second: int) -> None:
    """The tiny models are done before one can look; so their answers come over a slow line."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": bytes_per_second, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", limits)


# Writes down, in the order in which the page shows it, how many characters each column has, and when it has ended.
WATCH = """() => {
  window.seen = [];
  const look = () => document.querySelectorAll(".answer-column").forEach((one) => {
    const cards = [...one.querySelectorAll("[data-characters]")];
    const length = cards.reduce((sum, card) => sum + Number(card.dataset.characters), 0);
    const now = {model: one.dataset.model, length, status: one.dataset.status};
    const last = window.seen.findLast((other) => other.model === now.model);
    if (JSON.stringify(last) !== JSON.stringify(now)) window.seen.push(now);
  });
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""


def test_both_columns_stream_at_the_same_time(lab_window: Page, models: list[str]) -> None:
    page = show(lab_window, models=",".join(models), prompt="Rule 1: devices required. Compliant?", n=4, temperature=2)
    ask = page.get_by_role("button", name="Ask all 2")
    expect(ask).to_be_enabled()
    page.evaluate(WATCH)
    slow_down(page, 10_000)
    ask.click()
    for model in models:
        expect(column(page, model)).to_have_attribute("data-status", "done", timeout=30_000)
        expect(column(page, model).locator("[data-first-token]")).to_be_visible()
        assert float(column(page, model).locator("[data-speed]").get_attribute("data-speed") or 0) > 0
    seen = page.evaluate("window.seen")
    end = next(place for place, one in enumerate(seen) if one["status"] == "done")
    for model in models:
        lengths = {one["length"] for one in seen[:end] if one["model"] == model}
        assert len(lengths - {0}) >= 2, seen  # it grew, and grew again, before either had ended


def test_the_live_grade_is_the_one_that_the_api_gives(
    lab_window: Page, lab: Lab, models: list[str], held_out: tuple[str, list[dict[str, Any]]], lab_client: openai.OpenAI
) -> None:
    file, rows = held_out
    page = show(lab_window, job=lab.reinforcement, file=file, line=3, seed=1)
    expect(page.get_by_role("textbox", name="user message")).to_have_value(rows[2]["messages"][0]["content"])
    page.get_by_role("button", name="Ask all 2").click()
    server = page.url.partition("/playground")[0]
    job = page.request.get(f"{server}/v1/fine_tuning/jobs/{lab.reinforcement}").json()
    grader = job["method"]["reinforcement"]["grader"]
    for model in models:
        answer = column(page, model).get_by_role("article", name="Answer")
        expect(answer).to_have_attribute("data-ended", "true", timeout=60_000)
        grade = answer.get_by_role("group", name="Grade", exact=True)
        text = answer.get_by_role("group", name="Output").inner_text()
        wanted = lab_client.fine_tuning.alpha.graders.run(grader=grader, model_sample=text, item=rows[2])
        shown = float(grade.get_attribute("data-reward") or "nan")
        assert shown == pytest.approx(wanted.reward)
        for name, score in wanted.sub_rewards.items():
            expect(grade).to_contain_text(f"{name} {score:.3f}")
        # An answer that does not parse is graded 0 like any other that is wrong.
        expect(grade.locator("[data-reward]")).to_have_text(f"{wanted.reward:.3f}")

    page.get_by_text("The row that the grader reads").click()
    item = page.get_by_role("textbox", name="Item, as JSON")
    for wrong, words in (("[1]", "An object is needed"), ("{", "JSON")):
        item.fill(wrong)
        item.press("Tab")
        expect(page.get_by_role("alert")).to_contain_text(words)
        expect(page.locator("[data-reward]").first).to_have_attribute("data-reward", re.compile(r"\d"))
    page.get_by_role("button", name="Row after").click()
    for model in models:  # what was said of one row is not graded by another
        expect(column(page, model)).to_have_attribute("data-status", "empty")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert json.loads(item.input_value()) == rows[3]


def test_a_rollout_is_tried_again_with_the_row_it_came_from(lab_window: Page, lab: Lab, models: list[str]) -> None:
    server = lab_window.url.partition("/finetune")[0]
    rollouts = f"{server}/v1/fine_tuning/jobs/{lab.reinforcement}/rollouts"
    rollout = lab_window.request.get(f"{rollouts}?sort=worst&limit=1").json()["data"][0]
    page = show(lab_window, job=lab.reinforcement, rollout=rollout["id"])
    expect(page.get_by_role("textbox", name="user message")).to_have_value(rollout["prompt"][0]["content"])
    page.get_by_text("The row that the grader reads").click()
    item = json.loads(page.get_by_role("textbox", name="Item, as JSON").input_value())
    assert {"messages", "compliant", "explanation"} <= item.keys()


def test_the_address_holds_everything_so_that_it_can_be_sent(lab_window: Page, models: list[str]) -> None:
    page = show(lab_window, models=models[0])
    page.locator("#add-model").select_option(models[1])
    page.get_by_role("button", name="Add system message").click()
    page.get_by_role("textbox", name="system message").fill("Answer in JSON.")
    page.get_by_role("textbox", name="user message").fill("Compliant?")
    page.get_by_label("Samples").fill("2")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Seed").press("Tab")
    page.reload()
    for model in models:
        expect(column(page, model)).to_be_visible()
    expect(page.get_by_role("textbox", name="system message")).to_have_value("Answer in JSON.")
    expect(page.get_by_role("textbox", name="user message")).to_have_value("Compliant?")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["models"], query["n"], query["seed"]) == ([",".join(models)], ["2"], ["7"])
    assert json.loads(query["prompt"][0])[0] == {"role": "system", "content": "Answer in JSON."}


def test_an_answer_is_stopped_and_what_was_written_stays(lab_window: Page, models: list[str]) -> None:
    page = show(lab_window, models=models[0], prompt="Compliant?", n=8, temperature=2)
    ask = page.get_by_role("button", name="Ask")
    expect(ask).to_be_enabled()
    slow_down(page, 2_000)
    ask.click()
    expect(column(page, models[0]).locator("[data-first-token]")).to_be_visible()
    page.get_by_role("button", name="Stop all").click()
    expect(column(page, models[0])).to_have_attribute("data-status", "stopped")
    expect(column(page, models[0]).get_by_role("status")).to_contain_text("stopped")
    assert any(int(one.get_attribute("data-characters") or 0) for one in page.locator("[data-characters]").all())
    ask.click()
    expect(column(page, models[0]).locator("[data-first-token]")).to_be_visible()
    page.evaluate(WATCH)
    ask.click()  # anew while it is being answered: the end of the first is not shown as the second's
    expect(column(page, models[0]).locator("[data-first-token]")).to_have_count(0)
    expect(column(page, models[0]).locator("[data-first-token]")).to_be_visible()
    assert {one["status"] for one in page.evaluate("window.seen")} == {"running"}


def test_the_python_to_copy_asks_the_same(lab_window: Page, models: list[str], lab_server: PlatformServer) -> None:
    page = show(lab_window, models=",".join(models), prompt='Say "no" — or ’yes‘?', n=2, seed=3, max_tokens=5)
    page.get_by_text("Python", exact=True).click()
    script = page.get_by_role("group", name="Python").locator("code").inner_text()
    environment = {**os.environ, "OPENAI_API_KEY": lab_server.api_key}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert [done.stdout.count(model + "\n") for model in models] == [2, 2]


def test_what_goes_wrong_is_said_in_the_column_it_concerns(lab_window: Page, models: list[str]) -> None:
    page = show(lab_window, models=f"{models[0]},no-such-model", prompt="Compliant?")
    page.expected = ["404"]  # type: ignore[attr-defined]
    page.get_by_role("button", name="Ask all 2").click()
    expect(column(page, "no-such-model").get_by_role("alert")).to_contain_text("no-such-model")
    expect(column(page, models[0])).to_have_attribute("data-status", "done", timeout=60_000)
