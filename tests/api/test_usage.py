"""What jobs have spent, over the wire and on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from databases import on_both
from openrft.store import open_store
from openrft.store.clock import Clock
from openrft.store.rows import NewJob
from openrft.store.usage import JobDay
from wire_jobs import body, record_step, run_by_hand

DAY = 86_400


class Calendar(Clock):
    """A clock that stands still until somebody sets it."""

    seconds = 10.0 * DAY

    def wall(self) -> float:
        return self.seconds


def spent(tokens: float, minutes: float, **more: float) -> dict[str, float]:
    return {"spent/tokens": tokens, "spent/grader_cost": minutes / 4, "time/spent_minutes": minutes, **more}


@on_both
def test_each_step_counts_on_the_day_on_which_it_was_recorded(url: str, tmp_path) -> None:
    clock = Calendar()
    with open_store(url, artifacts=tmp_path, clock=clock) as store:
        project = store.projects.create("first")
        new = NewJob(model="m", training_file="a", validation_file=None, seed=1, spec={})
        lease = run_by_hand(store, project.id, store.jobs.create(project.id, new).id)
        sampled = {"rollout/count": 4.0, "rollout/completion_tokens_mean": 2.5}
        judged = {"grade/tokens/a/b-judge/prompt": 100.0, "grade/tokens/a/b-judge/completion": 7.0}
        record_step(store, lease, 0, [], **spent(50, 1))  # the base's validation
        record_step(store, lease, 1, [], **spent(60, 2), **sampled, **judged)
        clock.seconds += DAY
        record_step(store, lease, 2, [], **spent(80, 4), **sampled, **judged)
        first = JobDay(
            job_id=lease.job_id, day=10 * DAY, steps=2, trained_tokens=10, sampled_tokens=60, grader_cost=0.5,
            minutes=2, grading_tokens={"a/b-judge": {"prompt": 100, "completion": 7}},
        )  # fmt: skip
        second = JobDay(
            job_id=lease.job_id, day=11 * DAY, steps=1, trained_tokens=10, sampled_tokens=20, grader_cost=0.5,
            minutes=2, grading_tokens={"a/b-judge": {"prompt": 100, "completion": 7}},
        )  # fmt: skip
        assert store.usage.list(project.id, since=0, until=12 * DAY) == [first, second]
        assert store.usage.list(project.id, since=11 * DAY, until=12 * DAY) == [second]
        assert store.usage.list(project.id, since=0, until=10 * DAY) == []
        assert store.usage.list(store.projects.create("second").id, since=0, until=12 * DAY) == []
        # A step that an attempt records again counts once, when it was recorded last.
        record_step(store, lease, 1, [], **spent(60, 2), **sampled)
        assert [(one.steps, one.sampled_tokens) for one in store.usage.list(project.id, since=0, until=12 * DAY)] == [
            (1, 50),
            (2, 30),
        ]


def test_the_answer_adds_up_jobs_days_and_models(client, http, store, project) -> None:
    leases = [run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id) for _ in range(2)]
    for number, lease in enumerate(leases, start=1):
        record_step(store, lease, 1, [], **spent(10.0 * number, 1), **{"grade/tokens/judge/prompt": 5.0})
    found: dict[str, Any] = http.get("/v1/usage").json()
    assert found["object"] == "usage" and found["until"] - found["since"] == 30 * DAY
    assert found["total"] == {
        "steps": 2, "trained_tokens": 0, "sampled_tokens": 30, "grader_cost": 0.5, "training_minutes": 2.0,
        "grading_tokens": {"judge": {"prompt": 10, "completion": 0, "cached": 0}},
    }  # fmt: skip
    assert {one["fine_tuning_job_id"]: one["sampled_tokens"] for one in found["jobs"]} == {
        leases[0].job_id: 10,
        leases[1].job_id: 20,
    }
    [day] = found["days"]
    assert day["start_time"] % DAY == 0 and day["sampled_tokens"] == 30
    assert http.get("/v1/usage?until=1000").json()["jobs"] == []


def test_a_job_that_has_ended_is_told_the_same_again_and_in_parts(client, http, store, project) -> None:
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    record_step(store, lease, 1, [], **spent(10, 1))
    store.queue.finish(lease, "succeeded", message="done", fine_tuned_model="ft:x")
    end = store.jobs.get(project.id, lease.job_id).finished_at + 1
    whole = http.get(f"/v1/usage?until={end}").json()
    assert whole["total"]["sampled_tokens"] == 10
    assert http.get(f"/v1/usage?until={end}").json() == whole
    recorded = store.steps.get(project.id, lease.job_id, 1).recorded_at
    assert http.get(f"/v1/usage?until={recorded}").json()["total"]["sampled_tokens"] == 0
    assert http.get("/v1/usage").json()["total"] == whole["total"]


@pytest.mark.parametrize(
    ("query", "param"), [("since=5&until=5", "since"), ("since=-1", "since"), ("until=x", "until")]
)
def test_times_that_make_no_sense_are_told(http, query: str, param: str) -> None:
    answer = http.get(f"/v1/usage?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
