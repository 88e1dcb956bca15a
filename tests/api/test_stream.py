"""Following a job by server-sent events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from openrft.api.stream import Streams
from openrft.store import Store
from openrft.store.rows import Lease, NewEvent, Project
from wire_jobs import body, record_step, run_by_hand

Told = tuple[str, int | None, Any]
"""A message: its kind, its number, its data."""


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A running job, of which three events were told."""
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


def messages(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], int(fields["id"]) if "id" in fields else None, json.loads(fields["data"])
            fields = {}


def follow(http: httpx2.Client, lease: Lease, query: str = "", **options: Any) -> list[Told]:
    """Everything that is told until the end."""
    with http.stream("GET", f"/v1/fine_tuning/jobs/{lease.job_id}/stream{query}", **options) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(messages(answer.iter_lines()))


def numbers(told: list[Told]) -> list[int]:
    return [number for kind, number, _ in told if kind == "event" and number is not None]


def test_an_ended_job_tells_all_its_events_its_state_and_that_it_is_done(http, store: Store, lease: Lease) -> None:
    store.queue.finish(lease, "succeeded", message="The job has successfully completed", fine_tuned_model="ft:x")
    told = follow(http, lease)
    assert numbers(told) == [1, 2, 3, 4]
    assert told[0][2]["message"] == f"Created fine-tuning job: {lease.job_id}"
    assert told[0][2]["object"] == "fine_tuning.job.event"
    kind, number, job = told[4]
    assert (kind, number, job["status"], job["fine_tuned_model"]) == ("job", None, "succeeded", "ft:x")
    assert told[5] == ("done", None, {"status": "succeeded"})
    assert len(told) == 6


@pytest.mark.parametrize("how", ["header", "query"])
def test_whoever_comes_back_hears_later_events_only(http, store: Store, lease: Lease, how: str) -> None:
    store.events.append(lease, NewEvent(message="more\nlines "))
    store.queue.finish(lease, "cancelled", message="The job was cancelled")
    options = {"headers": {"Last-Event-ID": "3"}} if how == "header" else {}
    told = follow(http, lease, "?after=3" if how == "query" else "", **options)
    assert numbers(told) == [4, 5]
    assert told[0][2]["message"] == "more\nlines "
    assert numbers(follow(http, lease, "?after=5")) == []


def test_a_long_past_is_passed_over_but_for_its_newest_events(http, store: Store, lease: Lease) -> None:
    store.queue.finish(lease, "cancelled", message="The job was cancelled")
    assert numbers(follow(http, lease, "?newest=2")) == [3, 4]
    assert numbers(follow(http, lease, "?newest=100")) == [1, 2, 3, 4]
    assert numbers(follow(http, lease, "?newest=3&after=3")) == [4]


def test_what_happens_while_somebody_listens_is_told_in_order_and_without_gaps(
    http, store: Store, project: Project, lease: Lease
) -> None:
    told: list[Told] = []
    with http.stream("GET", f"/v1/fine_tuning/jobs/{lease.job_id}/stream") as answer:
        stream = messages(answer.iter_lines())
        told += [next(stream) for _ in range(4)]
        assert told[3][0] == "job" and told[3][2]["status"] == "running"
        record_step(store, lease, 1, [])
        store.events.append(lease, *[NewEvent(message=f"said {n}") for n in range(1_200)])
        store.jobs.pause(project.id, lease.job_id)
        while told[-1][0] != "job" or told[-1][2]["status"] != "paused":
            told.append(next(stream))
        assert (told[-1][2]["step"], told[-1][2]["total_steps"]) == (1, 10)
        store.queue.finish(lease, "paused", message="The job was paused")
        store.jobs.resume(project.id, lease.job_id)
        claim = store.queue.claim("another worker")
        assert claim is not None
        store.queue.finish(claim.lease, "succeeded", message="The job has successfully completed")
        told += stream
    assert numbers(told) == list(range(1, len(numbers(told)) + 1))
    assert len(numbers(told)) > 1_200
    assert told[-1] == ("done", None, {"status": "succeeded"})


def test_many_listen_without_a_thread_each_and_hear_the_same(
    server, http, key: str, store: Store, lease: Lease
) -> None:
    heard: list[list[int]] = []
    ready = threading.Barrier(33)

    def listen() -> None:
        with (
            httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as own,
            own.stream("GET", f"/v1/fine_tuning/jobs/{lease.job_id}/stream") as answer,
        ):
            stream = messages(answer.iter_lines())
            first = [next(stream)]
            ready.wait()
            heard.append(numbers(first + list(stream)))

    listeners = [threading.Thread(target=listen) for _ in range(32)]
    for one in listeners:
        one.start()
    ready.wait()
    streams = server.app.state.streams
    assert streams.listeners == 32
    assert len(streams._watches) == 1
    # Those who listen hold none of the threads that routes run on.
    assert http.get("/v1/fine_tuning/jobs").status_code == 200
    store.events.append(lease, NewEvent(message="to all"))
    store.queue.finish(lease, "succeeded", message="done")
    for one in listeners:
        one.join(timeout=60)
    assert heard == [[1, 2, 3, 4, 5]] * 32
    assert streams.listeners == 0
    assert streams._watches == {}


def test_a_listener_who_leaves_is_forgotten(server, http, store: Store, lease: Lease) -> None:
    with http.stream("GET", f"/v1/fine_tuning/jobs/{lease.job_id}/stream") as answer:
        stream = messages(answer.iter_lines())
        next(stream)
        assert server.app.state.streams.listeners == 1
    for _ in range(200):
        if not server.app.state.streams.listeners:
            break
        threading.Event().wait(0.05)
    assert server.app.state.streams._watches == {}
    store.queue.finish(lease, "succeeded", message="done")
    assert follow(http, lease)[-1][0] == "done"


def test_silence_is_filled_with_comments_and_a_line_that_is_open_for_too_long_is_closed(
    server, http, platform, lease: Lease
) -> None:
    server.app.state.streams = Streams(platform, heartbeat_seconds=0.1, longest_seconds=1.0)
    with http.stream("GET", f"/v1/fine_tuning/jobs/{lease.job_id}/stream") as answer:
        lines = list(answer.iter_lines())
    assert 3 <= lines.count(": still here") <= 12
    assert [told[0] for told in messages(iter(lines))] == ["event", "event", "event", "job"]


def test_a_job_that_does_not_exist_or_a_wrong_number_is_told_before_the_stream(http, lease: Lease) -> None:
    assert http.get("/v1/fine_tuning/jobs/ftjob-nothing/stream").status_code == 404
    answer = http.get(f"/v1/fine_tuning/jobs/{lease.job_id}/stream", headers={"Last-Event-ID": "x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")
