"""A profile holds what happened, as Chrome traces, and its operators are those of the steps that were asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from openrft.graders import ScriptedGrader
from openrft.rollout.clock import PhaseClock
from openrft.training.loop import Batch
from openrft.training.profile import Profile, Trace
from openrft.types import GradingRequest, Sample

REQUEST = GradingRequest(item={}, sample=Sample(output_text="x"))


class Method:
    """Computes a product in every step, and fails in one if asked to."""

    def __init__(self, fails_in: int | None = None) -> None:
        self.fails_in = fails_in

    def next_batch(self, step: int, clock: PhaseClock) -> Batch:
        with clock.phase("waiting"):
            torch.ones(8, 8) @ torch.ones(8, 8)
        if step + 1 == self.fails_in:
            raise ValueError("no batch")
        return Batch(minibatches=())

    def loss(self, policy: Any, batch: Any) -> Any:
        raise AssertionError("there is no microbatch")

    def after_update(self, version: int) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"kept": 1}

    def restore(self, state: dict[str, Any]) -> None: ...


def run_steps(profile: Profile, *, first: int, last: int, method: Method | None = None) -> None:
    """The 1-based steps from ``first`` to ``last``."""
    watched = profile.watch_steps(method or Method(), first - 1, last)
    assert watched.state() == {"kept": 1}
    for step in range(first - 1, last):
        watched.next_batch(step, profile.clock)
        watched.after_update(step + 1)


def open_profile(tmp_path: Path, num_operator_steps: int) -> tuple[Profile, list[str]]:
    told: list[str] = []
    return Profile(tmp_path / "profile", num_operator_steps=num_operator_steps, tell=told.append), told


def spans_of(path: Path) -> list[tuple[str, str, float, float]]:
    """(lane, name, began, ended) in microseconds, after a look at whether it is a Chrome trace at all."""
    events = json.loads(path.read_text())["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X"}
    assert all({"name", "ph", "ts", "pid", "tid"} <= event.keys() for event in events)
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in events if event["ph"] == "X")
    lanes = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    spans = [event for event in events if event["ph"] == "X"]
    return [(lanes[span["tid"]], span["name"], span["ts"], span["ts"] + span["dur"]) for span in spans]


def test_a_trace_counts_microseconds_from_its_beginning_and_names_its_lanes_in_order() -> None:
    trace = Trace(100.0)
    trace.add("grading_1", "judge", 100.5, 100.75, answers=8)
    trace.add("update", "update", 101.0, 103.0)
    trace.add("sampling", "sampling", 100.0, 101.0)
    events = trace.as_json()["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert [names[number] for number in sorted(names)] == ["sampling", "update", "grading_1"]
    (judged,) = [event for event in events if event["name"] == "judge"]
    assert (judged["ts"], judged["dur"], judged["args"]) == (500_000, 250_000, {"answers": 8})


def test_every_step_and_phase_is_a_span_and_a_phase_lies_in_its_step(tmp_path: Path) -> None:
    profile, told = open_profile(tmp_path, 0)
    run_steps(profile, first=1, last=3)
    profile.write([])
    spans = spans_of(tmp_path / "profile" / "trace.json")
    steps = [span for span in spans if span[0] == "steps"]
    waits = [span for span in spans if span[0] == "waiting"]
    assert [name for _, name, _, _ in steps] == ["step 1", "step 2", "step 3"]
    for (_, _, began, ended), (_, _, inner_began, inner_ended) in zip(steps, waits, strict=True):
        assert began <= inner_began <= inner_ended <= ended
    assert told == []
    assert sorted(path.name for path in (tmp_path / "profile").iterdir()) == ["steps.svg", "trace.json"]


@pytest.mark.parametrize(
    ("asked", "first", "last", "watched"),
    [(1, 1, 1, [1]), (3, 1, 8, [4, 5, 6]), (3, 1, 4, [2, 3, 4]), (9, 7, 8, [7, 8]), (1, 4, 9, [7])],
)
def test_operators_are_those_of_steps_in_the_middle(
    tmp_path: Path, asked: int, first: int, last: int, watched: Sequence[int]
) -> None:
    profile, told = open_profile(tmp_path, asked)
    run_steps(profile, first=first, last=last)
    profile.write([])
    files = sorted((tmp_path / "profile").glob("operators-step-*.json"))
    assert [path.name for path in files] == [f"operators-step-{step:06d}.json" for step in watched]
    for path in files:
        operators = [event["name"] for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]
        assert operators.count("aten::mm") == 1  # of this step alone
    tables = (tmp_path / "profile" / "operators.txt").read_text()
    assert [line for line in tables.splitlines() if line.startswith("step ")] == [f"step {step}" for step in watched]
    assert "aten::mm" in tables
    assert len(told) == 1


def test_a_step_that_fails_leaves_a_profile_and_no_profiler_behind(tmp_path: Path) -> None:
    profile, _ = open_profile(tmp_path, 1)
    with pytest.raises(ValueError, match="no batch"):
        run_steps(profile, first=1, last=3, method=Method(fails_in=2))
    profile.write([])
    assert [name for lane, name, _, _ in spans_of(tmp_path / "profile" / "trace.json") if lane == "steps"] == ["step 1"]
    assert not torch.autograd._profiler_enabled()


def test_the_profile_of_an_earlier_attempt_goes(tmp_path: Path) -> None:
    for count in (2, 0):
        profile, _ = open_profile(tmp_path, count)
        run_steps(profile, first=1, last=2)
        profile.write([])
    assert list((tmp_path / "profile").glob("operators*")) == []


def test_batches_of_grades_are_spans_on_the_lane_of_their_thread(tmp_path: Path) -> None:
    profile, _ = open_profile(tmp_path, 0)
    elsewhere = ScriptedGrader(lambda request: 0.5)
    elsewhere.is_inline = False
    inline, asking = profile.watch_grader(ScriptedGrader(lambda request: 0.5)), profile.watch_grader(elsewhere)
    assert (inline.is_inline, asking.is_inline, asking.name) == (True, False, inline.name)
    assert [grade.score for grade in inline.grade([REQUEST, REQUEST])] == [0.5, 0.5]
    thread = threading.Thread(target=asking.grade, args=([REQUEST],), name="grading_7")
    thread.start()
    thread.join()
    profile.write([])
    lanes = [(lane, name) for lane, name, _, _ in spans_of(tmp_path / "profile" / "trace.json")]
    assert lanes == [("grading", inline.name), ("grading_7", inline.name)]
