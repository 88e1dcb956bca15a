"""A browser's way in: login links, the cookie, and what is asked with it, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from app_server import Server
from openrft.api.access import HEADER
from openrft.api.app import create_app
from openrft.api.first_key import ensure_first_key
from openrft.api.platform import Platform
from openrft.api.session import CODE_SECONDS, Codes, login_link, make_code
from openrft.config.settings import Settings
from openrft.errors import Unauthorized
from openrft.store import Store
from openrft.store.rows import Project

OURS = {HEADER: "1"}


@pytest.fixture
def first_key(store: Store, tmp_path: Path) -> str:
    ensure_first_key(store, tmp_path)
    return (tmp_path / "api-key").read_text().strip()


@pytest.fixture
def browser(server: Server) -> Iterator[httpx2.Client]:
    """Somebody who keeps cookies and has no key."""
    with httpx2.Client(base_url=server.url) as client:
        yield client


@pytest.fixture
def log_in(browser: httpx2.Client) -> Callable[[str], None]:
    def enter(key: str) -> None:
        assert browser.post("/session", json={"key": key}, headers=OURS).status_code == 200

    return enter


def test_a_login_link_opens_once_and_what_is_asked_afterwards_is_asked_with_the_first_key(
    browser: httpx2.Client, first_key: str
) -> None:
    assert browser.get("/session").status_code == 401
    code = login_link("http://127.0.0.1:1", first_key).partition("#")[2]
    opened = browser.post("/session", json={"code": code}, headers=OURS)
    assert opened.status_code == 200
    assert opened.json()["key"]["hint"] == first_key[-4:] and opened.json()["key"]["scope"] == "admin"
    assert browser.get("/session").json() == opened.json()
    assert browser.get("/v1/files").json()["data"] == []
    again = browser.post("/session", json={"code": code}, headers=OURS)
    assert again.status_code == 401 and "used already" in again.json()["error"]["message"]


@pytest.mark.parametrize("code", ["", "x", "1.2.3", "9999999999.nonce.", "9999999999.nonce." + "0" * 64, "é.ü.ö"])
def test_a_forged_code_opens_nothing(browser: httpx2.Client, first_key: str, code: str) -> None:
    answer = browser.post("/session", json={"code": code}, headers=OURS)
    assert answer.status_code == 401
    assert "openrft dashboard" in answer.json()["error"]["message"]
    assert browser.cookies.jar is not None and not list(browser.cookies.jar)


def test_a_code_of_another_server_or_with_another_time_is_refused(browser: httpx2.Client, first_key: str) -> None:
    mine = make_code(first_key)
    expires, rest = mine.split(".", 1)
    for code in (make_code("sk-another"), f"{int(expires) + 1}.{rest}"):
        assert browser.post("/session", json={"code": code}, headers=OURS).status_code == 401


def test_a_code_is_good_for_an_hour_and_a_second_one_for_itself() -> None:
    codes = Codes(started=1000.0)
    early, late = make_code("sk-first", now=1000.0), make_code("sk-first", now=1000.0)
    codes.redeem(early, "sk-first", now=1000.0 + CODE_SECONDS)
    with pytest.raises(Unauthorized, match="expired"):
        codes.redeem(late, "sk-first", now=1001.0 + CODE_SECONDS)
    with pytest.raises(Unauthorized, match="expired"):  # and a used one is not good again once it is forgotten
        codes.redeem(early, "sk-first", now=1001.0 + CODE_SECONDS)
    with pytest.raises(Unauthorized, match="started after"):  # whether it was used nobody knows any more
        Codes(started=1001.0).redeem(late, "sk-first", now=1002.0)


def test_no_script_and_no_other_site_gets_at_the_cookie(
    browser: httpx2.Client, server: Server, key: str, platform: Platform
) -> None:
    answer = browser.post("/session", json={"key": key}, headers=OURS)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert "; secure" not in cookie  # over http a browser would drop it


def test_servers_of_one_machine_have_a_cookie_each(
    store: Store, tmp_path: Path, serve: Callable[..., Server], key: str
) -> None:
    servers = [
        serve(create_app(Platform(store=store, settings=Settings(), home=tmp_path, address=f"http://127.0.0.1:{port}")))
        for port in (1, 2)
    ]
    names = set()
    for one in servers:
        answer = httpx2.post(f"{one.url}/session", json={"key": key}, headers=OURS)
        names.add(answer.headers["set-cookie"].partition("=")[0])
    assert names == {"openrft_1", "openrft_2"}


def test_what_changes_something_with_the_cookie_alone_carries_the_header(
    browser: httpx2.Client, log_in: Callable[[str], None], key: str
) -> None:
    assert browser.post("/session", json={"key": key}).status_code == 400
    log_in(key)
    for method, path in (("POST", "/v1/evals"), ("DELETE", "/v1/files/file-x"), ("DELETE", "/session")):
        answer = browser.request(method, path)
        assert answer.status_code in (400, 401) and HEADER in answer.json()["error"]["message"]
    assert browser.get("/v1/files").status_code == 200
    assert browser.delete("/v1/files/file-x", headers=OURS).status_code == 404


def test_pages_of_another_origin_are_refused_whatever_they_carry(
    browser: httpx2.Client, log_in: Callable[[str], None], key: str
) -> None:
    log_in(key)
    for path, body in (("/session", {"key": key}), ("/v1/webhooks", {"url": "https://example.com"})):
        answer = browser.post(path, json=body, headers={**OURS, "Origin": "https://evil.example"})
        assert answer.status_code == 403
    assert browser.get("/v1/files", headers={"Origin": "https://evil.example"}).status_code == 403


def test_the_cookie_of_a_revoked_key_opens_nothing_any_more(
    browser: httpx2.Client, log_in: Callable[[str], None], store: Store, project: Project
) -> None:
    made, plain = store.projects.create_key(project.id, "browser", scope="write")
    log_in(plain)
    assert browser.get("/v1/files").status_code == 200
    store.projects.revoke_key(project.id, made.id)
    assert browser.get("/v1/files").status_code == browser.get("/session").status_code == 401


def test_a_key_in_a_header_wins_over_the_cookie(
    browser: httpx2.Client, log_in: Callable[[str], None], key: str, other_key: str, other_project: Project
) -> None:
    log_in(key)
    asked = browser.get("/session", headers={"Authorization": f"Bearer {other_key}"})
    assert asked.json()["project_id"] == other_project.id
    assert browser.get("/session", headers={"Authorization": "Bearer wrong"}).status_code == 401
    # Programs that send a key need no header of ours, whatever cookies they keep.
    headers = {"Authorization": f"Bearer {other_key}"}
    assert browser.delete("/v1/files/file-x", headers=headers).status_code == 404


def test_logging_out_forgets_the_key(browser: httpx2.Client, log_in: Callable[[str], None], key: str) -> None:
    log_in(key)
    assert browser.delete("/session", headers=OURS).status_code == 204
    assert browser.get("/v1/files").status_code == 401


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"key": 1}', b'{"key": "a", "code": "b"}', b'{"a": "b"}'])
def test_a_body_that_is_neither_a_code_nor_a_key_is_refused(browser: httpx2.Client, body: bytes) -> None:
    answer = browser.post("/session", content=body, headers=OURS)
    assert answer.status_code == 400
    assert '{"code"' in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 1990, b'{"key": "' + b"x" * 3000 + b'"}'])
def test_a_body_that_is_no_json_or_far_too_long_is_a_400(browser: httpx2.Client, body: bytes) -> None:
    assert browser.post("/session", content=body, headers=OURS).status_code == 400


def test_a_body_is_not_waited_for_beyond_what_it_may_have_though_nobodys_key_is_known(server: Server) -> None:
    head = f"POST /session HTTP/1.1\r\nHost: localhost\r\n{HEADER}: 1\r\nContent-Length: 5000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + b"x" * 3000)  # and no more: an answer must not need the rest
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_a_wrong_key_is_refused_and_sets_no_cookie(browser: httpx2.Client) -> None:
    answer = browser.post("/session", json={"key": "sk-" + "x" * 48}, headers=OURS)
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
