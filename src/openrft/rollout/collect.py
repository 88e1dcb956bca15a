"""Prompts → completions → grades → groups. Grading overlaps sampling: a completion is graded once it is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from openrft.errors import EngineError
from openrft.rollout.clock import PhaseClock
from openrft.rollout.outage import Patience, await_grades, grade_again, is_out_of_reach
from openrft.rollout.prompt import read_sample
from openrft.types import (
    Completion,
    Engine,
    Example,
    GenerationRequest,
    Grade,
    Grader,
    GradingRequest,
    NoiseKey,
    Rollout,
    RolloutGroup,
    SamplingParams,
)

GRADING_THREADS = 32  # for graders that wait; they cost nothing while they do
_SMALLEST_BATCH = 8  # completions handed to the grader at once while sampling goes on

_Place = tuple[int, int]  # which prompt, which of its samples


@dataclass(frozen=True, slots=True)
class _Finished:
    """A completion and where its grade will be: in which batch, at which place."""

    completion: Completion
    request: GradingRequest
    grades: Future[list[Grade]]
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """An example and the tokens its messages become."""

    example: Example
    token_ids: list[int]  # [P]


def collect(
    engine: Engine,
    grader: Grader,
    prompts: Sequence[Prompt],
    *,
    num_samples: int,
    sampling: SamplingParams,
    seed: int,
    stream: int,
    step: int,
    model: str = "",
    on_rollout: Callable[[], None] | None = None,
    patience: Patience | None = None,
    clock: PhaseClock | None = None,
) -> list[RolloutGroup]:
    """One group of ``num_samples`` graded rollouts per prompt, in the order of ``prompts``.

    (``seed``, ``stream``, ``step``) and each prompt's place in ``prompts`` name the random numbers; see
    :class:`~openrft.types.NoiseKey`. Its place and not its example: a step that reaches into the next epoch may hold
    one example twice, and must not sample it twice the same. With ``patience``, an outage of the grader is sat out; see
    :mod:`openrft.rollout.outage`. ``clock`` is told what is sampling, grading in this thread, waiting, and an outage.
    Raises :class:`EngineError` when the engine leaves completions out or gives one twice; a grade that failed is a
    grade with an error and does not raise.
    """
    requests = [
        GenerationRequest(
            id=number,
            prompt_token_ids=prompt.token_ids,
            num_samples=num_samples,
            sampling=sampling,
            noise=NoiseKey(seed=seed, stream=stream, step=step, example=number),
        )
        for number, prompt in enumerate(prompts)
    ]
    noise = (seed, stream, step)
    clock = clock or PhaseClock()
    pool = ThreadPoolExecutor(GRADING_THREADS, thread_name_prefix="grading")
    try:
        finished = _sample_and_grade(engine, grader, pool, prompts, requests, noise, model, on_rollout, clock)
        expected = len(prompts) * num_samples
        if len(finished) != expected:
            raise EngineError(f"the engine gave {len(finished)} completions where {expected} were asked for")
        ordered = [finished[number, sample] for number in range(len(prompts)) for sample in range(num_samples)]
        grades = _await(ordered, grader, pool, patience, clock)
        rollouts = [_rollout(one, grade) for one, grade in zip(ordered, grades, strict=True)]
        return [
            RolloutGroup(
                example=prompt.example,
                prompt_token_ids=prompt.token_ids,
                rollouts=rollouts[number * num_samples : (number + 1) * num_samples],
            )
            for number, prompt in enumerate(prompts)
        ]
    finally:
        # Whoever interrupts does not wait for a slow grader; after a normal end nothing is left to cancel.
        pool.shutdown(wait=False, cancel_futures=True)


def _await(
    ordered: Sequence[_Finished],
    grader: Grader,
    pool: ThreadPoolExecutor,
    patience: Patience | None,
    clock: PhaseClock,
) -> list[Grade]:
    """The grades of ``ordered``; with ``patience``, those that an outage left out are asked for again."""
    with clock.phase("waiting"):
        if patience is not None:
            await_grades((one.grades for one in ordered), patience)
        grades = [one.grades.result()[one.number] for one in ordered]
    if patience is None or not any(is_out_of_reach(one) for one in grades):
        return grades

    def grade(asked: Sequence[GradingRequest]) -> list[Grade]:
        future = pool.submit(grader.grade, asked)
        await_grades([future], patience)
        return future.result()

    with clock.phase("outage"):
        return grade_again(grade, [one.request for one in ordered], grades, patience)


def _sample_and_grade(
    engine: Engine,
    grader: Grader,
    pool: ThreadPoolExecutor,
    prompts: Sequence[Prompt],
    requests: Sequence[GenerationRequest],
    noise: tuple[int, int, int],
    model: str,
    on_rollout: Callable[[], None] | None,
    clock: PhaseClock,
) -> dict[_Place, _Finished]:
    """Every completion by its place, each with the grading that was begun while others were still being sampled."""
    finished: dict[_Place, _Finished] = {}
    waiting: list[tuple[_Place, Completion, GradingRequest]] = []
    seen: set[_Place] = set()

    def hand_over() -> None:
        batch = [request for _, _, request in waiting]
        grades: Future[list[Grade]]
        if grader.is_inline:  # a thread would only fight with sampling for the interpreter
            grades = Future()
            with clock.phase("grading"):
                grades.set_result(grader.grade(batch))
        else:
            grades = pool.submit(grader.grade, batch)
        for number, (place, completion, request) in enumerate(waiting):
            finished[place] = _Finished(completion, request, grades, number)
        waiting.clear()

    is_structured = any(request.sampling.json_schema for request in requests)
    for completion in clock.each("sampling", engine.generate(requests)):
        place = (completion.request_id, completion.sample_index)
        if place in seen:
            raise EngineError(f"the engine gave completion {place[1]} of prompt {place[0]} twice")
        seen.add(place)
        request = GradingRequest(
            item=prompts[place[0]].example.item,
            sample=read_sample(completion, model=model, is_structured=is_structured),
            noise=(*noise, *place),
        )
        waiting.append((place, completion, request))
        if len(waiting) >= _SMALLEST_BATCH:
            hand_over()
        if on_rollout is not None:
            on_rollout()
    if waiting:
        hand_over()
    return finished


def _rollout(one: _Finished, grade: Grade) -> Rollout:
    return Rollout(
        sample_index=one.completion.sample_index,
        completion=one.completion,
        sample=one.request.sample,
        grade=grade,
        reward=grade.score,
    )
