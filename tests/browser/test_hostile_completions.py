"""What a model, a grader or a user wrote is text on every page: it makes nothing happen and hides nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from playwright.sync_api import Dialog, Page, expect

from openrft.store import Store
from openrft.store.rows import Lease, Project
from wire_jobs import GRADER, body, method, record_step, rollout_row, run_by_hand

MARKUP = (
    "<script>window.harmed = 1</script><img src='http://outside.invalid/x.png' onerror='window.harmed = 2'>"
    "</pre></textarea><iframe src='http://outside.invalid/'></iframe><svg onload='window.harmed = 3'></svg>"
    "<a href='javascript:window.harmed = 4'>here</a><style>*{display:none}</style>"
)
UNSEEN = "\x1b[31mred\x1b[0m \x00 \x07 \x9b2J \u202egnp.exe\u202c \u2066isolated\u2069 \u200bnothing"
NAMES = (
    "⟨ESC⟩[31mred",
    "⟨NUL⟩",
    "⟨U+0007⟩",
    "⟨U+009B⟩2J",
    "⟨U+202E⟩gnp.exe⟨U+202C⟩",
    "⟨U+2066⟩isolated",
    "⟨U+200B⟩nothing",
)
ALONE = "alone \ud800 and \udc00 end"
RIGHT_TO_LEFT = "שלום עולם، مرحبا"
MEGABYTE = "A" * 1_000_000
OUTPUTS = [MARKUP, UNSEEN, ALONE, RIGHT_TO_LEFT, MEGABYTE, "<think>" * 50_000, "</think>" + MARKUP, "\n" * 50_000]


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A job whose every text is meant to do harm."""
    row = {"messages": [{"role": "user", "content": MARKUP}], "answer": "1"}
    file = client.files.create(
        file=(f"{MARKUP[:60]}.jsonl", io.BytesIO((json.dumps(row) + "\n").encode())), purpose="fine-tune"
    )
    asked = body(
        client, training_file=file.id, metadata={"note": MARKUP[:500], "unseen": UNSEEN.replace("\x00", "")},
        method=method(grader={**GRADER, "name": MARKUP[:60]}),
    )  # fmt: skip
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**asked).id)
    rows = []
    for number, output in enumerate(OUTPUTS):
        short = output[:2_000]
        failed = {"kind": MARKUP, "message": short}
        part = {
            "grader": short, "score": None, "error": failed, "replaced": None, "explanation": "", "printed": short,
            "seconds": 0, "usage": {MARKUP: {"prompt_tokens": 1, "completion_tokens": 1}}, "unparsed": True,
            "sub_grades": {},
        }  # fmt: skip
        rows.append(
            rollout_row(
                1, number, example=f"example-{number}", sample=0, output=output, answer=output[:100] + "!",
                grader=short, explanation=output, printed=output, sub_grades={short[:300]: part}, finish_reason=MARKUP,
                prompt=[
                    {"role": MARKUP, "content": output},
                    {"role": "user", "content": [{"type": "text", "text": short}]},
                ],
            )
        )  # fmt: skip
    record_step(store, lease, 1, rows)
    return lease


@pytest.fixture
def watched(window: Page, server: Any, lease: Lease) -> Iterator[Page]:
    """A page at which nothing may happen."""
    asked: list[str] = []
    said: list[str] = []
    window.on("request", lambda request: asked.append(request.url))

    def refuse(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    window.on("dialog", refuse)
    yield window
    assert [one for one in asked if not one.startswith((server.url, "about:"))] == []
    assert said == []


def is_harmless(page: Page) -> None:
    """Nothing of what was written has become more than text."""
    assert page.evaluate("window.harmed") is None
    made = "#app :is(script, img, iframe, object, embed, style, link, base, [onerror], [onload], a[href^='javascript'])"
    expect(page.locator(made)).to_have_count(0)


def test_every_page_shows_hostile_texts_as_texts(watched: Page, server: Any, lease: Lease) -> None:
    job = f"{server.url}/finetune/{lease.job_id}"
    for address in (
        f"{job}/rollouts?step=1&group=0", f"{job}/rollouts?view=run&sort=oldest", f"{job}/rollouts/rollout_1_0",
        f"{job}/rollouts/rollout_1_0?render=raw&table=true", f"{job}/rollouts?example=example-0",
    ):  # fmt: skip
        watched.goto(address)
        expect(watched.get_by_text("<script>window.harmed = 1</script>").first).to_be_visible()
        is_harmless(watched)
    for address in (
        f"{job}/dataset",
        f"{job}/rollouts?view=left_out",
        job,
        f"{job}/settings",
        f"{server.url}/finetune",
        f"{server.url}/files",
    ):
        watched.goto(address)
        expect(watched.get_by_role("heading", level=1).first).to_be_visible()
        expect(watched.get_by_role("status").filter(has_text="Loading")).to_have_count(0)
        is_harmless(watched)


def test_characters_that_are_not_seen_are_shown_by_their_names(watched: Page, server: Any, lease: Lease) -> None:
    job = f"{server.url}/finetune/{lease.job_id}"
    watched.goto(f"{job}/rollouts/rollout_1_1")
    for label in ("Output", "Printed", "Explanation", "Error"):
        shown = watched.get_by_role("group", name=label).first
        for name in NAMES:
            expect(shown).to_contain_text(name)
    text = watched.locator("#app").text_content() or ""
    assert not set(text) & set("\x1b\x00\x07\x9b\u202e\u202c\u2066\u2069\u200b")
    watched.goto(f"{job}/rollouts/rollout_1_2")
    expect(watched.get_by_role("group", name="Output")).to_have_text("alone � and � end")  # halves cannot be sent
    watched.goto(f"{job}/rollouts?view=run&search=red")
    expect(watched.locator("[data-item=rollout_1_1] mark").first).to_have_text("red")
    is_harmless(watched)


def test_text_from_right_to_left_stays_in_its_place(watched: Page, server: Any, lease: Lease) -> None:
    watched.goto(f"{server.url}/finetune/{lease.job_id}/rollouts/rollout_1_3")
    output = watched.get_by_role("group", name="Output")
    expect(output).to_have_text(RIGHT_TO_LEFT)
    assert output.evaluate("one => getComputedStyle(one).direction") == "rtl"
    assert watched.get_by_role("heading", name="Output").evaluate("one => getComputedStyle(one).direction") == "ltr"


def test_a_megabyte_is_cut_and_the_rest_is_there_when_asked_for(watched: Page, server: Any, lease: Lease) -> None:
    watched.goto(f"{server.url}/finetune/{lease.job_id}/rollouts/rollout_1_4")
    output = watched.get_by_role("group", name="Output")
    expect(output.locator("pre")).to_have_text("A" * 8_000)
    assert len(watched.locator("#app").text_content() or "") < 60_000
    output.get_by_role("button", name="992,000 characters are not shown").click()
    expect(output.locator("pre")).to_have_text("A" * 108_000)
    assert watched.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_marks_of_thoughts_without_end_make_no_page_of_folds(watched: Page, server: Any, lease: Lease) -> None:
    job = f"{server.url}/finetune/{lease.job_id}"
    watched.goto(f"{job}/rollouts/rollout_1_5")
    expect(watched.get_by_role("heading", name="Output")).to_be_visible()
    assert watched.locator("details").count() < 40
    watched.goto(f"{job}/rollouts/rollout_1_6")
    expect(watched.get_by_role("group", name="Output")).to_contain_text("<script>window.harmed = 1</script>")
    is_harmless(watched)
