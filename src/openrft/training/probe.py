"""A probe of a prepared job: a few batches are sampled and graded, an update is computed and thrown away.

warm up    a batch of the job's size, cut off after a few tokens                        not counted
sample     training prompts with the job's sampling, in batches of the job's size; graded meanwhile
evaluate   some validation prompts, all at once as in an evaluation
update     forward and backward of the last batch, as if every group of it had a signal; a checkpoint is written

Weights, optimizer and the job's random numbers stay as they are: a run that is probed before it begins ends as it would
have without.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from openrft.diagnosis.projection import GradeSpending, spending_per_grade
from openrft.rollout.clock import Phase, PhaseClock
from openrft.rollout.collect import Prompt, collect
from openrft.training.memory import peak_bytes
from openrft.training.methods.reinforcement import Reinforcement
from openrft.training.prepare import PreparedReinforcement
from openrft.training.progress import Progress
from openrft.training.rehearsal_numbers import priced_models
from openrft.training.rehearse import COSTLY_KINDS, grader_kinds
from openrft.training.rollout_metrics import rollout_metrics
from openrft.training.run_folder import RunFolder
from openrft.training.sampling import evaluation_sampling, training_sampling
from openrft.training.update_cost import UpdateCost, measure_update
from openrft.types import RolloutGroup, SamplingParams

PROBE_STREAM = 7  # random numbers of its own: training has 0, evaluation 1 and 2, chat 3, rehearsals 4 to 6

DEFAULT_SECONDS = 30.0
MOST_PROMPTS = 64
MOST_EVALUATED = 256  # answers; an engine on a CPU decodes as many at once
COSTLY_PROMPTS = 8  # where each grade costs money, or somebody else's time
COSTLY_EVALUATED = 16

_WARM_UP, _EVALUATION, _FIRST_BATCH = 0, 1, 2  # as steps of the stream
_WARM_UP_TOKENS = 8
_PHASES: tuple[Phase, ...] = ("sampling", "grading", "waiting", "other")
_SAMPLING_SHARE, _EVALUATION_SHARE = 0.5, 0.75  # of the seconds are behind us when this is to be over


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a probe measured, as plain numbers. Times of a step's phases are per answer, apart from sampling's."""

    lines: list[int]  # of the probed prompts in the training file
    scores: list[list[float | None]]  # of each prompt's answers; None where the grader gave none
    num_samples: int  # answers per prompt
    lengths: list[int]  # tokens of every answer, prompt after prompt
    truncated_share: float
    prompt_tokens_mean: float
    is_whole_batch: bool  # whether a batch of the job's size fitted into the time, so that its pace is a step's
    sampling_seconds_per_token: float
    grading_seconds_per_answer: float  # in the loop's own thread
    waiting_seconds_per_answer: float  # for grades, after the last answer was there
    other_seconds_per_answer: float
    record_seconds: float  # to count a step's metrics and to write its records
    evaluation_seconds_per_answer: float | None  # sampling and grading; None where there was no time for it
    evaluation_tokens_mean: float | None
    grade_seconds: list[float]  # of every grade, in no order that means anything
    spending: list[GradeSpending]
    update: UpdateCost
    loaded_bytes: float  # the most that was taken when the probe began
    peak_bytes: float  # and when it was over
    seconds: float  # that the probe took

    @property
    def mean_length(self) -> float:
        """Tokens of an answer."""
        return sum(self.lengths) / len(self.lengths)

    @property
    def paid_length(self) -> float:
        """Mean tokens of an answer, each weighted by what its score is above the lowest of all.

        That is where training leads, as far as it only makes paid answers more frequent.
        """
        graded = [
            (score, length)
            for score, length in zip((one for row in self.scores for one in row), self.lengths, strict=True)
            if score is not None
        ]
        lowest = min((score for score, _ in graded), default=0.0)
        whole = math.fsum(score - lowest for score, _ in graded)
        return math.fsum((score - lowest) * length for score, length in graded) / whole if whole else self.mean_length

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Probe:
        """What :meth:`to_json` gave."""
        spending = [GradeSpending(**spent) for spent in document["spending"]]
        return cls(**{**document, "spending": spending, "update": UpdateCost(**document["update"])})


def probe(
    prepared: PreparedReinforcement,
    progress: Progress,
    *,
    seconds: float = DEFAULT_SECONDS,
    num_prompts: int | None = None,
) -> Probe:
    """Measure what a step of this job costs and how its base model fares, in about ``seconds``.

    At least one prompt is answered, however long that takes. ``num_prompts`` is the most that are. How many fit into
    the time depends on the machine, and their scores on nothing but the job: a prompt has the same answers everywhere.
    """
    return _Probing(prepared, progress, seconds).run(num_prompts)


class _Probing:
    """A probe while it goes on."""

    def __init__(self, prepared: PreparedReinforcement, progress: Progress, seconds: float) -> None:
        self._prepared, self._progress, self._seconds = prepared, progress, seconds
        self._settings = prepared.settings
        self._is_costly = bool(grader_kinds(prepared.job.reinforcement.grader) & COSTLY_KINDS)
        self._started = time.perf_counter()
        self._loaded_bytes = peak_bytes(prepared.policy.network.device)

    def run(self, num_prompts: int | None) -> Probe:
        settings = self._settings
        most = num_prompts or (COSTLY_PROMPTS if self._is_costly else max(MOST_PROMPTS, settings.batch_size))
        prompts = choose_prompts(self._prepared.train, most, seed=self._prepared.job.seed)
        self._progress.phase(f"probing with up to {len(prompts)} prompts", len(prompts) * settings.group_size)
        self._warm_up(prompts[: settings.batch_size])
        batches = self._sample(prompts)
        groups = [group for batch in batches for group in batch.groups]
        # The first is a single prompt: its pace is not that of a batch.
        timed = [batch for batch in batches if len(batch.groups) == settings.batch_size] or batches
        num_answers = sum(batch.num_answers for batch in timed)
        phases = {name: math.fsum(batch.seconds[name] for batch in timed) for name in _PHASES}
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        grades = [rollout.grade for rollout in rollouts]
        evaluated = self._evaluate(math.fsum(batch.whole_seconds for batch in timed) / num_answers)
        update = self._update(timed[-1].groups)
        record_seconds = self._record(timed[-1].groups)
        return Probe(
            lines=[group.example.line for group in groups],
            scores=[[rollout.grade.score for rollout in group.rollouts] for group in groups],
            num_samples=settings.group_size,
            lengths=[len(rollout.completion.token_ids) for rollout in rollouts],
            truncated_share=sum(one.completion.finish_reason == "length" for one in rollouts) / len(rollouts),
            prompt_tokens_mean=sum(len(group.prompt_token_ids) for group in groups) / len(groups),
            is_whole_batch=len(timed[-1].groups) == settings.batch_size,
            sampling_seconds_per_token=phases["sampling"] / max(1, sum(batch.num_tokens for batch in timed)),
            grading_seconds_per_answer=phases["grading"] / num_answers,
            waiting_seconds_per_answer=phases["waiting"] / num_answers,
            other_seconds_per_answer=phases["other"] / num_answers,
            grade_seconds=[grade.seconds for grade in grades],
            spending=spending_per_grade(grades, priced=priced_models()),
            **evaluated,
            record_seconds=record_seconds,
            update=update,
            loaded_bytes=self._loaded_bytes,
            peak_bytes=peak_bytes(self._prepared.policy.network.device),
            seconds=time.perf_counter() - self._started,
        )

    @property
    def _spent(self) -> float:
        return time.perf_counter() - self._started

    def _sampling(self) -> SamplingParams:
        return training_sampling(self._settings, self._prepared.json_schema)

    def _warm_up(self, prompts: Sequence[Prompt]) -> None:
        """What happens once: sandboxes start, caches fill. A model is not asked for an opinion on half answers."""
        sampling = replace(self._sampling(), max_tokens=min(_WARM_UP_TOKENS, self._settings.max_completion_tokens))
        if self._is_costly:
            prompts = prompts[:1]
        self._collect(prompts, 1 if self._is_costly else self._settings.group_size, sampling, step=_WARM_UP)

    def _sample(self, prompts: Sequence[Prompt]) -> list[_Batch]:
        """One prompt first, which says how many a batch may have for the time that is left."""
        batches = [self._collect(prompts[:1], self._settings.group_size, self._sampling(), step=_FIRST_BATCH)]
        done = 1
        while done < len(prompts):
            rest = prompts[done : done + self._settings.batch_size]
            pace = batches[-1].whole_seconds / len(batches[-1].groups)
            affordable = int((_SAMPLING_SHARE * self._seconds - self._spent) / pace) if pace else len(rest)
            if affordable < 1 or (affordable < len(rest) and len(batches) > 1):
                break
            rest = rest[:affordable]
            step = _FIRST_BATCH + len(batches)
            batches.append(self._collect(rest, self._settings.group_size, self._sampling(), step=step))
            done += len(rest)
        return batches

    def _evaluate(self, pace: float) -> dict[str, Any]:
        """The pace of an evaluation, whose batches are larger than a step's, whose seconds per answer are ``pace``."""
        settings, prompts = self._settings, self._prepared.valid or self._prepared.test
        most = COSTLY_EVALUATED if self._is_costly else MOST_EVALUATED
        affordable = (_EVALUATION_SHARE * self._seconds - self._spent) / pace if pace else most
        prompts = prompts[: max(0, int(min(most, affordable))) // settings.eval_samples]
        if not prompts:
            return {"evaluation_seconds_per_answer": None, "evaluation_tokens_mean": None}
        sampling = evaluation_sampling(settings, self._prepared.json_schema)
        found = self._collect(prompts, settings.eval_samples, sampling, step=_EVALUATION)
        return {
            "evaluation_seconds_per_answer": found.whole_seconds / found.num_answers,
            "evaluation_tokens_mean": found.num_tokens / found.num_answers,
        }

    def _record(self, groups: Sequence[RolloutGroup]) -> float:
        with tempfile.TemporaryDirectory(prefix="openrft-probe-") as path:
            folder = RunFolder(Path(path), fresh=True)
            began = time.perf_counter()
            metrics = rollout_metrics(groups, pass_threshold=self._settings.passing_score)
            folder.record(1, metrics, groups)
            seconds = time.perf_counter() - began
            folder.close()
        return seconds

    def _collect(self, prompts: Sequence[Prompt], num_samples: int, sampling: SamplingParams, *, step: int) -> _Batch:
        clock = PhaseClock()
        groups = collect(
            self._prepared.engine,
            self._prepared.grader,
            prompts,
            num_samples=num_samples,
            sampling=sampling,
            seed=self._prepared.job.seed,
            stream=PROBE_STREAM,
            step=step,
            model=self._prepared.policy.name,
            on_rollout=self._progress.rollout,
            clock=clock,
        )
        return _Batch(groups, clock.take())

    def _update(self, groups: Sequence[RolloutGroup]) -> UpdateCost:
        policy, settings = self._prepared.policy, self._settings
        method = Reinforcement(
            settings,
            policy=policy,
            engine=self._prepared.engine,
            grader=self._prepared.grader,
            prompts=self._prepared.train,
            seed=self._prepared.job.seed,
            json_schema=self._prepared.json_schema,
        )
        groups = [with_signal(group) for group in groups]
        until = self._started + self._seconds
        return measure_update(policy, settings, lambda: method.microbatches(groups), method.loss, until=until)


def choose_prompts(prompts: Sequence[Prompt], count: int, *, seed: int) -> list[Prompt]:
    """``count`` of the prompts by chance; fewer are the first of more, because how many are answered is up to time."""
    order = list(prompts)
    random.Random(f"probe {seed}").shuffle(order)
    return order[:count]


def with_signal(group: RolloutGroup) -> RolloutGroup:
    """A copy whose answers are finished and paid 0 and 1 in turn: all of its tokens train."""
    rollouts = [
        replace(one, completion=replace(one.completion, finish_reason="stop"), reward=float(number % 2))
        for number, one in enumerate(group.rollouts)
    ]
    return replace(group, rollouts=rollouts)


@dataclass(frozen=True, slots=True)
class _Batch:
    groups: list[RolloutGroup]
    seconds: dict[Phase, float]

    @property
    def num_answers(self) -> int:
        return sum(len(group.rollouts) for group in self.groups)

    @property
    def num_tokens(self) -> int:
        return sum(len(rollout.completion.token_ids) for group in self.groups for rollout in group.rollouts)

    @property
    def whole_seconds(self) -> float:
        return math.fsum(self.seconds.values())
