"""The tokens of a rollout: their texts, how likely each was, how each was pushed."""

from __future__ import annotations

import math
import re
from typing import Any

import openai
import pytest
from playwright.sync_api import Page, expect

from browser.laboratory import Lab
from openrft.store import Store
from openrft.store.rows import Project
from platform_server import PlatformServer
from wire_jobs import body, record_step, rollout_row, run_by_hand


@pytest.fixture
def rollout(lab: Lab, lab_server: PlatformServer) -> dict[str, Any]:
    """A rollout of several lines that trained."""
    with openai.OpenAI(base_url=lab_server.base_url, api_key=lab_server.api_key) as client:
        path = f"/fine_tuning/jobs/{lab.reinforcement}/rollouts"
        page: Any = client.get(f"{path}?sort=longest&left_out=none&limit=1", cast_to=object)
        found: Any = client.get(f"{path}/{page['data'][0]['id']}", cast_to=object)
    assert "".join(found["token_texts"]) == found["output"] and "\n" in found["output"]
    return dict(found)


@pytest.fixture
def shown(lab_window: Page, lab: Lab, lab_server: PlatformServer, rollout: dict[str, Any]) -> Page:
    """Its page."""
    url = lab_server.base_url.removesuffix("/v1")
    lab_window.goto(f"{url}/finetune/{lab.reinforcement}/rollouts/{rollout['id']}")
    return lab_window


def test_tokens_show_the_text_and_the_numbers_of_the_api(shown: Page, rollout: dict[str, Any]) -> None:
    tokens = shown.locator(".tokens [data-place]")
    expect(tokens).to_have_count(len(rollout["token_ids"]))
    texts = [
        text.replace(" ", "·").replace("\n", "⏎") or f"⟨{number}⟩"
        for text, number in zip(rollout["token_texts"], rollout["token_ids"], strict=True)
    ]
    assert [one.strip() for one in tokens.all_text_contents()] == texts
    facts = shown.locator("#token-facts")
    unlikely = min(range(len(texts)), key=lambda place: float(rollout["sampling_logprobs"][place]))
    tokens.nth(unlikely).hover()
    expect(facts).to_contain_text(f"Token {unlikely + 1}")
    expect(facts).to_contain_text(f"id {rollout['token_ids'][unlikely]}")
    logprob = rollout["sampling_logprobs"][unlikely]
    expect(facts).to_contain_text(f"log-probability −{abs(float(f'{logprob:.4g}')):g}")
    expect(facts).to_contain_text(f"probability {100 * math.exp(logprob):.{1 if logprob < math.log(0.1) else 0}f} %")
    shown.get_by_role("application", name="Tokens").focus()
    shown.keyboard.press("Home")
    shown.keyboard.press("ArrowRight")
    expect(facts).to_contain_text("Token 2")


def test_the_legend_counts_tokens_by_probability_and_by_advantage(shown: Page, rollout: dict[str, Any]) -> None:
    legend = shown.get_by_role("group", name="Legend")
    probabilities = [math.exp(one) for one in rollout["sampling_logprobs"]]
    expect(legend).to_contain_text(f"90 % or more ({sum(one >= 0.9 for one in probabilities)})")
    expect(legend).to_contain_text(f"50–90 % ({sum(0.5 <= one < 0.9 for one in probabilities)})")
    shown.get_by_label("Colour by").select_option("advantage")
    expect(shown).to_have_url(re.compile("colour=advantage"))
    expect(legend).to_contain_text(f"({len(probabilities)})")  # one advantage for all of them
    shown.reload()
    expect(shown.get_by_label("Colour by")).to_have_value("advantage")


def test_the_table_has_every_token(shown: Page, rollout: dict[str, Any]) -> None:
    shown.get_by_role("button", name="As table").click()
    rows = shown.get_by_role("table", name="Tokens").locator("tbody tr")
    expect(rows).to_have_count(len(rollout["token_ids"]))
    expect(rows.nth(1)).to_contain_text(str(rollout["token_ids"][1]))
    expect(rows.nth(1)).to_contain_text("yes")


def test_tokens_without_a_known_text_are_ids_and_what_did_not_train_is_marked(
    window: Page, server: Any, client: openai.OpenAI, store: Store, project: Project
) -> None:
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    numbers = list(range(3_000))
    changes = {"token_ids": numbers, "sampling_logprobs": [-0.5] * 3_000, "left_out": "no_signal"}
    record_step(store, lease, 1, [rollout_row(1, 0, **changes)])
    window.goto(f"{server.url}/finetune/{lease.job_id}/rollouts/rollout_1_0")
    tokens = window.locator(".tokens [data-place]")
    expect(tokens).to_have_count(2_000)
    expect(tokens.nth(7)).to_have_text("⟨7⟩")
    expect(tokens.nth(7)).to_have_class(re.compile("masked"))
    expect(window.get_by_text("It did not train.")).to_be_visible()
    expect(window.get_by_role("group", name="Legend")).to_contain_text("did not train (3,000)")
    window.get_by_role("button", name="Show the rest (1,000 tokens are not shown)").click()
    expect(tokens).to_have_count(3_000)
