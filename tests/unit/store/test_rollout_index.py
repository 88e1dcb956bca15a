"""What is kept of a step's rollouts in numbers, and that it is recorded with the step."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from openrft.errors import Fenced, NotFound
from openrft.store.artifacts import step_artifact
from openrft.store.rollout_index import RolloutIndex, index_of, index_of_file, line_sizes, unpacked


def row(number: int, **changes: Any) -> dict[str, Any]:
    """What the index reads of a rollout; groups of two."""
    return {
        "example": f"example {number // 2}", "sample": number % 2, "reward": 0.1 * number, "advantage": number - 1.5,
        "left_out": None, "finish_reason": "stop", "error": None, "replaced": None, "sub_grades": {},
        "token_ids": [7] * (number + 1), **changes,
    }  # fmt: skip


def part(score: float | None, **changes: Any) -> dict[str, Any]:
    """A part's grade."""
    return {"score": score, "error": None, "replaced": None, "sub_grades": {}, **changes}


def lines_of(rows: list[dict[str, Any]]) -> list[bytes]:
    return [(json.dumps(one) + "\n").encode() for one in rows]


def indexed(*rows: dict[str, Any]) -> RolloutIndex:
    """The index as it comes back from the database."""
    return unpacked(index_of_file(lines_of(list(rows))).as_row()["columns"])


# Numbers of a step


def test_an_index_comes_back_as_it_was_packed() -> None:
    failed = {"kind": "other_error", "message": "broke"}
    rows = [
        row(0, sub_grades={"exact": part(1.0), "close": part(0.25)}),
        row(1, reward=None, advantage=None, left_out="ungraded", error=failed),
        row(2, left_out="truncated", finish_reason="length", sub_grades={"exact": part(None, replaced=failed)}),
    ]
    index = indexed(*rows)
    assert len(index) == 3
    assert [index.examples[number] for number in index.example] == ["example 0", "example 0", "example 1"]
    assert index.sample.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(index.reward, [0.0, math.nan, 0.2])
    np.testing.assert_array_equal(index.advantage, [-1.5, math.nan, 0.5])
    assert index.length.tolist() == [1, 2, 3]
    assert [index.reason(number) for number in range(3)] == [None, "ungraded", "truncated"]
    assert index.errored.tolist() == [False, True, True]
    assert index.truncated.tolist() == [False, False, True]
    assert list(index.parts) == ["exact", "close"]
    np.testing.assert_array_equal(index.parts["exact"], [1.0, math.nan, math.nan])
    np.testing.assert_array_equal(index.parts["close"], [0.25, math.nan, math.nan])


def test_a_line_of_the_file_is_found_by_where_it_starts() -> None:
    rows = [row(number, prompt="é\u2028" * number) for number in range(4)]
    text = b"".join(lines_of(rows))
    index = index_of(rows, line_sizes(text))
    for number, one in enumerate(rows):
        start = int(index.starts[number])
        assert json.loads(text[start : start + int(index.line_bytes[number])]) == one
    assert line_sizes(text) == indexed(*rows).line_bytes.tolist()


def test_the_sums_of_a_step_say_what_it_may_hold() -> None:
    rows = [row(1), row(2, left_out="no_signal"), row(3, reward=None, error={"kind": "x", "message": "y"})]
    sums = index_of(rows, [1, 1, 1]).as_row()
    assert (sums["size"], sums["num_errored"], sums["num_left_out"], sums["longest"]) == (3, 1, 1, 4)
    assert (sums["lowest_reward"], sums["highest_reward"]) == (0.1, 0.2)
    nothing = index_of([], []).as_row()
    assert (nothing["size"], nothing["lowest_reward"], nothing["longest"]) == (0, None, 0)
    assert len(unpacked(nothing["columns"])) == 0


def test_an_example_that_a_step_has_twice_makes_two_groups() -> None:
    twice = [row(number, example="a", sample=number % 2) for number in range(4)]
    other = [row(number, example="b", sample=number) for number in range(2)]
    groups = indexed(*twice[:2], *other, *twice[2:]).groups()
    assert [numbers.tolist() for numbers in groups] == [[0, 1], [2, 3], [4, 5]]


def test_a_part_of_a_part_that_failed_makes_a_rollout_errored() -> None:
    deep = part(0.5, sub_grades={"inner": part(None, error={"kind": "x", "message": "y"})})
    assert indexed(row(0, sub_grades={"outer": deep}), row(1)).errored.tolist() == [True, False]


# In the store


@pytest.fixture
def record(store, claim):
    def step(number: int, *rows: dict[str, Any], lease=None, is_indexed: bool = True) -> str:
        lease = lease or claim.lease
        key = step_artifact(lease.job_id, number, lease.epoch)
        index = index_of_file(lines_of(list(rows))) if is_indexed else None
        store.steps.record(lease, number, {}, total_steps=9, rollouts=key, index=index)
        return key

    return step


def test_the_index_is_recorded_with_its_step_and_once(store, project, claim, record) -> None:
    for _ in range(2):
        key = record(3, row(0), row(1))
    store.steps.record(claim.lease, 4, {}, total_steps=9)
    sampled, bare = store.rollouts.steps(project.id, claim.job.id)
    assert (sampled.step, sampled.rollouts, sampled.size, sampled.highest_reward) == (3, key, 2, 0.1)
    assert (bare.step, bare.rollouts, bare.size) == (4, None, None)
    columns = store.rollouts.columns(project.id, claim.job.id, [3, 4])
    assert list(columns) == [3]
    assert columns[3][0] == key
    assert unpacked(columns[3][1]).length.tolist() == [1, 2]


def test_the_next_attempt_puts_its_own_index_in_the_place_of_the_one_before(store, project, claim, record) -> None:
    record(1, row(0))
    record(2, row(0))
    store.queue.release(claim.lease, "shutdown")
    lease = store.queue.claim("next").lease
    key = record(2, row(0), row(1), lease=lease)
    steps = store.rollouts.steps(project.id, claim.job.id)
    assert [(step.step, step.size) for step in steps] == [(1, 1), (2, 2)]
    assert steps[1].rollouts == key
    with pytest.raises(Fenced):
        record(1, row(0), row(1), row(2))
    assert store.rollouts.steps(project.id, claim.job.id) == steps


def test_an_index_that_was_missing_is_added_while_the_file_is_the_one_that_was_read(
    store, project, claim, record
) -> None:
    key = record(1, row(0), is_indexed=False)
    index = index_of([row(0)], [9])
    store.rollouts.add_index(project.id, claim.job.id, 1, "jobs/other", index)
    store.rollouts.add_index(project.id, claim.job.id, 7, key, index)
    assert [step.size for step in store.rollouts.steps(project.id, claim.job.id)] == [None]
    for _ in range(2):
        store.rollouts.add_index(project.id, claim.job.id, 1, key, index)
    assert [step.size for step in store.rollouts.steps(project.id, claim.job.id)] == [1]
    record(1, row(0), is_indexed=False)
    assert [step.size for step in store.rollouts.steps(project.id, claim.job.id)] == [None]


@pytest.mark.parametrize("odd", ["plain", 'a "quoted" one', "100%", "under_score", "back\\slash", "é\u2028", "nul\x00"])
def test_steps_of_an_example_are_those_that_name_it_or_have_no_index(store, project, claim, record, odd: str) -> None:
    record(1, row(0, example=odd))
    record(2, row(0, example="100 of them"), row(1, example="underXscore"))
    record(3, row(0, example="other"), is_indexed=False)
    assert [step.step for step in store.rollouts.steps(project.id, claim.job.id, example=odd)] == [1, 3]


def test_another_project_sees_no_index(store, claim, record) -> None:
    record(1, row(0))
    other = store.projects.create("second")
    for ask in (
        lambda: store.rollouts.steps(other.id, claim.job.id),
        lambda: store.rollouts.columns(other.id, claim.job.id, [1]),
        lambda: store.rollouts.add_index(other.id, claim.job.id, 1, "key", index_of([], [])),
    ):
        with pytest.raises(NotFound):
            ask()
