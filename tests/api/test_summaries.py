"""The list of jobs in short, over the wire."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import openai
import pytest

from openrft.api.progress import MOST_POINTS, progress_of, spaced, steps_to_read
from openrft.store import Store
from openrft.store.curves import Point
from openrft.store.rows import CheckpointRow, JobError, Lease, NewEvent, Project
from wire_jobs import body, method, record_step, run_by_hand, supervised


@pytest.fixture
def get(http) -> Any:
    def ask(query: str = "", status: int = 200) -> Any:
        answer = http.get(f"/v1/fine_tuning/summaries{query}")
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    store.queue.set_resolved(lease, {"hyperparameters": {"eval_interval": 2}})
    return lease


def test_a_running_job_shows_its_curve_its_gain_and_its_creator(client, get, store: Store, lease: Lease) -> None:
    for step, valid in ((0, 0.25), (1, None), (2, 0.75), (3, None), (4, 0.5)):
        measured = {} if valid is None else {"valid/reward_mean": valid}
        record_step(store, lease, step, [], **measured)
    [one] = get()["data"]
    assert one["object"] == "fine_tuning.job.summary"
    assert one["job"] == client.fine_tuning.jobs.retrieve(lease.job_id).to_dict()
    assert (one["step"], one["total_steps"], one["grader"]) == (4, 10, "string_check: exact")
    assert one["sparkline"] == {
        "steps": [0, 1, 2, 3, 4],
        "train": [0.5] * 5,
        "valid": [0.25, None, 0.75, None, 0.5],
    }
    assert (one["base"], one["latest"], one["best"], one["gain"]) == (0.25, 0.5, 0.75, 0.5)
    assert one["created_by"]["name"] == "test" and one["created_by"]["id"].startswith("key_")
    assert one["training_file_name"] == one["validation_file_name"] == "rows.jsonl"
    assert (one["report"], one["alarms"]) == (None, 0)
    assert one["next_action"] == "Nothing to do: it trains. It can be paused or cancelled."


def test_open_alarms_are_counted_and_come_first(get, store: Store, lease: Lease) -> None:
    record_step(store, lease, 1, [])
    alarms = [{"code": "no_signal", "ended_step": None}, {"code": "truncation", "ended_step": 3}]
    text = json.dumps({"alarms": alarms}).encode()
    store.artifacts.write(f"jobs/{lease.job_id}/documents/alarms.json", [text])
    [one] = get()["data"]
    assert one["alarms"] == 1
    assert one["next_action"] == "Read its alarm: what is wrong, and what helps."


def test_of_a_supervised_job_losses_are_shown_and_the_lowest_is_best(client, get, store, project) -> None:
    job = client.fine_tuning.jobs.create(**body(client, method=supervised()))
    lease = run_by_hand(store, project.id, job.id)
    store.queue.set_resolved(lease, {"hyperparameters": {"eval_interval": 1}})
    for step, loss in ((0, 2.0), (1, 0.5), (2, 1.0)):
        store.steps.record(lease, step, {"train/loss": loss + 1, "valid/loss": loss}, total_steps=2)
    [one] = get()["data"]
    assert one["sparkline"] == {"steps": [0, 1, 2], "train": [3.0, 1.5, 2.0], "valid": [2.0, 0.5, 1.0]}
    assert (one["base"], one["latest"], one["best"], one["gain"], one["grader"]) == (2.0, 1.0, 0.5, -1.5, None)


def test_the_verdict_of_an_ended_job_stays_though_nothing_is_read_again(get, store: Store, lease: Lease) -> None:
    record_step(store, lease, 2, [], **{"valid/reward_mean": 0.75})
    store.checkpoints.record(lease, 2, model_name="ft:a:b::c", artifact="jobs/x/model", metrics={})
    data = {"outcome": "better", "gain": 0.5, "low": 0.25, "high": 0.75}
    store.events.append(lease, NewEvent(message="better: +50 points.", key="verdict", data={"verdict": data}))
    store.queue.finish(lease, "succeeded", message="done", fine_tuned_model="ft:a:b::c")
    first, second = get()["data"][0], get()["data"][0]
    assert first == second
    assert first["report"] == {"sentence": "better: +50 points.", **data}
    assert first["next_action"] == "Try ft:a:b::c, or export it."


def test_each_status_says_what_to_do_next(client, get, store: Store, project: Project) -> None:
    def said() -> str:
        return str(get("?limit=1")["data"][0]["next_action"])

    jobs = client.fine_tuning.jobs
    job = jobs.create(**body(client))
    assert said() == "No worker is alive to take it: start one with openrft worker."
    store.workers.beat("worker", capacity=1, running=0)
    assert said() == "Nothing to do: its files are being checked."
    store.jobs.accept(project.id, job.id)
    assert said() == "Nothing to do: it starts as soon as a worker is free."
    jobs.pause(job.id)
    assert said() == "Resume it."
    jobs.cancel(job.id)
    assert said() == "Create it again to start anew."
    lease = run_by_hand(store, project.id, jobs.create(**body(client)).id)
    store.checkpoints.record(lease, 1, model_name="ft:x:ckpt-step-1", artifact="jobs/x", metrics={})
    jobs.pause(lease.job_id)
    assert said() == "Resume it, or use checkpoint ft:x:ckpt-step-1."
    error = JobError(code="x", message="line 3 is not JSON.")
    store.queue.finish(lease, "failed", message="failed", error=error)
    assert said() == "line 3 is not JSON. Fix this and create it again."


def test_jobs_are_found_by_status_and_by_what_they_mention(client, get, store: Store, project: Project) -> None:
    content = json.dumps({"messages": [{"role": "user", "content": "?"}], "answer": "1"}) + "\n"
    odd = client.files.create(file=("Odd_100%.jsonl", io.BytesIO(content.encode() * 3)), purpose="fine-tune").id
    first = client.fine_tuning.jobs.create(**body(client, suffix="GENES", metadata={"team": "Blue"})).id
    second = client.fine_tuning.jobs.create(**body(client, training_file=odd)).id
    client.fine_tuning.jobs.cancel(first)

    def ids(query: str) -> list[str]:
        return [one["id"] for one in get(query)["data"]]

    assert ids("") == [second, first]
    assert ids("?search=genes") == ids("?search=blUE") == ids(f"?search={first}") == [first]
    assert ids("?search=odd_100%25") == [second]
    assert ids("?search=0_1") == []  # not a wildcard
    assert ids("?status=cancelled") == ids("?status=cancelled,running") == [first]
    assert ids("?status=validating_files&status=cancelled") == [second, first]
    assert ids("?method=reinforcement&model=openrft-tiny") == [second, first]
    assert ids("?method=supervised") == ids("?model=openrft") == []
    assert ids(f"?limit=1&after={second}") == [first]
    assert get("?limit=1")["has_more"] is True
    assert get("?status=done", status=400)["error"]["param"] == "status"
    by_test_file = body(client, method=method(hyperparameters={"test_file": odd}))
    third = client.fine_tuning.jobs.create(**by_test_file).id
    assert ids("?search=odd_100%25") == [third, second]


def test_a_wish_counts_as_the_status_that_people_see(client, get, lease: Lease) -> None:
    client.fine_tuning.jobs.pause(lease.job_id)
    assert [one["id"] for one in get("?status=paused")["data"]] == [lease.job_id]
    assert get("?status=running")["data"] == []


def test_other_projects_see_nothing_of_it(get, anonymous, lease: Lease, other_key: str) -> None:
    answer = anonymous.get("/v1/fine_tuning/summaries", headers={"Authorization": f"Bearer {other_key}"})
    assert answer.json()["data"] == []


def test_of_many_steps_few_are_read_and_the_best_is_found_all_the_same(store: Store, lease: Lease) -> None:
    row = replace(store.jobs.list(project_of(store)).items[0], step=9_999)
    steps = steps_to_read(row)
    assert {0, 9_998, 9_999} <= set(steps) and len(steps) <= MOST_POINTS  # the last validation was after 9,998
    rare = steps_to_read(replace(row, resolved={"hyperparameters": {"eval_interval": 4_000}}))
    assert {0, 4_000, 8_000, 9_999} <= set(rare) and 50 < len(rare) <= MOST_POINTS
    points = [Point(row.id, step, (0.5, 0.1 if step % 2 == 0 else None, None, None)) for step in steps]
    best = CheckpointRow(
        id="c", job_id=row.id, step=4_444, epoch=1, created_at=0, model_name="m", artifact="a",
        metrics={"full_valid_mean_reward": 0.9},
    )  # fmt: skip
    found = progress_of(row, points, [best])
    assert found["best"] == 0.9
    assert len(found["sparkline"]["steps"]) <= MOST_POINTS
    assert spaced(range(100), 3) == [0, 49, 99]


def project_of(store: Store) -> str:
    return store.projects.list()[0].id
