"""Who one is, projects, keys and webhooks."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest
from playwright.sync_api import Page, expect

from app_server import Server
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import body


def test_a_key_is_shown_once_works_and_is_revoked(window: Page, server: Server, first_key: str) -> None:
    window.goto(f"{server.url}/keys")
    me = window.get_by_role("region", name="This browser")
    expect(me).to_contain_text(f"first key sk-…{first_key[-4:]}")
    expect(me).to_contain_text("admin")
    window.get_by_label("New key").fill("ci")
    window.get_by_role("combobox", name="Scope", exact=True).select_option("read")
    window.get_by_role("button", name="Make the key").click()
    plain = window.locator("code.secret").inner_text()
    with openai.OpenAI(base_url=server.base_url, api_key=plain, max_retries=0) as made:
        made.files.list()
        with pytest.raises(openai.APIStatusError):
            made.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")
        row = window.get_by_role("row").filter(has=window.get_by_role("rowheader", name="ci", exact=True))
        expect(row).to_contain_text("read")
        window.reload()
        expect(row).to_be_visible()
        expect(window.locator("code.secret")).to_have_count(0)
        assert plain not in window.content()
        window.get_by_role("button", name="Revoke ci").click()
        window.get_by_role("button", name="Yes").click()
        expect(row).to_have_count(0)
        with pytest.raises(openai.AuthenticationError):
            made.files.list()
    expect(window.get_by_role("row").filter(has_text="this browser's")).to_have_count(1)


def test_a_project_is_made_and_its_keys_open_it_alone(window: Page, server: Server, store: Store) -> None:
    window.goto(f"{server.url}/keys")
    window.get_by_label("New project").fill("team")
    window.get_by_role("button", name="Make the project").click()
    expect(window.get_by_role("combobox", name="Project", exact=True).locator("option:checked")).to_have_text("team")
    expect(window.get_by_text("This project has no key yet")).to_be_visible()
    window.get_by_label("New key").fill("laptop")
    window.get_by_label("New key").press("Enter")
    plain = window.locator("code.secret").inner_text()
    key = store.projects.authenticate(plain)
    assert (key.scope, store.projects.get(key.project_id).name) == ("write", "team")
    window.get_by_role("button", name="I have it").click()
    expect(window.locator("code.secret")).to_have_count(0)


@pytest.mark.parametrize(("scope", "may_write"), [("read", False), ("write", True)])
def test_who_is_no_admin_is_told_what_the_key_may_do(
    server: Server, store: Store, project: Project, login_with: Callable[[str], Page], scope: str, may_write: bool
) -> None:
    page = login_with(store.projects.create_key(project.id, "mine", scope=scope)[1])  # type: ignore[arg-type]
    page.goto(f"{server.url}/keys")
    me = page.get_by_role("region", name="This browser")
    expect(me).to_contain_text("see everything of its project")
    expect(me).to_contain_text("openrft keys create")
    expect(me.get_by_text("create and stop jobs")).to_have_count(int(may_write))
    expect(page.get_by_role("region", name="Webhooks")).to_contain_text("None.")
    expect(page.get_by_label("New address")).to_have_count(int(may_write))
    expect(page.get_by_label("New key")).to_have_count(0)


def test_a_key_that_may_only_read_is_not_offered_more(
    server: Server, store: Store, project: Project, client: openai.OpenAI, login_with: Callable[[str], Page]
) -> None:
    job = client.fine_tuning.jobs.create(**body(client, suffix="theirs"))
    grader = {"type": "string_check", "name": "exact", "input": "", "reference": "", "operation": "eq"}
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": {}},
        testing_criteria=[grader],  # type: ignore[list-item]
    )
    run = store.eval_runs.create(project.id, made.id, {"type": "jsonl"}, name="running", model=None)
    page = login_with(store.projects.create_key(project.id, "reader", scope="read")[1])
    expect(page.get_by_role("link", name="theirs")).to_be_visible()
    expect(page.get_by_role("link", name="New job")).to_have_count(0)
    page.goto(f"{server.url}/finetune/{job.id}")
    expect(page.get_by_role("heading", name="theirs")).to_be_visible()
    for name in ("Pause", "Cancel"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.goto(f"{server.url}/files")
    expect(page.get_by_role("link", name="Download rows.jsonl").first).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    expect(page.get_by_label("Drop files here")).to_have_count(0)
    page.goto(f"{server.url}/evals/{made.id}")
    expect(page.get_by_role("link", name=str(run.name))).to_be_visible()
    for name in ("Delete", "Cancel"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    for address in ("finetune/new", "playground"):
        page.goto(f"{server.url}/{address}")
        expect(page.get_by_text("The key of this browser may only read")).to_be_visible()
    expect(page.get_by_role("button", name="Ask")).to_be_disabled()
    # Who logs in with another key is offered what that one may do, without a reload.
    page.evaluate("history.pushState(null, '', '/login'); dispatchEvent(new PopStateEvent('popstate'))")
    page.get_by_label("API key").fill(store.projects.create_key(project.id, "writer", scope="write")[1])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="New job")).to_be_visible()


def test_an_address_is_told_of_ends_until_it_is_taken_away(window: Page, server: Server) -> None:
    window.expected.append("400")  # type: ignore[attr-defined]
    window.goto(f"{server.url}/keys")
    window.get_by_label("New address").fill("ftp://example.com/hook")
    window.get_by_role("button", name="Add the address").click()
    expect(window.get_by_role("alert")).to_contain_text("url")
    window.get_by_label("New address").fill("https://example.com/hook")
    window.get_by_role("button", name="Add the address").click()
    expect(window.locator("code.secret")).to_contain_text("whsec_")
    hooks = window.get_by_role("table", name="Webhooks")
    expect(hooks).to_contain_text("https://example.com/hook")
    hooks.get_by_role("button", name="Deliveries").click()
    expect(window.get_by_role("dialog")).to_contain_text("Nothing has ended since it was made.")
    window.keyboard.press("Escape")
    hooks.get_by_role("button", name="Delete").click()
    window.get_by_role("button", name="Yes").click()
    expect(hooks).to_have_count(0)
