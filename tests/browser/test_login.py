"""The way in and out: links, keys, and what becomes of what was in the address."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from app_server import Server
from openrft.api.session import login_link
from openrft.store import Store
from openrft.store.rows import Project

REFUSED = "401 (Unauthorized)"


def test_a_link_leads_to_the_list_and_leaves_no_code_behind(server: Server, first_key: str, page: Page) -> None:
    page.goto("about:blank")
    page.goto(login_link(server.url, first_key))
    page.wait_for_url(f"{server.url}/finetune")
    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
    page.go_back()  # and not to the code, which would be refused
    assert page.url == "about:blank"
    [cookie] = [one for one in page.context.cookies() if one["name"].startswith("openrft_")]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    page.goto(f"{server.url}/finetune")
    assert page.evaluate("document.cookie") == ""


def test_a_used_link_is_told_and_a_fresh_one_in_the_same_tab_still_opens(
    server: Server, first_key: str, page: Page
) -> None:
    page.expected.append(REFUSED)  # type: ignore[attr-defined]
    used = login_link(server.url, first_key)
    page.goto(used)
    page.wait_for_url(f"{server.url}/finetune")
    page.goto(used)
    expect(page.get_by_role("alert")).to_contain_text("used already; make a new one: openrft dashboard")
    assert page.url == f"{server.url}/login"
    page.goto(login_link(server.url, first_key))  # differs in what is behind # only: nothing is loaded anew
    page.wait_for_url(f"{server.url}/finetune")


def test_with_a_key_one_comes_to_where_one_wanted_to_go(server: Server, first_key: str, page: Page) -> None:
    page.expected.append(REFUSED)  # type: ignore[attr-defined]
    page.goto(f"{server.url}/usage?days=7")
    page.wait_for_url(re.compile(r"/login\?next="))
    field = page.get_by_label("API key")
    expect(field).to_have_attribute("type", "password")
    expect(page.get_by_text("openrft dashboard", exact=True)).to_be_visible()
    field.fill("sk-openrft-wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    field.fill(f" {first_key}\n")
    field.press("Enter")
    page.wait_for_url(f"{server.url}/usage?days=7")
    expect(page.get_by_role("combobox", name="The last", exact=True)).to_have_value("7")


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/.//evil.example/",
        "/a/..//evil.example/",
        "/login/",
        "javascript:alert(1)",
        "/login?next=/login",
        "",
    ],
)
def test_an_address_that_leads_elsewhere_is_not_followed(
    server: Server, first_key: str, page: Page, wanted: str
) -> None:
    page.goto(f"{server.url}/login?next={quote(wanted, safe='')}#{login_link('', first_key).partition('#')[2]}")
    page.wait_for_url(f"{server.url}/finetune")


def test_logging_out_closes_the_door_for_the_whole_browser(window: Page, server: Server) -> None:
    window.expected.append(REFUSED)  # type: ignore[attr-defined]
    window.get_by_role("navigation", name="Pages").get_by_role("link", name="Keys").click()
    window.get_by_role("button", name="Log out").click()
    window.wait_for_url(f"{server.url}/login")
    assert [one for one in window.context.cookies() if one["name"].startswith("openrft_")] == []
    window.goto(f"{server.url}/finetune")
    window.wait_for_url(re.compile(r"/login\?next=%2Ffinetune"))


def test_a_key_that_is_revoked_while_a_page_is_shown_leads_to_the_login(
    server: Server, store: Store, project: Project, page: Page
) -> None:
    page.expected.append(REFUSED)  # type: ignore[attr-defined]
    made, plain = store.projects.create_key(project.id, "browser", scope="read")
    page.goto(f"{server.url}/login")
    page.get_by_label("API key").fill(plain)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{server.url}/finetune")
    store.projects.revoke_key(project.id, made.id)
    page.wait_for_url(re.compile(r"/login\?next="))  # the list is asked for every two seconds
