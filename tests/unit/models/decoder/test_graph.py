"""When a step is run, recorded and replayed; what a real graph does is in tests/gpu."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from openrft.models.decoder import GroupCache, build_decoder
from openrft.models.decoder import cache as cache_module
from openrft.models.decoder.graph import Replayed
from plain_forward import FAMILY, random_network


class Gpu:
    """Stands for a device where there is none: all that is asked of it is its type."""

    type = "cuda"


class Recorder:
    """A stand-in for CUDA's graphs: what was recorded is computed anew when it is replayed, into the same memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, problem: Exception | None = None) -> None:
        self.log: list[str] = []
        self.pools: list[Any] = []
        self.problem = problem
        self.is_recording = False
        self.recorded: tuple[Tensor, Tensor] | None = None
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the usual one")
        monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: self.log.append(f"back to {stream}"))

    @contextmanager
    def graph(self, graph: Any, *, pool: Any, capture_error_mode: str) -> Iterator[None]:
        assert graph is self
        self.pools.append(pool)
        self.is_recording = True
        try:
            yield
            if self.problem is not None:
                raise self.problem
        finally:
            self.is_recording = False

    def step(self, given: Tensor) -> Tensor:
        result = given * 2
        self.log.append("record" if self.is_recording else "run")
        if self.is_recording:
            self.recorded = given, result
        return result

    def replay(self) -> None:
        assert self.recorded is not None
        given, result = self.recorded
        result.copy_(given * 2)
        self.log.append("replay")

    def pool(self) -> str:
        return "pool"


def calls(recorder: Recorder, replayed: Replayed, *values: float) -> list[float]:
    return [replayed(recorder.step, torch.tensor([value])).item() for value in values]


def test_on_a_cpu_every_step_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    assert calls(recorder, Replayed(torch.device("cpu")), 1, 2, 3) == [2, 4, 6]
    assert recorder.log == ["run", "run", "run"]


def test_on_a_gpu_the_first_step_is_run_the_second_recorded_and_then_all_are_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(monkeypatch)
    assert calls(recorder, Replayed(Gpu()), 1, 2, 3, 4) == [2, 4, 6, 8]  # type: ignore[arg-type]
    assert recorder.log == ["run", "record", "replay", "replay", "replay"]


def test_other_shapes_are_recorded_anew_in_the_memory_of_the_last_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    replayed = Replayed(Gpu())  # type: ignore[arg-type]
    calls(recorder, replayed, 1, 2, 3)
    replayed.forget()
    assert [replayed(recorder.step, torch.tensor([value, 0.0])).tolist() for value in (5.0, 6.0)] == [[10, 0], [12, 0]]
    assert recorder.log == ["run", "record", "replay", "replay", "run", "record", "replay"]
    assert recorder.pools == [None, "pool"]


def test_where_nothing_can_be_recorded_steps_are_run_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(monkeypatch, RuntimeError("operation not permitted when stream is capturing"))
    with caplog.at_level(logging.WARNING):
        assert calls(recorder, Replayed(Gpu()), 1, 2, 3) == [2, 4, 6]  # type: ignore[arg-type]
    assert recorder.log == ["run", "record", "back to the usual one", "run", "run"]
    (record,) = caplog.records
    assert "without CUDA graphs" in record.getMessage()


def ending_failed() -> RuntimeError:
    """What comes of a recording that a lack of memory has broken: the error of its end, and the other behind it."""
    error = RuntimeError("capture_end: the capture was invalidated")
    error.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    return error


@pytest.mark.parametrize(
    "problem", [torch.OutOfMemoryError("CUDA out of memory"), ending_failed()], ids=["it", "its end"]
)
def test_a_lack_of_memory_while_recording_is_told_on(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch, problem)
    with pytest.raises(torch.OutOfMemoryError):
        calls(recorder, Replayed(Gpu()), 1, 2)  # type: ignore[arg-type]


class Misled:
    """Takes a step as a replayed graph does: with the tensors, and without what Python has counted since."""

    def __init__(self, cache: GroupCache) -> None:
        self.cache = cache

    def __call__(self, step: Any, given: Tensor) -> Tensor:
        counted, self.cache._num_written = self.cache._num_written, 10**9
        try:
            result: Tensor = step(given)
        finally:
            self.cache._num_written = counted
        return result

    def forget(self) -> None:
        pass


@pytest.mark.parametrize("kind", FAMILY)
def test_a_token_depends_on_tensors_alone_and_gives_what_it_gives_otherwise(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "COLUMNS", 5)
    decoder = build_decoder(random_network(kind), torch.float32)
    assert decoder is not None
    found = []
    with torch.no_grad():
        for as_recorded in (False, True):
            cache = GroupCache(decoder, [[5, 6, 7, 8], [9], [10, 11]], [3, 2, 4], 40)
            if as_recorded:
                cache._is_recorded = True
                cache._replayed = Misled(cache)  # type: ignore[assignment]
            steps, rows = [cache.read_prompts()], list(range(9))
            for step in range(24):
                if step in (7, 16):
                    rows = [rows[row] for row in cache.compact([row % 3 != 1 for row in range(len(rows))])]
                tokens = torch.tensor([(29 * row + 13 * step) % 255 for row in rows])
                steps.append(cache.next_logits(tokens).clone())
            found.append(steps)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert len(rows) < 9


def test_a_cache_that_nobody_holds_is_gone_at_once() -> None:
    decoder = build_decoder(random_network("llama"), torch.float32)
    assert decoder is not None
    with torch.no_grad():
        cache = GroupCache(decoder, [[5, 6]], [2], 8)
        cache.next_logits(cache.read_prompts().argmax(-1))
    gone = weakref.ref(cache)
    gc.disable()  # a circle of references would wait for it, and its memory with it
    try:
        del cache
        assert gone() is None
    finally:
        gc.enable()
