"""What never reaches a route, and what every answer carries."""

import gzip
import json
import socket
import time

import pytest
from fastapi import FastAPI

from openrft.api.app import create_app
from openrft.api.bodies import MOST_JSON_BYTES
from openrft.api.guard import Guard, Hosts
from openrft.api.measures import Measures
from openrft.api.observed import Observed
from openrft.api.platform import Platform
from openrft.config.settings import ServerSettings, Settings
from openrft.errors import Forbidden

RUN = "/v1/fine_tuning/alpha/graders/run"


def error_of(answer):
    """The envelope's inside, after a look at its form."""
    plain = answer.json()
    assert set(plain) == {"error"}
    assert {"message", "type", "param", "code"} <= set(plain["error"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert "Traceback" not in answer.text
    return plain["error"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.7", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "OPTIONS"])
def test_a_foreign_name_is_not_answered_with_any_method(http, host, method):
    """DNS rebinding."""
    for path in ("/v1/files", "/health", "/ready"):
        answer = http.request(method, path, headers={"Host": host})
        assert answer.status_code == 403, f"{method} {path} as {host}"
        assert error_of(answer)["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.1.2.3:80", "[::1]:8000", "a.localhost"]
)
def test_names_of_this_machine_are_answered(http, host):
    assert http.get("/v1/files", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("listened", "allowed", "host", "is_fine"),
    [
        ("0.0.0.0", [], "192.168.1.5:8000", True),
        ("0.0.0.0", [], "evil.example", False),
        ("0.0.0.0", ["gpu.lab"], "GPU.lab:8000", True),
        ("::", [], "[fd00::1]:8000", True),
        ("192.168.1.5", [], "192.168.1.5:8000", True),
        ("192.168.1.5", [], "192.168.1.6:8000", False),
        ("gpu.lab", [], "gpu.lab.", True),
        ("127.0.0.1", ["api.example.com:443"], "api.example.com", True),
        ("127.0.0.1", [""], "", False),
    ],
)
def test_the_operator_says_by_which_names_a_server_is_asked(listened, allowed, host, is_fine):
    hosts = Hosts(listened, allowed)
    if is_fine:
        hosts.check([host])
    else:
        with pytest.raises(Forbidden):
            hosts.check([host])


def test_one_host_exactly(server):
    for lines in (b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n" + lines + b"\r\n")
            assert connection.makefile("rb").readline().split()[1] in (b"400", b"403")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_is_not_answered_with_any_method(http, method, headers):
    answer = http.request(method, "/v1/files", headers=headers)
    assert answer.status_code == 403
    assert error_of(answer)["code"] == "origin_not_allowed"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_link_of_another_site_leads_to_a_page_of_the_dashboard_and_to_nothing_else(http):
    follows = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in ("/", "/finetune/ftjob-x", "/login"):
        assert http.get(path, headers=follows).status_code == 200
        assert http.get(path, headers={**follows, "Sec-Fetch-Dest": "iframe"}).status_code == 403
    for path in ("/v1/files", "/session", "/metrics", "/openapi.json", "/finetuned"):
        assert http.get(path, headers=follows).status_code == 403
    assert http.post("/session", headers=follows).status_code == 403


def test_a_page_of_this_server_is_answered(http, server):
    for headers in (
        {"Origin": server.url, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ):
        answer = http.get("/v1/files", headers=headers)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_answer_carries_what_browsers_heed(http):
    for answer in (http.get("/v1/files"), http.get("/nowhere"), http.get("/health"), http.get("/metrics")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert len({http.get("/health").headers["x-request-id"] for _ in range(3)}) == 3


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_packed_bodies_are_refused_unread(http, encoding):
    bomb = gzip.compress(b"0" * 10_000_000)
    answer = http.post(RUN, content=bomb, headers={"Content-Encoding": encoding, "Content-Type": "application/json"})
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "unsupported_content_encoding"


def test_a_body_that_is_too_large_is_a_413_with_and_without_its_length(http):
    big = b'{"a": "' + b"x" * MOST_JSON_BYTES + b'"}'
    for content in (big, iter([big[:1000], big[1000:]])):
        answer = http.post(RUN, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert error_of(answer)["code"] == "too_large"


def test_only_files_may_be_as_large_as_files(http):
    many = (b"x" * 1024**2 for _ in range(2 * MOST_JSON_BYTES // 1024**2))
    answer = http.post("/v1/evals", content=many, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code in (400, 413)


def test_a_body_that_claims_to_be_endless_is_refused_by_its_length(server, key):
    head = (
        f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 99999999999999999\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        said = connection.makefile("rb").readline()
    assert b"413" in said or said == b""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\\ud83d"}',
        b'{"\\ude00": 1}',
        b'{"a": "\\u0000"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"1" * 5000 + b"}",
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"a": [' + b"[]," * 1_000_001 + b"[]]}",
        b'{"a": 1} {"b": 2}',
        b'{"a": 1,}',
        b"{}\x00",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_strict_json_is_a_400(http, body):
    answer = http.post(RUN, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_a_body_of_another_kind_is_a_400(http, kind):
    answer = http.post(RUN, content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "unsupported_content_type"


@pytest.mark.parametrize(
    "address",
    [
        "/v1/files?limit=0",
        "/v1/files?limit=-1",
        "/v1/files?limit=x",
        "/v1/files?limit=1.5",
        "/v1/files?limit=" + "9" * 5000,
        "/v1/files?order=sideways",
        "/v1/files?after=%00",
        "/v1/files?after=" + "x" * 300,
        "/v1/files?purpose=a%00b",
        "/v1/files/%00",
        "/v1/files/a%00b/content",
    ],
)
def test_parameters_that_mean_nothing_are_a_400(http, address):
    answer = http.get(address)
    assert answer.status_code == 400, answer.text
    error_of(answer)


@pytest.mark.parametrize(
    "address", ["/v1", "/v1/", "/v2/files", "/v1/files/", "//v1/files", "/docs", "/redoc", "/static"]
)
def test_an_unknown_address_is_a_404_in_the_envelope(http, address):
    answer = http.get(http.base_url.join("/").copy_with(raw_path=address.encode()))
    assert answer.status_code == 404
    error_of(answer)


def test_a_wrong_method_is_a_405_in_the_envelope(http):
    answer = http.put("/v1/files")
    assert answer.status_code == 405
    assert error_of(answer)["code"] == "method_not_supported"
    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


def test_the_openapi_document_wants_a_key(http, anonymous):
    assert anonymous.get("/openapi.json").status_code == 401
    document = http.get("/openapi.json").json()
    assert "/v1/files" in document["paths"]
    assert "$defs" not in json.dumps(document)
    assert "422" not in json.dumps(list(document["paths"].values()))


@pytest.fixture
def broken(platform: Platform, serve, key):
    """A server with a mistake in it, and a way to ask for it."""
    import httpx2

    app: FastAPI = create_app(platform)

    def mistake() -> None:
        raise RuntimeError("inner words with sk-openrft-" + "a" * 40)

    app.add_api_route("/v1/mistake", mistake)
    with httpx2.Client(base_url=serve(app).url, headers={"Authorization": f"Bearer {key}"}) as http:
        yield http


def test_a_mistake_of_ours_is_a_500_without_its_words(broken):
    answer = broken.get("/v1/mistake")
    assert answer.status_code == 500
    error = error_of(answer)
    assert error["type"] == "server_error"
    assert answer.headers["x-request-id"] in error["message"]
    assert "inner words" not in answer.text
    assert broken.get("/v1/files").status_code == 200


def test_a_store_that_does_not_answer_is_a_503_that_names_no_path(http, store, tmp_path):
    database = tmp_path / "openrft.db"
    store.close()
    kept = database.read_bytes()
    for path in tmp_path.glob("openrft.db*"):
        path.unlink()
    database.write_bytes(b"this is not a database" * 1000)
    answer = http.get("/v1/files")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    error = error_of(answer)
    assert error["type"] == "server_error"
    assert str(tmp_path) not in answer.text and "openrft.db" not in answer.text
    store.close()
    database.write_bytes(kept)


def test_a_full_disk_refuses_files_and_says_so(platform):
    """As seen from a form: the room on the disk is asked for before a file is taken."""
    from openrft.api.multipart import require_room
    from openrft.errors import StoreError

    require_room(platform, 1)
    with pytest.raises(StoreError) as caught:
        require_room(platform, 2**60)
    assert caught.value.code == "store_full"


def test_a_sender_that_stops_sending_is_told_and_let_go(serve):
    async def reads(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    guard = Guard(reads, hosts=Hosts("127.0.0.1", []), most_file_bytes=10, body_seconds=0.3)
    server = serve(Observed(guard, measures=Measures()))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabc")
        said = connection.recv(4096) + connection.recv(4096)
    assert said.startswith(b"HTTP/1.1 400") and b"request_timeout" in said


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\n" + b"-" * 4 * 1024**2,
        b"--b\r\nContent-Disposition: form-data; name=" + b"x" * 4 * 1024**2,
        b"--b\r\n" + b"A: b\r\n" * 500_000 + b"\r\n",
        b"--b\r\n\r\n" * 500_000,
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 1000 + b"--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + b"x" * 4 * 1024**2 + b"\r\n--b--\r\n",
    ],
    ids=["dashes", "one long header", "many headers", "many parts", "many fields", "one long field"],
)
def test_a_form_made_to_keep_the_server_busy_is_refused_at_once(http, body):
    started = time.monotonic()
    answer = http.post("/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 400, answer.text
    error_of(answer)
    assert time.monotonic() - started < 10


def test_nothing_answers_409(app):
    for path, operations in app.openapi()["paths"].items():
        for operation in operations.values():
            assert "409" not in operation["responses"], path


def test_settings_name_further_hosts(store, tmp_path, serve, key):
    settings = Settings(server=ServerSettings(allowed_hosts=("gpu.lab",)))
    server = serve(create_app(Platform(store=store, settings=settings, home=tmp_path)))
    import httpx2

    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as http:
        assert http.get("/v1/files", headers={"Host": "gpu.lab:9000"}).status_code == 200
        assert http.get("/v1/files", headers={"Host": "cpu.lab"}).status_code == 403
