"""A run in this process: what the loop calls to evaluate, record and save, and how a run goes back after a crash."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from openrft.diagnosis.watch.alarm import Alarm
from openrft.diagnosis.watch.answers import answer_metrics
from openrft.errors import CheckpointDamaged, CheckpointError, JobInterrupted
from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.selection import SMOOTHING_WINDOW, first_highest, smoothed_means
from openrft.models.checkpoint import (
    delete_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    set_aside,
    sweep_partials,
)
from openrft.rollout.outage import Patience
from openrft.training.alarms import Alarms, facts_of
from openrft.training.budget import Budget, Grant
from openrft.training.evaluate import fall
from openrft.training.journal import Journal, NoJournal
from openrft.training.passes import Passes, validation_metrics
from openrft.training.prepare import Prepared
from openrft.training.progress import Progress
from openrft.training.reuse import Kept
from openrft.training.run_folder import RunFolder
from openrft.training.totals import Totals
from openrft.training.turns import Turns
from openrft.types import Metrics, RolloutGroup

NUM_BEST_CHECKPOINTS = 3  # OpenAI keeps three
TEST_SAMPLES = 4  # completions per test example in the report: more examples beat more samples from here on


class ForegroundRun:
    """A run in this process: what the loop calls to evaluate, record and save."""

    def __init__(
        self,
        prepared: Prepared,
        folder: RunFolder,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        journal: Journal | None = None,
        kept: Kept | None = None,
        grant: Grant | None = None,
    ) -> None:
        self.prepared = prepared
        self.settings = prepared.settings
        self.folder = folder
        self.optimizer = optimizer
        self.progress = progress
        self.journal = journal or NoJournal()
        self.next_step = 0
        self.stop_asked = False
        self.patience = Patience(60 * self.settings.grader_outage_minutes, wait=self._wait, tell=self.note)
        self._valid_means: dict[int, float] = {}
        self.turns = Turns(
            self.settings,
            policy=prepared.policy,
            engine=prepared.engine,
            optimizer=optimizer,
            checkpoints=folder.checkpoints,
            tell=self.note,
        )
        self.course = self.turns.course
        self._totals = Totals()
        self._alarms = Alarms(folder, facts_of(prepared))
        self.budget = Budget(self.settings, grant=grant, num_validated=len(prepared.valid) * self.settings.eval_samples)
        self._passes = Passes(
            prepared,
            folder,
            self.journal,
            progress,
            kept=kept,
            budget=self.budget,
            patience=self.patience,
            minutes=lambda: self.minutes,
            note=self.note,
        )
        self._waited = 0.0  # for graders that were away
        self.method_state: dict[str, Any] | None = None  # that of the checkpoint which the run goes on from
        self._session_started = time.perf_counter()
        self._seconds_before = 0.0

    @property
    def window(self) -> int:
        """Over how many neighbours validation is averaged before the best is chosen."""
        return SMOOTHING_WINDOW

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent on this run, earlier attempts up to their last checkpoint included."""
        return self._seconds_before + time.perf_counter() - self._session_started

    @property
    def minutes(self) -> float:
        """Minutes of :attr:`seconds`, those left out in which a grader was away."""
        return max(0.0, self.seconds - self._waited) / 60

    def check_budget(self, step: int) -> None:
        """Raise :class:`~openrft.errors.BudgetSpent` where the 1-based ``step`` would overrun what may be spent."""
        is_validated = self.settings.is_evaluation_step(step)
        self.budget.stop_before_step(step, self.settings.num_steps, is_validated=is_validated)

    def baseline(self) -> None:
        """Evaluate the untouched base on validation and test rows, as step 0; or find what an earlier run found."""
        self._passes.are_of_base = True
        metrics = self.evaluate(0)
        self.evaluate_reported("base", 0)
        self._passes.are_of_base = False
        self.record(0, metrics, ())

    def evaluate(self, step: int) -> Metrics:
        """Watch the policy on the validation examples; the loop's evaluation."""
        started = time.perf_counter()
        evaluation = self._passes.evaluation(
            "valid", step, "sampled", self.prepared.valid, self.settings.eval_samples, f"step {step}"
        )
        metrics = {
            **validation_metrics(evaluation, self.settings.passing_score),
            "time/evaluation_seconds": time.perf_counter() - started,
        }
        if evaluation.mean is not None:
            metrics |= fall(self._best_before(step), evaluation)
            self._valid_means[step] = evaluation.mean
        return metrics

    def _best_before(self, step: int) -> Evaluation | None:
        """The best validation of those that the present weights descend from."""
        before = {known: mean for known, mean in self._line().items() if known < step}
        if not before:
            return None
        best = max(before, key=lambda known: (before[known], -known))
        return Evaluation.from_json(self.folder.read(f"evaluations/step-{best:06d}-valid-sampled.json"))

    def make_up_validation(self) -> None:
        """Evaluate the step that the run goes on from, where an earlier attempt was interrupted in doing so."""
        step = self.next_step
        if step and self.settings.is_evaluation_step(step) and step not in self._valid_means:
            validation = self.evaluate(step)
            self.folder.amend(step, {**validation, **self._totals.gain(validation), **self.budget.amended()})
            self.course.see(step, self.folder.read_metrics()[-1])
            self.journal.recorded(step)

    def evaluate_reported(self, name: str, step: int) -> None:
        """All evaluations on the rows that the report is about."""
        self.evaluate_test(name, step)

    def evaluate_test(self, name: str, step: int) -> tuple[Evaluation, Evaluation]:
        """(sampled, greedy) evaluations on the rows that the report is about; without a test file, the validation rows.

        One that was recorded before is read back.
        """
        if self.stop_asked:
            raise JobInterrupted("stopped between evaluations; nothing is lost")
        rows, kind = (self.prepared.test, "test") if self.prepared.test else (self.prepared.valid, "validation")
        sampled = self._passes.evaluation(kind, step, "sampled", rows, TEST_SAMPLES, name)
        return sampled, self._passes.evaluation(kind, step, "greedy", rows, 1, name)

    def record(self, step: int, metrics: Metrics, groups: Sequence[RolloutGroup]) -> None:
        """Make a finished step last, then tell about it."""
        waited = self.patience.take_waited()
        self._waited += waited
        metrics = {
            **metrics,
            **answer_metrics(groups, self.settings.passing_score),
            **self._totals.add(step, metrics),
            **self.budget.account(metrics, minutes=self.minutes),
            "time/grader_outage_seconds": waited,
        }
        if self.course.returns:
            metrics["guard/returns"] = float(len(self.course.returns))
        self.folder.record(step, metrics, groups)
        self.course.see(step, metrics)
        self.budget.see(step, metrics)
        self._tell(self._alarms.see({"step": step, **metrics}))
        self.journal.recorded(step)
        self.progress.step(step, self.settings.num_steps, metrics)

    def save(self, step: int, method_state: dict[str, Any]) -> None:
        """Save a checkpoint and let go of those that are neither among the best nor the last."""
        state = {"method": method_state, "seconds": round(self.seconds, 3), "seed": self.prepared.job.seed}
        if self.course.returns:
            state["returns"] = self.course.state()
        save_checkpoint(
            self.folder.checkpoints, step=step, policy=self.prepared.policy, optimizer=self.optimizer, state=state
        )
        kept = self.kept_steps(last=step)
        self.journal.saved(step, kept)
        self._let_go_of_others(kept)

    def _let_go_of_others(self, kept: set[int]) -> None:
        for old, path in list_checkpoints(self.folder.checkpoints):
            if old not in kept:
                delete_checkpoint(path)

    def kept_steps(self, *, last: int) -> set[int]:
        """Steps whose checkpoints stay: the three best by validation, the best of the smoothed curve, the last.

        The newest evaluated one stays as well: its smoothed mean is not known before its right neighbour is measured.
        """
        means = self._line()
        steps = sorted(step for step in means if 0 < step <= last)
        best = sorted(steps, key=lambda step: (-means[step], step))[:NUM_BEST_CHECKPOINTS]
        smoothed = smoothed_means([means[step] for step in steps], self.window)
        settled = [steps[first_highest(smoothed[:-1])]] if len(steps) > 1 else []
        return {*best, *settled, *steps[-1:], last, self.course.weights_of(last)} - {0}

    def choose_step(self) -> int:
        """The step whose weights ship: the first highest of the smoothed validation curve, or the last."""
        there = [step for step, _ in list_checkpoints(self.folder.checkpoints)]
        means = self._line()
        steps = sorted(step for step in means if step > 0)
        if self.settings.ship == "last" or not steps:
            return self.course.weights_of(there[-1])
        smoothed = dict(zip(steps, smoothed_means([means[step] for step in steps], self.window), strict=True))
        candidates = [step for step in steps if step in there]  # all that matter, unless somebody deleted some
        if not candidates:
            return self.course.weights_of(there[-1])
        return candidates[first_highest([smoothed[step] for step in candidates])]

    def go_back_to_last_checkpoint(self) -> None:
        """Put the last intact checkpoint in place and forget what was recorded after it.

        A damaged one is set aside for the one before it. Raises :class:`CheckpointError` when there are checkpoints and
        none can be used: starting over in silence would look like going on.
        """
        sweep_partials(self.folder.checkpoints)
        returns: Sequence[Mapping[str, Any]] = ()
        checkpoints = list_checkpoints(self.folder.checkpoints)
        for step, path in reversed(checkpoints):
            try:
                state = load_checkpoint(path, policy=self.prepared.policy, optimizer=self.optimizer)
            except CheckpointDamaged as error:
                self.note(f"{error.message}; set aside as {set_aside(path).name}, going back further", level="warn")
                continue
            self.next_step = step
            self._seconds_before = float(state["seconds"])
            self.method_state = state["method"]
            returns = state.get("returns", ())
            break
        if checkpoints and not self.next_step:
            raise CheckpointError(f"none of the {len(checkpoints)} checkpoints in {self.folder.checkpoints} is intact")
        # Without a checkpoint the run starts over, step 0 included.
        self.folder.forget_after(self.next_step if self.next_step else -1)
        rows = self.folder.read_metrics()
        if [row["step"] for row in rows] != list(range(len(rows))) or len(rows) != (self.next_step + 1) * bool(rows):
            raise CheckpointError(f"{self.folder.path / 'metrics.jsonl'} lacks steps before {self.next_step}")
        self.turns.follow(rows, returns)
        for row in rows:
            self._totals.add(row["step"], row)
            self.budget.see(row["step"], row)
            self._waited += row.get("time/grader_outage_seconds") or 0.0
            if (standing := self._standing(row)) is not None:
                self._valid_means[row["step"]] = standing
        self._let_go_of_others(self.kept_steps(last=self.next_step))  # where a kill came before it was done
        self.prepared.engine.load_weights(self.next_step)

    def _standing(self, metrics: Mapping[str, Any]) -> float | None:
        """What checkpoints are chosen by, of a step's metrics; higher is better."""
        mean: float | None = metrics.get("valid/reward_mean")
        return mean

    def _line(self) -> dict[int, float]:
        """Validation means of the steps that the present weights descend from."""
        return {step: mean for step, mean in self._valid_means.items() if self.course.is_of_line(step)}

    def note(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """Tell people, now and in the run's events."""
        self.folder.event(message, level=level, **(data or {}))
        self.progress.note(message, level, data)

    def notice(self) -> list[Alarm]:
        """Everything that the rules have found in the run so far; people are told what is new."""
        self._tell(self._alarms.catch_up())
        return self._alarms.all

    def _tell(self, news: Sequence[Alarm]) -> None:
        for alarm in news:
            self.note(alarm.told, alarm.level, {"alarm": alarm.to_json()})

    def _wait(self, seconds: float) -> None:
        """Sleep, but not through somebody's wish to stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stop_asked:
                break
            time.sleep(min(left, 0.2))
        if self.stop_asked:
            raise JobInterrupted("stopped while waiting for a grader; finished steps are kept, resume when it is back")
