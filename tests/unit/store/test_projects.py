"""Keys, and that nobody sees another project's things."""

import inspect
from pathlib import Path

import pytest
from sqlalchemy import text

from openrft.errors import InvalidRequest, NotFound, Unauthorized
from openrft.store.rows import JobError, NewEvent


def test_a_key_opens_its_project(store, project):
    key, plain = store.projects.create_key(project.id, "laptop", scope="write")
    found = store.projects.authenticate(plain)
    assert (found.id, found.project_id, found.scope) == (key.id, project.id, "write")
    assert [found.allows(scope) for scope in ("read", "write", "admin")] == [True, True, False]
    assert plain.startswith("sk-openrft-")
    assert plain.endswith(key.hint)
    assert store.projects.list_keys(project.id)[0].last_used_at is not None


@pytest.mark.parametrize("wrong", ["", "sk-openrft-", "sk-openrft-" + "a" * 43, "\x00", "\ud83d"])
def test_an_unknown_key_opens_nothing(store, project, wrong):
    store.projects.create_key(project.id, "laptop")
    with pytest.raises(Unauthorized) as caught:
        store.projects.authenticate(wrong)
    assert caught.value.http_status == 401


def test_a_revoked_key_opens_nothing_and_looks_like_an_unknown_one(store, project):
    key, plain = store.projects.create_key(project.id, "laptop")
    _, other = store.projects.create_key(project.id, "server")
    revoked = store.projects.revoke_key(project.id, key.id)
    assert revoked.revoked_at is not None
    assert store.projects.revoke_key(project.id, key.id) == revoked
    with pytest.raises(Unauthorized) as caught:
        store.projects.authenticate(plain)
    with pytest.raises(Unauthorized) as unknown:
        store.projects.authenticate("sk-openrft-unknown")
    assert caught.value.message == unknown.value.message
    assert store.projects.authenticate(other)


def test_a_key_is_in_no_byte_of_the_database(store, project, tmp_path, request):
    plain = [store.projects.create_key(project.id, f"key {number}")[1] for number in range(3)]
    for key in plain:
        store.projects.authenticate(key)
    if store.database.is_sqlite:
        kept = b"".join(path.read_bytes() for path in Path(tmp_path).glob("openrft.db*"))
    else:
        flush = text("SELECT pg_switch_wal()")
        store.database.write(lambda connection: connection.execute(flush))
        store.database.read(lambda connection: connection.execute(text("SELECT 1")))
        data = request.getfixturevalue("postgres").data
        kept = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert project.id.encode() in kept
    for key in plain:
        assert key.encode() not in kept
        assert key.removeprefix("sk-openrft-").encode() not in kept


def test_a_scope_that_does_not_exist_is_refused(store, project):
    with pytest.raises(InvalidRequest, match="scope"):
        store.projects.create_key(project.id, "k", scope="root")


# Operations of workers and of the server itself, which act for no project.
WITHOUT_PROJECT = {
    "artifacts": {"write", "write_file", "fetch", "open", "delete", "list", "bytes_below", "sweep"},
    "projects": {"create", "list", "authenticate"},
    "files": {"delete_expired"},
    "jobs": {"list_unvalidated", "tell_waiting"},
    "queue": {"claim", "beat", "set_resolved", "finish", "release", "requeue_expired"},
    "steps": {"record"},
    "events": {"append"},
    "checkpoints": {"record", "forget", "list_of"},
    "webhooks": {"collect", "claim_due", "settle"},
    "workers": {"beat", "leave", "list_alive"},
    "curves": set(),
    "usage": set(),
}


def operations(store):
    """Every public operation as (part, name, function)."""
    for part in WITHOUT_PROJECT:
        whole = getattr(store, part)
        for name, function in inspect.getmembers(whole, inspect.ismethod):
            if not name.startswith("_"):
                yield part, name, function


def test_every_operation_names_the_project_or_is_a_worker_s(store):
    without = {part: set() for part in WITHOUT_PROJECT}
    for part, name, function in operations(store):
        if "project_id" not in inspect.signature(function).parameters:
            without[part].add(name)
    assert without == WITHOUT_PROJECT


def test_another_project_s_things_look_like_none(store, project, claim, new_job):
    """Every operation that takes a project, asked by another project with the ids of this one."""
    lease, job_id = claim.lease, claim.job.id
    store.steps.record(lease, 1, {"a": 1.0}, total_steps=2, events=[NewEvent(message="one")])
    point = store.checkpoints.record(lease, 1, model_name="ft:mine", artifact="c/1", metrics={})
    file = store.files.create(project.id, [b"secret"], filename="a.jsonl", purpose="fine-tune")
    key, _ = store.projects.create_key(project.id, "k")
    endpoint, _ = store.webhooks.create(project.id, "https://example.com", ["fine_tuning.job.failed"])
    stranger = store.projects.create("stranger").id
    known = {
        "project_id": stranger,
        "job_id": job_id,
        "job_ids": [job_id],
        "keys": ["step-1-0"],
        "steps": {job_id: [1]},
        "names": ["a"],
        "since": 0,
        "until": 2**40,
        "file_id": file.id,
        "file_ids": [file.id],
        "key_id": key.id,
        "endpoint_id": endpoint.id,
        "model_name": point.model_name,
        "step": 1,
        "status": "error",
        "error": JobError(code="c", message="m"),
    }
    own = {
        ("projects", "get"),
        ("projects", "create_key"),
        ("files", "create"),
        ("jobs", "create"),
        ("webhooks", "create"),
    }
    before = (store.jobs.get(project.id, job_id), store.files.get(project.id, file.id))
    asked = 0
    for part, name, function in operations(store):
        parameters = inspect.signature(function).parameters
        if "project_id" not in parameters or (part, name) in own:
            continue
        asked += 1
        arguments = {
            each: known[each]
            for each, parameter in parameters.items()
            if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        }
        try:
            answer = function(**arguments)
        except NotFound:
            continue
        assert list(getattr(answer, "items", answer)) == [], f"{part}.{name} shows another project's things"
    assert asked >= 18
    assert (store.jobs.get(project.id, job_id), store.files.get(project.id, file.id)) == before
    assert store.projects.list_keys(project.id)[0].revoked_at is None
    for part, cursor in [("jobs", job_id), ("files", file.id)]:
        with pytest.raises(InvalidRequest):
            getattr(store, part).list(stranger, after=cursor)
