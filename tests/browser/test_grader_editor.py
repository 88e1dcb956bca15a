"""Writing a grader in the browser: mistakes at their lines, completion, and grades of real answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from playwright.sync_api import Locator, Page, expect

import wire_jobs
from browser.laboratory import Lab
from platform_server import PlatformServer

REFUSED = "the server responded with a status of 400"  # the console's word for a grader that the test has made wrong

Open = Callable[..., Page]


@pytest.fixture
def form(lab_window: Page, lab: Lab, lab_server: PlatformServer) -> Open:
    """``form("json")``: the form of a job like the laboratory's, with the editor in this mode."""

    def go(mode: str, job: str = lab.reinforcement) -> Page:
        lab_window.expected = [REFUSED]  # type: ignore[attr-defined]
        lab_window.goto(f"{lab_server.base_url.removesuffix('/v1')}/finetune/new?from={job}&editor={mode}")
        expect(lab_window.locator('[data-role="training_file"] .file-preview')).to_be_visible()
        return lab_window

    return go


@pytest.fixture
def grader(lab: Lab, lab_server: PlatformServer) -> dict[str, Any]:
    """The laboratory's grader as its job shows it."""
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key) as client:
        job = client.fine_tuning.jobs.with_raw_response.retrieve(lab.reinforcement).http_response.json()
    found: dict[str, Any] = job["method"]["reinforcement"]["grader"]
    return found


def editor(page: Page, kind: str = "JSON") -> Locator:
    return page.get_by_label(f"Grader as {kind}", exact=True)


def problems(page: Page) -> Locator:
    return page.get_by_role("list", name="Problems of the grader").get_by_role("listitem")


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_variable_that_no_row_has_is_shown_at_its_line(form: Open, grader: dict[str, Any]) -> None:
    page = form("json")
    grader["graders"]["compliant"]["reference"] = "{{item.complaint}}"
    text = json.dumps(grader, indent=2)
    editor(page).fill(text)
    expect(problems(page)).to_have_count(1)
    expect(problems(page)).to_contain_text(f"Line {line_of(text, '{{item.complaint}}')}, graders.compliant.reference")
    expect(problems(page)).to_contain_text("did you mean compliant?")
    mark = page.locator(".cm-lintRange-error")
    expect(mark).to_have_text("{{item.complaint}}")
    expect(page.get_by_role("button", name="answer, and grade")).to_be_disabled()
    problems(page).get_by_role("button").click()
    page.keyboard.type("x")
    expect(editor(page)).to_contain_text("x{{item.complaint}}")


def test_what_the_server_finds_is_shown_at_its_line(form: Open, grader: dict[str, Any]) -> None:
    page = form("json")
    grader["graders"]["explanation"]["input"] = 'First "line"\nand {{sampel.output_text}}'
    text = json.dumps(grader, indent=2)
    editor(page).fill(text)
    expect(problems(page)).to_have_count(1)
    expect(problems(page)).to_contain_text(f"Line {line_of(text, 'sampel')}, line 2 of graders.explanation.input")
    expect(problems(page)).to_contain_text('unknown namespace "sampel"')
    # The mark begins where the template's mistake does, behind an escaped quote and an escaped line break.
    expect(page.locator(".cm-lintRange-error")).to_have_text("{")
    grader["graders"]["explanation"]["refernce"] = grader["graders"]["explanation"].pop("reference")
    text = json.dumps(grader, indent=2)
    editor(page).fill(text)
    expect(problems(page)).to_have_count(2)
    expect(problems(page).first).to_contain_text(f"Line {line_of(text, 'refernce')}, graders.explanation.refernce")


def test_a_text_that_is_no_json_says_where(form: Open) -> None:
    page = form("json")
    editor(page).fill('{\n  "type": "string_check",\n  "input": "a"\n  "reference": "b"\n}')
    expect(problems(page)).to_contain_text("Line 4")
    expect(problems(page)).to_contain_text("expected , or }")
    page.get_by_role("button", name="Form", exact=True).first.click()
    expect(page.get_by_role("heading", name="The JSON has a mistake")).to_be_visible()


def test_python_that_does_not_compile_is_shown_at_its_line(form: Open, lab: Lab) -> None:
    page = form("python", lab.failed)
    editor(page, "Python").fill("import math\n\ndef grade(sample, item)\n    return 1\n")
    expect(problems(page)).to_contain_text("line 3 of source")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    editor(page, "Python").fill("import math\n\ndef grade(sample, item):\n    return 1\n")
    expect(page.locator("[data-grader=good]")).to_be_visible()


def test_fast_typing_is_kept_letter_by_letter_and_keys_are_completed(form: Open, lab: Lab) -> None:
    page = form("python", lab.failed)
    box = editor(page, "Python")
    box.press("Control+a")
    box.press("Delete")
    source = "def grade(sample, item): # the quick brown fox jumps over the lazy dog"
    page.keyboard.type(source)
    expect(box).to_have_text(source)
    page.keyboard.press("Enter")
    page.keyboard.type("return item['compl")
    page.locator(".cm-tooltip-autocomplete").get_by_text("compliant").click()
    expect(box).to_contain_text("return item['compliant']")


def test_the_form_and_the_json_are_one_grader(form: Open, grader: dict[str, Any]) -> None:
    page = form("form")
    part = page.get_by_role("group", name="Grader compliant")
    part.get_by_label("Operation").select_option("ilike")
    page.get_by_label("Calculate output").fill("compliant * explanation")
    page.get_by_role("button", name="Add a part").click()
    added = page.get_by_role("group", name="Grader part_3")
    added.get_by_label("Reference").fill("")
    added.get_by_label("Insert a variable").nth(1).select_option("item.explanation")
    grader["graders"]["compliant"]["operation"] = "ilike"
    grader["calculate_output"] = "compliant * explanation"
    page.get_by_role("group", name="Show as").get_by_role("button", name="JSON").click()
    shown = page.get_by_role("group", name="This job as JSON").locator("code")
    expect(shown).to_contain_text("{{item.explanation}}")
    sent = json.loads(shown.inner_text())["method"]["reinforcement"]["grader"]
    assert sent["graders"].pop("part_3")["reference"] == "{{item.explanation}}"
    assert sent == grader


def test_the_base_model_answers_sample_rows_and_every_grade_is_shown_whole(
    form: Open, lab: Lab, lab_server: PlatformServer
) -> None:
    page = form("python", lab.failed)
    source = (
        "def grade(sample, item):\n"
        "    if 'camera' in item['messages'][0]['content']:\n"
        "        raise ValueError('no cameras')\n"
        "    return len(sample['output_text']) / 1000\n"
    )
    editor(page, "Python").fill(source)
    page.get_by_role("button", name="Let openrft-tiny answer, and grade").click()
    expect(page.locator('[data-graded="4"]')).to_be_visible(timeout=60_000)
    rows = page.get_by_role("region", name="Graded sample rows").locator("tbody tr")
    expect(rows).to_have_count(4)
    # Line 1 of the file is about a camera: its failure is told with its traceback, and no 0 is claimed.
    expect(rows.nth(0)).to_contain_text("python grader runtime error")
    expect(rows.nth(0)).to_contain_text("ValueError: no cameras")
    expect(rows.nth(0).locator("s")).to_have_text("0.000")
    rewards = [float(rows.nth(place).locator("[data-reward]").get_attribute("data-reward") or 0) for place in (1, 2, 3)]
    failed = f"4 of 4 graded, 1 of them failed, mean reward of the others {sum(rewards) / 3:.3f}"
    expect(page.locator("[data-graded]")).to_contain_text(failed)
    answer = rows.nth(1).get_by_role("textbox").input_value()
    assert answer
    expect(rows.nth(1).locator("[data-reward]")).to_have_attribute("data-reward", str(len(answer) / 1000))
    rows.nth(1).get_by_role("textbox").fill("x" * 250)
    page.get_by_role("button", name="Grade again").click()
    expect(rows.nth(1).locator("[data-reward]")).to_have_attribute("data-reward", "0.25")


def test_every_type_begins_as_a_grader_that_the_server_takes(form: Open) -> None:
    page = form("json")
    start = page.get_by_label("Start from")
    for kind in ("string_check", "text_similarity", "python", "endpoint", "multi", "random"):
        start.select_option(kind)
        expect(editor(page)).to_contain_text(f'"type": "{kind}"')
        expect(page.locator("[data-grader=good]")).to_be_visible()
    start.select_option("score_model")
    expect(problems(page).first).to_contain_text("model")  # which server judges is for a person to say


def test_a_hostile_grader_does_nothing_to_the_page(form: Open) -> None:
    page = form("json")
    name = "<img src=x onerror=alert(1)>\u202e"
    editor(page).fill(json.dumps({**wire_jobs.GRADER, "name": name, "input": "{{item.\u202ex<b>}}"}))
    expect(problems(page).first).to_contain_text("⟨U+202E⟩")
    assert page.locator("main img").count() == 0
