"""The training rows over a run, over the wire."""

from __future__ import annotations

from typing import Any

import pytest

from openrft.api.visits import ExampleVisits
from wire_jobs import body, record_step, rollout_row, run_by_hand


@pytest.fixture
def lease(client, store, project):
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


@pytest.fixture
def get(http, lease) -> Any:
    def ask(query: str = "", status: int = 200) -> Any:
        answer = http.get(f"/v1/fine_tuning/jobs/{lease.job_id}/examples{query}")
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def rows(step: int, **rewards: list[float | None]) -> list[dict[str, Any]]:
    found = [(example, reward) for example, given in rewards.items() for reward in given]
    return [rollout_row(step, n, example=example, reward=reward) for n, (example, reward) in enumerate(found)]


@pytest.fixture
def trained(store, lease) -> None:
    record_step(store, lease, 1, rows(1, never=[0, 0.5], always=[1, 1], learned=[0, 0], forgotten=[1, 1]))
    record_step(store, lease, 2, rows(2, never=[0, 0], unstable=[1, 0], broken=[None, None]))
    record_step(store, lease, 3, rows(3, always=[1, None], learned=[1, 1], forgotten=[0, 0], unstable=[1, 0]))


@pytest.mark.usefixtures("trained")
def test_each_row_has_its_visits_and_its_state(get) -> None:
    found = get()
    assert {one["example"]: one["state"] for one in found["data"]} == {
        "never": "never solved", "always": "always solved", "learned": "learned", "forgotten": "forgotten",
        "unstable": "unstable", "broken": "ungraded",
    }  # fmt: skip
    assert found["counts"] == dict.fromkeys(
        ("never solved", "always solved", "learned", "forgotten", "unstable", "ungraded"), 1
    )
    always = next(one for one in found["data"] if one["id"] == "always")
    assert always == {
        "object": "fine_tuning.job.example", "id": "always", "example": "always", "line": 1,
        "prompt": "question 0", "state": "always solved", "mean": 1.0,
        "num_visits": 2, "visits": [1, 3], "means": [1.0, 1.0], "rollouts": 4, "ungraded": 1,
    }  # fmt: skip
    never = next(one for one in found["data"] if one["id"] == "never")
    assert (never["means"], never["mean"]) == ([0.25, 0.0], 0.125)


@pytest.mark.usefixtures("trained")
def test_one_row_is_asked_for_by_its_id(get) -> None:
    found = get("?example=forgotten")
    assert [one["id"] for one in found["data"]] == ["forgotten"] and found["counts"]["unstable"] == 1
    assert get("?example=unheard-of")["data"] == []


@pytest.mark.usefixtures("trained")
def test_the_prompt_is_that_of_the_newest_visit_and_goes_with_its_texts(get, store, lease) -> None:
    (one,) = get("?example=learned")["data"]
    assert (one["line"], one["prompt"]) == (1, "question 2")  # the third rollout of step 3
    store.artifacts.delete(f"jobs/{lease.job_id}/rollouts/step-000003-e1.jsonl")
    (one,) = get("?example=learned")["data"]
    assert (one["line"], one["prompt"], one["visits"]) == (None, None, [1, 3])


@pytest.mark.usefixtures("trained")
def test_a_lower_threshold_passes_more(get, store, lease) -> None:
    store.queue.set_resolved(lease, {"hyperparameters": {"pass_threshold": 0.5}})
    found = get()
    assert found["pass_threshold"] == 0.5
    assert next(one for one in found["data"] if one["id"] == "never")["state"] == "forgotten"


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?sort=worst&limit=2", ["never", "forgotten"]),
        ("?sort=best&limit=1", ["always"]),
        ("?sort=most_ungraded&limit=1", ["broken"]),
        ("?sort=last_seen&state=unstable,ungraded", ["unstable", "broken"]),
        ("?state=learned&state=forgotten", ["forgotten", "learned"]),
        ("?sort=worst&limit=2&after=forgotten", ["learned", "unstable"]),
    ],
)
def test_rows_are_picked_and_sorted(get, query: str, expected: list[str]) -> None:
    assert [one["id"] for one in get(query)["data"]] == expected


@pytest.mark.usefixtures("trained")
def test_pages_hold_every_row_once_and_later_steps_are_added(get, store, lease) -> None:
    found, after = [], ""
    while True:
        page = get(f"?limit=4{after}")
        found += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert sorted(found) == sorted(set(found)) and len(found) == 6
    record_step(store, lease, 4, rows(4, never=[1, 1], late=[0]))
    data = {one["id"]: one for one in get()["data"]}
    assert data["never"]["visits"] == [1, 2, 4] and data["never"]["state"] == "learned"
    assert data["late"]["num_visits"] == 1


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(("query", "param"), [("?state=odd", "state"), ("?sort=odd", "sort"), ("?after=none", "after")])
def test_what_makes_no_sense_is_told(get, query: str, param: str) -> None:
    assert get(query, status=400)["error"]["param"] == param


def test_a_job_without_rollouts_has_no_examples(get) -> None:
    assert get()["data"] == []


def test_the_middle_visit_of_three_decides_nothing() -> None:
    visits = ExampleVisits("x", steps=[1, 2, 3], means=[0, 0, 1], passes=[0, 1, 2], graded=[2, 2, 2], rollouts=6)
    assert visits.state == "learned"
    assert ExampleVisits("x", [1], [0.5], [1], [2], 2).state == "unstable"
