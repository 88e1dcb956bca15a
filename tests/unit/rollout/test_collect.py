"""Prompts become graded groups: in order, complete, with grading overlapping sampling."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from openrft.errors import EngineError
from openrft.graders import ScriptedGrader
from openrft.rollout.clock import Phase, PhaseClock
from openrft.rollout.collect import Prompt, collect
from openrft.rollout.outage import Patience
from openrft.types import (
    Completion,
    Example,
    GenerationRequest,
    Grade,
    GradeError,
    GradingRequest,
    RolloutGroup,
    SamplingParams,
)


def prompts(count: int) -> list[Prompt]:
    return [
        Prompt(example=Example(id=f"e{i}", index=i, line=i + 1, messages=[], item={"i": i}), token_ids=[i])
        for i in range(count)
    ]


def completion(request: int, sample: int) -> Completion:
    return Completion(
        request_id=request,
        sample_index=sample,
        token_ids=[7],
        sampling_logprobs=[-0.1],
        text=f"{request}:{sample}",
        finish_reason="stop",
        policy_version=0,
    )


class BackwardsEngine:
    """Finishes the last completion first."""

    def __init__(self, *, leave_out: int = 0, repeat: bool = False) -> None:
        self.leave_out, self.repeat = leave_out, repeat

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
        everything = [completion(r.id, s) for r in requests for s in range(r.num_samples)]
        everything = everything[::-1][: len(everything) - self.leave_out]
        yield from everything
        if self.repeat:
            yield everything[0]

    def load_weights(self, version: int) -> None:
        pass


def run(engine: BackwardsEngine, grader: object, count: int = 3, samples: int = 7) -> list[RolloutGroup]:
    return collect(
        engine, grader, prompts(count), num_samples=samples, sampling=SamplingParams(max_tokens=4),
        seed=0, stream=0, step=0,
    )  # fmt: skip


def echo(request: GradingRequest) -> float:
    return float(request.item["i"]) + int(request.sample.output_text.split(":")[1]) / 100


def test_groups_come_in_the_order_of_prompts_and_rollouts_in_the_order_of_samples() -> None:
    groups = run(BackwardsEngine(), ScriptedGrader(echo))
    assert [group.example.index for group in groups] == [0, 1, 2]
    assert [rollout.reward for rollout in groups[2].rollouts] == pytest.approx([2 + s / 100 for s in range(7)])
    assert [rollout.completion.text for rollout in groups[1].rollouts] == [f"1:{s}" for s in range(7)]


def test_a_completion_left_out_or_given_twice_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="gave 20 completions where 21 were asked for"):
        run(BackwardsEngine(leave_out=1), ScriptedGrader(echo))
    with pytest.raises(EngineError, match="twice"):
        run(BackwardsEngine(repeat=True), ScriptedGrader(echo))


def test_grading_begins_before_sampling_ends() -> None:
    graded = threading.Event()

    class SlowEngine(BackwardsEngine):
        def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
            everything = list(super().generate(requests))
            yield from everything[:16]
            # Would wait in vain if grades were asked for only at the end.
            assert graded.wait(10)
            yield from everything[16:]

    class Grader:
        name = "g"
        is_inline = False

        def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
            graded.set()
            return [Grade(grader="g", score=1.0) for _ in requests]

        def close(self) -> None:
            pass

    run(SlowEngine(), Grader())


def test_an_example_that_is_in_a_step_twice_is_not_sampled_twice_the_same() -> None:
    noises = []

    class WatchedEngine(BackwardsEngine):
        def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
            noises.extend(request.noise for request in requests)
            return super().generate(requests)

    one = prompts(1)[0]
    collect(
        WatchedEngine(), ScriptedGrader(lambda request: 1.0), [one, one], num_samples=2,
        sampling=SamplingParams(max_tokens=4), seed=0, stream=0, step=0,
    )  # fmt: skip
    assert len(set(noises)) == 2


class TimedEngine(BackwardsEngine):
    """Takes 10 s for each completion, by a clock that the test reads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
        for completion in super().generate(requests):
            self.now += 10
            yield completion


class WatchedClock(PhaseClock):
    """Says when the loop has begun to wait for grades."""

    def __init__(self, engine: TimedEngine) -> None:
        super().__init__(now=lambda: engine.now)
        self.is_waiting = threading.Event()

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        with super().phase(name):
            if name == "waiting":
                self.is_waiting.set()
            yield


def seconds_of(clock: PhaseClock, engine: TimedEngine, grader: object, patience: Patience | None = None) -> object:
    collect(
        engine, grader, prompts(1), num_samples=16, sampling=SamplingParams(max_tokens=4), seed=0, stream=0, step=0,
        patience=patience, clock=clock,
    )  # fmt: skip
    return {phase: seconds for phase, seconds in clock.take().items() if seconds}


def test_the_seconds_of_an_inline_grader_are_not_those_of_sampling() -> None:
    engine = TimedEngine()

    class Grader(ScriptedGrader):
        def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
            engine.now += len(requests)
            return super().grade(requests)

    grader = Grader(lambda request: 1.0)
    assert grader.is_inline
    assert seconds_of(WatchedClock(engine), engine, grader) == {"sampling": 160, "grading": 16}


class SlowGrader:
    """Takes 5 s for each batch, by the same clock, once the loop has nothing else to do than wait."""

    name = "g"
    is_inline = False

    def __init__(self, engine: TimedEngine, clock: WatchedClock, *, fails: int = 0) -> None:
        self.engine, self.clock, self.fails = engine, clock, fails
        self.alone = threading.Lock()

    def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
        assert self.clock.is_waiting.wait(10)
        with self.alone:
            self.engine.now += 5
            if self.fails:
                self.fails -= 1
                away = GradeError(kind="other_error", message="away", grader="g", transient=True)
                return [Grade(grader="g", score=None, error=away) for _ in requests]
            return [Grade(grader="g", score=1.0) for _ in requests]

    def close(self) -> None:
        pass


def test_waiting_begins_when_the_last_completion_is_there() -> None:
    engine = TimedEngine()
    clock = WatchedClock(engine)
    assert seconds_of(clock, engine, SlowGrader(engine, clock)) == {"sampling": 160, "waiting": 10}


def test_an_outage_is_not_waiting() -> None:
    engine = TimedEngine()
    clock = WatchedClock(engine)

    def wait(seconds: float) -> None:
        engine.now += seconds

    patience = Patience(3600, wait=wait, first_pause=1000)
    spent = seconds_of(clock, engine, SlowGrader(engine, clock, fails=1), patience)
    assert spent == {"sampling": 160, "waiting": 10, "outage": 1005}
