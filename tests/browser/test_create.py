"""Starting a job in the browser: files, errors at their places, what is sent, and the same job by other means."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import openai
import pytest
from playwright.sync_api import Page, Route, expect

import wire_jobs
from app_server import Server
from browser.laboratory import Lab
from platform_server import PlatformServer

ROWS = [{"messages": [{"role": "user", "content": f"{n} + 1?"}], "answer": str(n + 1)} for n in range(6)]
REFUSED = "the server responded with a status of 400"  # the console's word for an answer that the test provokes


def jsonl(rows: list[Any]) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def upload(page: Page, label: str, name: str, content: bytes) -> None:
    page.get_by_label(f"Upload {label}").set_input_files(
        {"name": name, "mimeType": "application/jsonl", "buffer": content}
    )


def write_grader(page: Page, grader: Any) -> None:
    page.get_by_role("button", name="JSON", exact=True).first.click()
    page.get_by_label("Grader as JSON", exact=True).fill(
        grader if isinstance(grader, str) else json.dumps(grader, indent=2)
    )


def fill_form(page: Page, url: str, grader: Any = wire_jobs.GRADER) -> None:
    page.goto(f"{url}/finetune/new")
    page.get_by_label("Base model").fill("openrft-tiny")
    upload(page, "training file", "sums.jsonl", jsonl(ROWS))
    expect(page.locator('[data-role="training_file"] .file-preview')).to_have_attribute("data-rows", "6")
    upload(page, "validation file", "held-out.jsonl", jsonl(ROWS[:3]))
    expect(page.locator('[data-role="validation_file"] .file-preview')).to_have_attribute("data-rows", "3")
    write_grader(page, grader)
    expect(page.locator("[data-grader=good]")).to_be_visible()


def echoed(job: Any) -> dict[str, Any]:
    """What two jobs of the same request have in common."""
    plain = job.to_dict()
    return {
        name: plain[name]
        for name in ("model", "training_file", "validation_file", "method", "metadata", "seed", "user_provided_suffix")
    }


def test_a_job_of_the_form_is_the_job_of_the_script_that_it_shows(
    window: Page, server: Server, client: openai.OpenAI, first_key: str
) -> None:
    page = window
    fill_form(page, server.url)
    page.get_by_label("batch_size").fill("2")
    page.get_by_label("group_size").fill("4")
    page.get_by_text("Suffix, seed, response format").click()
    page.get_by_label("Suffix").fill("sums-ü\u202e")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Add a pair").click()
    page.get_by_label("Key 1").fill("team")
    page.get_by_label("Value 1").fill('"blue" \\ {{item.x}}')
    page.get_by_role("group", name="Show as").get_by_role("button", name="Python").click()
    script = page.get_by_role("group", name="This job as Python").locator("code").inner_text()
    assert "\u202e" not in script
    page.get_by_role("group", name="Show as").get_by_role("button", name="JSON").click()
    body = json.loads(page.get_by_role("group", name="This job as JSON").locator("code").inner_text())
    page.get_by_role("group", name="Show as").get_by_role("button", name="curl").click()
    curl = page.get_by_role("group", name="This job as curl").locator("code").inner_text()
    page.get_by_role("button", name="Create the job").click()
    page.wait_for_url(re.compile(r"/finetune/ftjob-"))
    page.wait_for_function(
        "JSON.parse(sessionStorage.getItem('openrft-new-job')).model === ''"
    )  # the next one begins empty
    by_form = client.fine_tuning.jobs.retrieve(page.url.rpartition("/")[2].partition("?")[0])
    environment = {**os.environ, "OPENAI_API_KEY": first_key}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment)
    assert ran.returncode == 0, ran.stderr
    by_script = client.fine_tuning.jobs.retrieve(ran.stdout.strip())
    ran = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=60, env=environment)
    by_curl = client.fine_tuning.jobs.retrieve(json.loads(ran.stdout)["id"])
    assert echoed(by_form) == echoed(by_script) == echoed(by_curl)
    assert echoed(by_form) == echoed(client.fine_tuning.jobs.create(**body))
    assert by_form.metadata == {"team": '"blue" \\ {{item.x}}'} and by_form.seed == 7
    options = by_form.to_dict()["method"]["reinforcement"]["hyperparameters"]
    assert (options["batch_size"], options["group_size"], options["n_epochs"]) == (2, 4, "auto")


def test_problems_of_a_file_stand_by_their_lines(window: Page, server: Server) -> None:
    page = window
    page.goto(f"{server.url}/finetune/new")
    wrong = {"messages": [{"role": "robot", "content": "x"}], "answer": "2"}
    upload(page, "training file", "wrong.jsonl", jsonl([ROWS[0], '{"messages": [', wrong]))
    table = page.get_by_role("region", name="Problems of the file")
    rows = table.get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("2")
    expect(rows.nth(2)).to_contain_text("messages[0].role")
    expect(rows.nth(2)).to_contain_text('"robot"')
    expect(page.get_by_role("list", name="What is still to do")).to_contain_text("wrong.jsonl has 2 problems")
    expect(page.get_by_role("button", name="Create the job")).to_be_disabled()


def test_what_the_server_refuses_stands_at_its_field(window: Page, server: Server) -> None:
    page = window
    page.expected = [REFUSED]  # type: ignore[attr-defined]
    fill_form(page, server.url)
    page.get_by_label("batch_size").fill("many")
    page.get_by_label("group_size").fill("1")
    page.get_by_role("button", name="Create the job").click()
    for name in ("batch_size", "group_size"):
        expect(page.locator(".field.wrong", has=page.get_by_label(name))).to_contain_text(f"hyperparameters.{name}")
    page.get_by_label("batch_size").fill("")
    page.get_by_label("group_size").fill("")
    page.get_by_label("Base model").fill("gpt-nonesuch")
    page.get_by_role("button", name="Create the job").click()
    expect(page.locator(".field.wrong", has=page.get_by_label("Base model"))).to_contain_text("gpt-nonesuch")


def test_a_reload_loses_nothing(window: Page, server: Server) -> None:
    page = window
    fill_form(page, server.url)
    page.get_by_label("n_epochs").fill("3")
    page.reload()
    expect(page.get_by_label("Base model")).to_have_value("openrft-tiny")
    expect(page.get_by_label("n_epochs")).to_have_value("3")
    expect(page.locator('[data-role="training_file"] .file-preview')).to_have_attribute("data-rows", "6")
    expect(page.get_by_label("Grader as JSON", exact=True)).to_contain_text("string_check")
    page.get_by_role("button", name="Clear the form").click()
    expect(page.get_by_label("Base model")).to_have_value("")


def test_a_supervised_job_needs_neither_grader_nor_second_file(
    window: Page, server: Server, client: openai.OpenAI
) -> None:
    page = window
    page.goto(f"{server.url}/finetune/new")
    page.get_by_role("radio", name="Supervised").check()
    page.get_by_label("Base model").fill("openrft-tiny")
    answered = [{"messages": [*row["messages"], {"role": "assistant", "content": "2"}]} for row in ROWS * 2]
    upload(page, "training file", "answered.jsonl", jsonl(answered))
    expect(page.locator('[data-role="training_file"] .file-preview')).to_have_attribute("data-problems", "0")
    expect(page.get_by_label("group_size")).to_have_count(0)
    page.get_by_role("button", name="Create the job").click()
    page.wait_for_url(re.compile(r"/finetune/ftjob-"))
    (job,) = client.fine_tuning.jobs.list().data
    assert job.method is not None and job.method.type == "supervised" and job.validation_file is None


def test_an_existing_job_is_copied_with_what_was_left_to_be_chosen(
    lab_window: Page, lab: Lab, lab_server: PlatformServer
) -> None:
    page, url = lab_window, lab_server.base_url.removesuffix("/v1")
    page.goto(f"{url}/finetune/new?from={lab.reinforcement}")
    expect(page.get_by_label("Base model")).to_have_value("openrft-tiny")
    expect(page.get_by_label("batch_size")).to_have_value("4")
    expect(page.get_by_label("n_epochs")).to_have_value("")  # it was "auto", and is a number in the job by now
    expect(page.locator('[data-role="training_file"] .file-preview')).to_have_attribute("data-rows", "24")
    expect(page).to_have_url(re.compile(r"/finetune/new$"))
    page.get_by_role("group", name="Show as").get_by_role("button", name="JSON").click()
    shown = json.loads(page.get_by_role("group", name="This job as JSON").locator("code").inner_text())
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key) as client:
        job = client.fine_tuning.jobs.with_raw_response.retrieve(lab.reinforcement).http_response.json()
    assert shown["method"]["reinforcement"]["grader"] == job["method"]["reinforcement"]["grader"]
    assert (shown["suffix"], shown["seed"], shown["training_file"]) == ("review", 1, job["training_file"])
    page.get_by_role("group", name="Show as").get_by_role("button", name="CLI").click()
    commands = page.get_by_role("group", name="This job as CLI").locator("code").inner_text()
    assert commands.endswith("openrft run job.json\n") and "policy_review-train.jsonl" in commands


def test_who_leaves_while_a_job_is_copied_keeps_the_address_of_the_other_page(
    window: Page, server: Server, client: openai.OpenAI
) -> None:
    job = client.fine_tuning.jobs.create(**wire_jobs.body(client)).id
    held: list[Route] = []
    window.route("**/settings", lambda route: held.append(route))
    with window.expect_request("**/settings"):
        window.goto(f"{server.url}/finetune/new?from={job}")
    place = "/finetune?model=openrft-tiny"
    window.evaluate(f"history.pushState(null, '', '{place}'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(window.get_by_label("Search jobs")).to_be_visible()
    with window.expect_event("requestfinished", lambda request: request.url.endswith("/settings")):
        held[0].continue_()
    window.evaluate("new Promise(requestAnimationFrame)")
    assert window.url == server.url + place


@pytest.mark.slow
def test_a_rehearsal_and_a_plan_say_what_the_job_would_do(
    lab_window: Page, lab: Lab, lab_server: PlatformServer
) -> None:
    page, url = lab_window, lab_server.base_url.removesuffix("/v1")
    page.goto(f"{url}/finetune/new?from={lab.reinforcement}")
    page.get_by_role("button", name="Rehearse").click()
    rehearsal = page.get_by_role("region", name="Rehearsal")
    expect(rehearsal).to_be_visible(timeout=90_000)
    expect(rehearsal).to_have_attribute("data-verdict", re.compile(r"^[a-z_]+$"))
    expect(rehearsal).to_contain_text("of 24 training rows")
    page.get_by_role("button", name="Plan: what").click()
    plan = page.get_by_role("region", name="Plan")
    expect(plan).to_be_visible(timeout=90_000)
    expect(plan).to_have_attribute("data-steps", "8")
    page.get_by_label("batch_size").fill("2")
    expect(plan).to_contain_text("of an earlier version of this form")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(window: Page, server: Server, width: int) -> None:
    page = window
    page.set_viewport_size({"width": width, "height": 900})
    fill_form(page, server.url)
    page.get_by_role("button", name="Form", exact=True).first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_commands_need_only_names_of_files_that_a_shell_takes(window: Page, server: Server) -> None:
    page = window
    page.goto(f"{server.url}/finetune/new")
    page.get_by_label("Base model").fill("openrft-tiny")
    upload(page, "training file", "$(touch hacked).jsonl", jsonl(ROWS))
    expect(page.locator('[data-role="training_file"] .file-preview')).to_be_visible()
    page.get_by_role("group", name="Show as").get_by_role("button", name="CLI").click()
    commands = page.get_by_role("group", name="This job as CLI").locator("code").inner_text()
    assert "touch" not in commands and "-o training.jsonl" in commands
