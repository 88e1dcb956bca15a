"""No route without a key, no key beyond its scope, no project beyond its own. All routes, from the application's list:
one that is added later is in here by itself.
"""

import re

import openai
import pytest

from openrft.api.access import admins, known, writes
from openrft.api.app import OPEN_PATHS, create_app
from openrft.config.settings import ServerSettings, Settings
from openrft.store.ids import random_letters
from routes_of_api import MEANT_FOR_ALL, NOT_IDS, ways

ROWS = b'{"messages": [{"role": "user", "content": "hello"}], "answer": "x"}\n'
EXACT = {"type": "string_check", "name": "e", "input": "{{sample.output_text}}", "reference": "x", "operation": "eq"}


@pytest.fixture
def settings():
    return Settings(server=ServerSettings(requests_per_second=100_000))


def test_every_route_is_behind_the_key_but_those_listed(app):
    there = list(ways(app))
    assert len(there) > 25
    without = {way.path for way in there if known not in way.dependencies()}
    assert without == set(OPEN_PATHS)
    # Beneath /v1, where everything of a project is, and among what tells about the server, there is no such route.
    assert {path for path in without if path.startswith(("/v1", "/metrics", "/openapi"))} == set()


def test_every_way_to_change_something_wants_more_than_a_reading_key(app):
    for way in ways(app):
        if way.method != "GET" and way.path not in OPEN_PATHS:
            assert way.dependencies() & {writes, admins}, f"{way} wants no writing key"


def test_nothing_is_answered_without_a_key_with_a_wrong_one_or_with_a_revoked_one(app, anonymous, store, project):
    key, revoked = store.projects.create_key(project.id, "old", scope="admin")
    store.projects.revoke_key(project.id, key.id)
    wrong = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer sk-openrft-nothing"},
        {"Authorization": f"Basic {revoked}"},
        {"Authorization": f"Bearer {revoked}"},
        {"api-key": revoked},
        {"Authorization": "Bearer " + "x" * 600},
    ]
    for number, way in enumerate(way for way in ways(app) if way.path not in OPEN_PATHS):
        url = way.filled(dict.fromkeys(way.names, "x"))
        for headers in (wrong[0], wrong[1 + number % (len(wrong) - 1)]):
            answer = anonymous.request(way.method, url, headers=headers)
            assert answer.status_code == 401, f"{way} answers {headers}: {answer.text}"
            error = answer.json()["error"]
            assert error["type"] == "invalid_request_error" and error["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["x-request-id"].startswith("req_")


def test_a_method_that_a_route_does_not_have_is_refused(app, http):
    for path in {way.path for way in ways(app)}:
        has = {way.method for way in ways(app) if way.path == path}
        for method in {"PUT", "PATCH", "TRACE", "OPTIONS", "DELETE", "POST"} - has:
            answer = http.request(method, re.sub(r"\{[^}]*\}", "x", path))
            others = {way.path for way in ways(app) if way.method == method}
            if any(re.fullmatch(re.sub(r"\{\w+(:path)?\}", "[^/]+", other), path) for other in others):
                continue
            assert answer.status_code in (404, 405), f"{method} {path}: {answer.status_code}"
            assert "error" in answer.json()


def test_a_reading_key_changes_nothing_and_a_writing_key_is_no_admin(app, server, http, store, project, make_key):
    reading, writing = make_key("read"), make_key("write")
    for way in ways(app):
        if way.path in OPEN_PATHS:
            continue
        url = way.filled(dict.fromkeys(way.names, "x"))
        wants = way.dependencies()
        if way.method != "GET" or admins in wants:
            answer = http.request(way.method, url, headers={"Authorization": f"Bearer {reading}"})
            assert answer.status_code == 403, f"{way} lets a reading key in: {answer.status_code}"
            assert answer.json()["error"]["code"] == "insufficient_permissions"
        if admins in wants:
            answer = http.request(way.method, url, headers={"Authorization": f"Bearer {writing}"})
            assert answer.status_code == 403, f"{way} lets a writing key in: {answer.status_code}"


def test_bearer_and_azures_header_both_work(server, key, anonymous):
    assert anonymous.get("/v1/models", headers={"api-key": key}).status_code == 200
    assert anonymous.get("/v1/models", headers={"authorization": f"bearer {key}"}).status_code == 200
    with openai.AzureOpenAI(
        base_url=server.url + "/openai/v1", api_key=key, api_version="2025-04-01-preview", max_retries=0
    ) as azure:
        assert "openrft-tiny" in [model.id for model in azure.models.list()]
        made = azure.files.create(file=("a.jsonl", ROWS), purpose="fine-tune")
        assert azure.files.content(made.id).read() == ROWS


def test_the_client_sees_its_own_kinds_of_errors(server, other_client):
    with openai.OpenAI(base_url=server.base_url, api_key="sk-wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            stranger.models.list()
        assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        other_client.models.delete("ft:x")


def test_a_key_that_asks_too_often_is_told_when_to_come_back(store, platform, serve, key, other_key):
    slow = Settings(server=ServerSettings(requests_per_second=2))
    server = serve(create_app(type(platform)(store=store, settings=slow, home=platform.home)))
    with openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            for _ in range(50):
                client.files.list()
        assert caught.value.response.headers["retry-after"] == "1"
        assert caught.value.code == "rate_limit_exceeded"
    with openai.OpenAI(base_url=server.base_url, api_key=other_key, max_retries=0) as client:
        client.files.list()
    with openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=3) as client:
        client.files.list()  # comes back by itself


# Two projects: everything of the first, asked for by an admin of the second.


@pytest.fixture
def world(client, http, project, make_model, store):
    """Something of every kind in the first project: what stands in a path, by its name there."""
    job_id = None
    name = make_model(project)
    job_id = store.checkpoints.get_by_name(project.id, name).job_id
    upload = client.uploads.create(bytes=6, filename="a.txt", mime_type="text/plain", purpose="fine-tune")
    there = {
        "file_id": client.files.create(file=("secret-name.jsonl", ROWS), purpose="fine-tune").id,
        "upload_id": upload.id,
        "model": name,
        "checkpoint": name,
        "fine_tuning_job_id": job_id,
    }
    there["permission_id"] = (
        client.fine_tuning.checkpoints.permissions.create(name, project_ids=[project.id]).data[0].id
    )
    config = {"type": "custom", "item_schema": {"type": "object", "properties": {}}, "include_sample_schema": False}
    asked = {"data_source_config": config, "testing_criteria": [{**EXACT, "input": "x"}]}
    there["eval_id"] = http.post("/v1/evals", json=asked).json()["id"]
    source = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {"answer": "x"}}]}}
    run = http.post(f"/v1/evals/{there['eval_id']}/runs", json={"data_source": source})
    there["run_id"] = run.json()["id"]
    there["output_item_id"] = "outputitem_" + "0" * 32
    there["webhook_id"] = http.post("/v1/webhooks", json={"url": "https://example.com/hook"}).json()["id"]
    return there


@pytest.fixture
def intruder(server, store, other_project):
    """An admin of the second project: what others' keys may not, this one may not either."""
    import httpx2

    _, plain = store.projects.create_key(other_project.id, "intruder", scope="admin")
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {plain}"}, timeout=60) as made:
        yield made


def like(value: str) -> str:
    """An id of the same form that means nothing."""
    prefix = re.match(r"ft:.*:|[a-z]+[-_]", value)
    rest = value[prefix.end() :] if prefix else value
    return (prefix[0] if prefix else "") + random_letters(len(rest)).lower()


def test_everything_of_another_project_looks_like_nothing(app, http, intruder, world):
    compared = 0
    for way in ways(app):
        if not way.path.startswith("/v1/") or not way.names or set(way.names) & MEANT_FOR_ALL:
            continue
        unknown = set(way.names) - set(world) - set(NOT_IDS)
        assert not unknown, f"{way}: tell the fixture world of {unknown}"
        theirs = {**NOT_IDS, **world}
        nothing = {**NOT_IDS, **{name: like(value) for name, value in world.items()}}
        body = {"json": {}} if way.method == "POST" else {}
        passes = {"evaluations": "step-000000-valid-sampled,step-000004-valid-sampled"}
        asked, guessed = ({"runs": ids["run_id"], **passes} for ids in (theirs, nothing))
        found = intruder.request(way.method, way.filled(theirs), params=asked, **body)
        missing = intruder.request(way.method, way.filled(nothing), params=guessed, **body)
        assert found.status_code in (400, 404), f"{way} answers {found.status_code} about another project's"
        if way.method != "POST":  # whose empty body may be refused first
            assert found.status_code == 404, f"{way}: {found.text}"
        assert without_ids(found.text, theirs) == without_ids(missing.text, nothing), way
        assert found.status_code == missing.status_code
        compared += 1
    assert compared >= 10
    for path in ("/v1/files/{file_id}", "/v1/models/{model}", "/v1/fine_tuning/checkpoints/{checkpoint}/permissions"):
        assert http.get(path.format(**world)).status_code == 200  # all of it is still there


def test_lists_hold_nothing_of_another_project_whatever_they_are_asked(app, intruder, world):
    own = set(world.values())
    for way in ways(app):
        if way.method != "GET" or way.names or not way.path.startswith("/v1/") or "organization" in way.path:
            continue
        for query in ({}, *({"after": value} for value in own), {"limit": "100000"}, {"order": "asc"}):
            text = intruder.get(way.path, params=query).text
            asked = query.get("after", "")
            assert not [value for value in own if value in text and value != asked], f"{way} {query}: {text}"


def without_ids(text: str, values: dict[str, str]) -> str:
    for value in sorted(values.values(), key=len, reverse=True):
        if len(value) > 8:
            text = text.replace(value, "ID").replace(value[:80], "ID")
    return re.sub(r"req_[0-9a-f]+", "REQUEST", text)
