"""Pages of what a job sampled: picked, sorted, searched, and read on while it goes on."""

from __future__ import annotations

import random
from typing import Any

import httpx2
import openai
import pytest

from openrft.api.platform import Platform
from openrft.api.rollout_reading import RolloutReading
from openrft.errors import TooManyRequests
from openrft.store import Store
from openrft.store.rows import Lease, Project
from wire_jobs import body, record_step, rollout_row, run_by_hand


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A running job."""
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


@pytest.fixture
def get(http: httpx2.Client, lease: Lease) -> Any:
    """Asks for something beneath the job."""

    def ask(path: str, status: int = 200, **options: Any) -> httpx2.Response:
        answer = http.get(f"/v1/fine_tuning/jobs/{lease.job_id}/{path}", **options)
        assert answer.status_code == status, answer.text
        return answer

    return ask


def sample(store: Store, lease: Lease, *, is_indexed: bool = True) -> None:
    """Three steps of four rollouts, some of them special."""
    for step in (1, 2, 3):
        rows = [rollout_row(step, number) for number in range(4)]
        if step == 2:
            error = {"kind": "other_error", "message": "broke"}
            rows[1] = rollout_row(2, 1, reward=None, error=error, left_out="ungraded")
            rows[2] |= {"left_out": "no_signal", "output": "the NEEDLE in it"}
        if step == 3:
            rows[3] |= {"sub_grades": {"part": {"score": None, "error": {"kind": "x", "message": "y"}, "replaced": None,
                                                "sub_grades": {}}}}  # fmt: skip
        record_step(store, lease, step, rows, is_indexed=is_indexed)


@pytest.fixture
def sampled(store: Store, lease: Lease) -> None:
    sample(store, lease)


def ids(answer: httpx2.Response) -> list[str]:
    return [row["id"].removeprefix("rollout_") for row in answer.json()["data"]]


@pytest.mark.usefixtures("sampled")
def test_a_rollout_has_its_grade_whole_and_its_tokens_when_asked(get) -> None:
    first = get("rollouts?sort=oldest&limit=1").json()["data"][0]
    assert first == {
        "id": "rollout_1_0", "object": "fine_tuning.job.rollout", "step": 1, "example": "example-0", "line": 1,
        "sample": 0, "prompt": [{"role": "user", "content": "question 0"}], "output": "output 1.0",
        "answer": "output 1.0", "reward": 0.0, "advantage": None, "left_out": None, "finish_reason": "stop",
        "reasoning_tokens": 0, "policy_version": 0, "prompt_tokens": 3, "completion_tokens": 1,
        "grade": {"grader": "exact", "score": 0.0, "error": None, "replaced": None, "explanation": "because",
                  "printed": "", "seconds": 0.25, "usage": {}, "unparsed": False, "sub_grades": {}},
    }  # fmt: skip
    assert get("rollouts?tokens=true&limit=1&sort=oldest").json()["data"][0]["token_ids"] == [7]
    assert get("rollouts/rollout_2_3").json()["sampling_logprobs"] == [-0.5] * 4
    for unknown in ("rollout_9_0", "rollout_2_4", "rollout_x"):
        assert get(f"rollouts/{unknown}", status=404).json()["error"]["param"] == "rollout_id"


PICKED = [
    ("step=2", ["2_0", "2_1", "2_2", "2_3"]),
    ("sort=oldest&limit=3", ["1_0", "1_1", "1_2"]),
    ("limit=3", ["3_0", "3_1", "3_2"]),
    ("example=example-1&sort=oldest", ["1_1", "1_3", "2_1", "2_3", "3_1", "3_3"]),
    ("min_reward=0.3&sort=oldest", ["1_3", "2_3", "3_3"]),
    ("max_reward=0.05&sort=oldest", ["1_0", "2_0", "3_0"]),
    ("left_out=any", ["2_1", "2_2"]),
    ("left_out=no_signal", ["2_2"]),
    ("left_out=no_choice", []),
    ("left_out=none&step=2", ["2_0", "2_3"]),
    ("errored=true&sort=oldest", ["2_1", "3_3"]),
    ("errored=false&step=2", ["2_0", "2_2", "2_3"]),
    ("search=needle", ["2_2"]),
    ("search=Question 3&step=1", ["1_3"]),
    ("sort=best&limit=4", ["1_3", "2_3", "3_3", "1_2"]),
    ("sort=worst&step=2", ["2_0", "2_2", "2_3"]),
    ("sort=longest&step=1", ["1_3", "1_2", "1_1", "1_0"]),
    ("step=7", []),
]


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize(("query", "expected"), PICKED)
def test_rollouts_are_picked_and_sorted(get, query: str, expected: list[str]) -> None:
    assert ids(get("rollouts?" + query)) == expected


def test_steps_without_an_index_are_picked_and_sorted_likewise_and_have_one_then(
    get, store: Store, project: Project, lease: Lease
) -> None:
    for query, expected in PICKED:
        sample(store, lease, is_indexed=False)
        assert ids(get("rollouts?" + query)) == expected, query
    assert ids(get("rollouts?sort=best&limit=1")) == ["1_3"]
    assert [step.size for step in store.rollouts.steps(project.id, lease.job_id)] == [4, 4, 4]


def test_indexing_that_takes_too_long_is_told_and_what_it_got_through_stays(
    platform: Platform, store: Store, project: Project, lease: Lease
) -> None:
    sample(store, lease, is_indexed=False)
    steps = store.rollouts.steps(project.id, lease.job_id)
    with RolloutReading(platform, project.id, lease.job_id) as reading:
        assert len(next(reading.indexes(steps))) == 4
    with (
        RolloutReading(platform, project.id, lease.job_id, seconds_of_indexing=-1) as reading,
        pytest.raises(TooManyRequests, match="being indexed"),
    ):
        list(reading.indexes(steps))
    assert [step.size for step in store.rollouts.steps(project.id, lease.job_id)] == [4, None, None]


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("query", ["sort=newest", "sort=oldest", "sort=best", "sort=longest", "example=example-0"])
def test_pages_hold_every_rollout_once(get, query: str) -> None:
    whole = ids(get(f"rollouts?{query}&limit=100"))
    found, after = [], ""
    while True:
        page = get(f"rollouts?{query}&limit=2{after}")
        found += ids(page)
        if not page.json()["has_more"]:
            break
        after = f"&after={page.json()['next_cursor']}"
    assert found == whole


@pytest.mark.usefixtures("sampled")
def test_a_page_goes_on_where_the_last_one_ended_while_steps_are_added(get, store: Store, lease: Lease) -> None:
    page = get("rollouts?limit=3").json()
    record_step(store, lease, 4, [rollout_row(4, number) for number in range(4)])
    assert ids(get(f"rollouts?limit=2&after={page['next_cursor']}")) == ["3_3", "2_0"]


@pytest.mark.usefixtures("sampled")
def test_one_step_and_one_example_have_addresses_of_their_own(get) -> None:
    assert ids(get("rollouts/steps/2?left_out=any")) == ["2_1", "2_2"]
    assert ids(get("rollouts/examples/example-0?sort=oldest")) == ["1_0", "1_2", "2_0", "2_2", "3_0", "3_2"]
    assert get("rollouts/steps/9", status=404).json()["error"]["param"] == "step"


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize(
    ("query", "param"),
    [("after=junk", "after"), ("sort=best&after=rollout_2_1", "after"), ("limit=0", "limit"), ("sort=odd", "sort")],
)
def test_what_makes_no_sense_is_told(get, query: str, param: str) -> None:
    assert get("rollouts?" + query, status=400).json()["error"]["param"] == param


@pytest.mark.usefixtures("sampled")
def test_rollouts_that_somebody_removed_are_skipped(get, store: Store, lease: Lease) -> None:
    store.artifacts.delete(f"jobs/{lease.job_id}/rollouts/step-000002-e1.jsonl")
    assert {one[0] for one in ids(get("rollouts?limit=100"))} == {"1", "3"}


@pytest.mark.parametrize("sort", ["best", "worst", "longest"])
def test_pages_of_many_steps_come_in_the_order_of_all_rollouts(get, store: Store, lease: Lease, sort: str) -> None:
    draw = random.Random(sort)
    expected = []
    for step in range(1, 31):
        rows = []
        for number in range(6):
            reward = draw.choice([None, 0.0, 0.5, 1.0, round(draw.random() * step / 30, 2)])
            length = draw.randrange(1, 9)
            rows.append(rollout_row(step, number, reward=reward, token_ids=[7] * length))
            key = {"best": -(reward or 0.0), "worst": reward, "longest": -length}[sort]
            if sort == "longest" or reward is not None:
                expected.append((key, step, number))
        record_step(store, lease, step, rows)
    found, after = [], ""
    while True:
        page = get(f"rollouts?sort={sort}&limit=19{after}").json()
        found += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['next_cursor']}"
    assert found == [f"rollout_{step}_{number}" for _, step, number in sorted(expected)]


def test_a_search_that_reads_too_much_ends_early_says_so_and_goes_on(get, store: Store, lease: Lease) -> None:
    rows = [rollout_row(1, number % 5) for number in range(20_050)]
    rows[-1]["output"] = "the needle"
    record_step(store, lease, 1, rows)
    page = get("rollouts?search=needle").json()
    assert (page["data"], page["has_more"], page["ended_early"]) == ([], True, True)
    while page["has_more"]:
        page = get(f"rollouts?search=needle&after={page['next_cursor']}").json()
    assert [row["id"] for row in page["data"]] == ["rollout_1_20049"]
    assert not page["ended_early"]
    assert not get("rollouts?search=output&limit=2").json()["ended_early"]
