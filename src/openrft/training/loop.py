"""The training loop. It exists once and does not know the method; read this page first.

    batch   = method.next_batch(step)            sample and grade (or read the next rows)
    metrics = update(policy, batch, method.loss) forward, backward, clip, step; once for each minibatch
    method.after_update(step + 1)                the engine samples from the new weights from here on
    evaluate, record, save a checkpoint          where the step calls for it
    go back, or end early                        where the records say so: see training/course.py

A step's number is the count of steps behind the policy, each of one or more updates: step 0 is the untouched base. A
step is recorded before the checkpoint that resumes after it, so going on from any checkpoint finds every earlier step
recorded, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from openrft.errors import JobInterrupted, TrainingDiverged, UngradedError
from openrft.models.load import Policy
from openrft.rollout.clock import Phase, PhaseClock
from openrft.training.batch import Microbatch, Minibatch
from openrft.training.choices import Hyperparameters
from openrft.training.memory import peak_bytes
from openrft.training.optimizer import learning_rate_at
from openrft.training.rollout_metrics import throughput
from openrft.training.update import LossSums, update
from openrft.types import Metrics, RolloutGroup, merge_metrics


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step trains on: minibatches to compute, the groups they came from, and what those say."""

    minibatches: Iterable[Minibatch]
    groups: Sequence[RolloutGroup] = ()
    metrics: Metrics = field(default_factory=dict)

    @property
    def microbatches(self) -> Iterator[Microbatch]:
        """Those of all minibatches, in order."""
        return (microbatch for minibatch in self.minibatches for microbatch in minibatch.microbatches)


class Method(Protocol):
    """How to train: where batches come from, and what is minimized."""

    def next_batch(self, step: int, clock: PhaseClock) -> Batch:
        """The batch of the 0-based ``step``; ``clock`` is told what its seconds go into."""
        ...

    def loss(self, policy: Policy, batch: Microbatch) -> tuple[torch.Tensor, LossSums]:
        """A microbatch's share of the loss of its batch."""
        ...

    def after_update(self, version: int) -> None:
        """The policy now has ``version`` steps behind it."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside weights and optimizer for this method to go on."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave when the checkpoint was saved."""
        ...


class Turns(Protocol):
    """Where a run leaves the straight way from its first step to its last."""

    @property
    def learning_rate_scale(self) -> float:
        """What the schedule's learning rate is multiplied with."""
        ...

    def bear(self, error: TrainingDiverged) -> None:
        """Go on although this step's loss or gradient is not finite, to go back after it; or raise ``error``."""
        ...

    def go_back_if_collapsed(self) -> bool:
        """Put the last good weights in place where the records say that the policy has collapsed; whether it did."""
        ...

    def is_over(self) -> bool:
        """Whether the records say that training ends with the last recorded step."""
        ...


class Run(Protocol):
    """What the loop needs to know of the run it is in, and where it puts its results."""

    next_step: int  # 0-based: how many steps are behind the policy
    stop_asked: bool

    @property
    def settings(self) -> Hyperparameters:
        """What the run uses."""
        ...

    @property
    def turns(self) -> Turns:
        """Where it goes back or ends early."""
        ...

    def evaluate(self, step: int) -> Metrics:
        """Watch the policy on the validation examples."""
        ...

    def make_up_validation(self) -> None:
        """Evaluate the step that the run goes on from, where that was interrupted."""
        ...

    def check_budget(self, step: int) -> None:
        """Raise :class:`~openrft.errors.BudgetSpent` where the 1-based ``step`` would overrun what may be spent."""
        ...

    def record(self, step: int, metrics: Metrics, groups: Sequence[RolloutGroup]) -> None:
        """Make a finished step last."""
        ...

    def save(self, step: int, method_state: dict[str, Any]) -> None:
        """Save a checkpoint from which the run can go on after ``step`` steps."""
        ...


def train(
    run: Run, method: Method, policy: Policy, optimizer: torch.optim.Optimizer, clock: PhaseClock | None = None
) -> None:
    """Take the run from its next step to its last; every step records where its seconds went, by ``clock``.

    The last is ``settings.num_steps``, or an earlier one where there is a reason to stop. Raises
    :class:`JobInterrupted` after saving a checkpoint when somebody asked to stop, and
    :class:`~openrft.errors.TrainingDiverged` or :class:`~openrft.errors.UngradedError` when a step failed.
    """
    settings = run.settings
    clock = clock or PhaseClock()
    run.make_up_validation()
    if run.turns.go_back_if_collapsed():  # only after a validation that was made up
        run.save(run.next_step, method.state())
    if run.turns.is_over():
        return
    if run.stop_asked:
        raise JobInterrupted(f"stopped before step {run.next_step + 1} of {settings.num_steps}; nothing is lost")
    clock.take()  # what was before the first step is no step's
    for step in range(run.next_step, settings.num_steps):
        before = clock.take()  # since the step before was measured: its evaluation, its record, its checkpoint
        try:
            run.check_budget(step + 1)
            batch = method.next_batch(step, clock)
        except (JobInterrupted, UngradedError):  # the grader is away, say; the steps before this one are worth keeping
            if step:
                run.save(step, method.state())
            raise
        done = step + 1
        with clock.phase("update"):
            metrics = _update(run, step, method, batch, policy, optimizer)
            method.after_update(done)
        measured = {
            **_timing(clock.take(), before, batch.groups),
            "memory/peak_bytes": peak_bytes(policy.network.device),
        }
        is_last = done == settings.num_steps
        is_evaluation_step = settings.is_evaluation_step(done)
        validation: Metrics = {}
        try:
            if is_evaluation_step:
                with clock.phase("evaluation"):
                    validation = run.evaluate(done)
        except (JobInterrupted, UngradedError):  # the same after the update: the step stands, its validation is made up
            run.record(done, merge_metrics([batch.metrics, metrics, measured]), batch.groups)
            run.save(done, method.state())
            raise
        with clock.phase("record"):
            run.record(done, merge_metrics([batch.metrics, metrics, validation, measured]), batch.groups)
        has_gone_back = run.turns.go_back_if_collapsed()
        if has_gone_back or is_evaluation_step or run.stop_asked or done % settings.checkpoint_interval == 0:
            with clock.phase("checkpoint"):
                run.save(done, method.state())
        if is_last or run.turns.is_over():
            return
        if run.stop_asked:
            raise JobInterrupted(f"stopped after step {done} of {settings.num_steps}; its state is saved")


def _update(
    run: Run, step: int, method: Method, batch: Batch, policy: Policy, optimizer: torch.optim.Optimizer
) -> Metrics:
    """The updates of the 0-based ``step``; where one diverged and the run can bear that, those before it."""
    learning_rate = learning_rate_at(step, run.settings) * run.turns.learning_rate_scale
    try:
        return update(
            policy,
            optimizer,
            batch.minibatches,
            method.loss,
            learning_rate=learning_rate,
            max_grad_norm=run.settings.max_grad_norm,
        )
    except TrainingDiverged as error:
        run.turns.bear(error)  # the run goes back after this step
        return {"optimizer/learning_rate": learning_rate, "optimizer/updates": 0.0, "optimizer/diverged": 1.0}


def _timing(
    seconds: defaultdict[Phase, float], before: defaultdict[Phase, float], groups: Sequence[RolloutGroup]
) -> Metrics:
    """A step's wall seconds by phase, which add up to the step's; how fast its tokens went; keeping the step before it.

    An outage is part of the step and in none of the others; the run counts it in ``time/grader_outage_seconds``.
    """
    whole = sum(seconds.values())
    timing = {
        "time/sampling_seconds": seconds["sampling"],
        "time/grading_seconds": seconds["grading"],
        "time/waiting_seconds": seconds["waiting"],
        "time/update_seconds": seconds["update"],
        "time/other_seconds": seconds["other"],
        "time/step_seconds": whole,
    }
    if before["record"]:
        timing["time/record_seconds"] = before["record"] + before["checkpoint"]
    return timing | throughput(groups, sampling=seconds["sampling"], update=seconds["update"], step=whole)
