"""A run in this process: what the loop calls to evaluate, record and save, and how a run goes back after a crash."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from openrft.errors import CheckpointDamaged, CheckpointError, JobInterrupted, UngradedError
from openrft.evaluation.evaluation import Evaluation, Mode
from openrft.evaluation.selection import first_highest, smoothed_means
from openrft.models.checkpoint import (
    delete_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    set_aside,
    sweep_partials,
)
from openrft.rollout.collect import Prompt
from openrft.rollout.outage import Patience
from openrft.training.evaluate import TEST_STREAM, VALIDATION_STREAM, evaluate, num_samples_in, sampling_in
from openrft.training.journal import Journal, NoJournal
from openrft.training.prepare import Prepared, evaluation_sampling
from openrft.training.progress import Progress
from openrft.training.reuse import Kept, Pass
from openrft.training.run_folder import RunFolder
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
    ) -> None:
        self.prepared = prepared
        self.settings = prepared.settings
        self.folder = folder
        self.optimizer = optimizer
        self.progress = progress
        self.journal = journal or NoJournal()
        self._kept, self._is_untouched = kept, False
        self.next_step = 0
        self.stop_asked = False
        self.patience = Patience(60 * self.settings.grader_outage_minutes, wait=self._wait, tell=self.note)
        self._valid_means: dict[int, float] = {}
        self._session_started = time.perf_counter()
        self._seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent on this run, earlier attempts up to their last checkpoint included."""
        return self._seconds_before + time.perf_counter() - self._session_started

    def baseline(self) -> None:
        """Evaluate the untouched base on validation and test rows, as step 0; or find what an earlier run found."""
        self._is_untouched = True
        metrics = self.evaluate(0)
        self.evaluate_test("base", 0)
        self._is_untouched = False
        self.record(0, metrics, ())

    def evaluate(self, step: int) -> Metrics:
        """Watch the policy on the validation examples; the loop's evaluation."""
        started = time.perf_counter()
        evaluation = self._pass(
            "valid", step, "sampled", self.prepared.valid, self.settings.eval_samples, f"step {step}"
        )
        seconds = time.perf_counter() - started
        metrics = {
            "valid/ungraded_share": evaluation.ungraded_share,
            "valid/truncated_share": evaluation.truncated_share,
            "valid/completion_tokens_mean": evaluation.completion_tokens_mean,
            "time/evaluation_seconds": seconds,
        }
        if evaluation.parse_error_share is not None:
            metrics["valid/parse_error_share"] = evaluation.parse_error_share
        seconds_per_grade = dict(evaluation.grade_seconds)
        if "" in seconds_per_grade:  # the grader as a whole; the others are parts of a multi grader
            metrics["time/valid_grade_seconds_mean"] = seconds_per_grade.pop("")
        for part, mean in seconds_per_grade.items():
            metrics[f"time/valid_grade_seconds_mean/{part}"] = mean
        if evaluation.usage:
            metrics["valid/grade_cost"] = sum(spent.cost for spent in evaluation.usage.values())
        if evaluation.mean is not None and evaluation.interval is not None:
            metrics["valid/reward_mean"] = evaluation.mean
            metrics["valid/reward_low"] = evaluation.interval.low
            metrics["valid/reward_high"] = evaluation.interval.high
            metrics["valid/pass_share"] = evaluation.pass_rate(self.settings.passing_score) or 0.0
            self._valid_means[step] = evaluation.mean
        return metrics

    def make_up_validation(self) -> None:
        """Evaluate the step that the run goes on from, where an earlier attempt was interrupted in doing so."""
        step = self.next_step
        if step and self.settings.is_evaluation_step(step) and step not in self._valid_means:
            self.folder.amend(step, self.evaluate(step))
            self.journal.recorded(step)

    def evaluate_test(self, name: str, step: int) -> tuple[Evaluation, Evaluation]:
        """(sampled, greedy) evaluations on the rows that the report is about; without a test file, the validation rows.

        One that was recorded before is read back.
        """
        if self.stop_asked:
            raise JobInterrupted("stopped between evaluations; nothing is lost")
        rows, kind = (self.prepared.test, "test") if self.prepared.test else (self.prepared.valid, "validation")
        sampled = self._pass(kind, step, "sampled", rows, TEST_SAMPLES, name)
        return sampled, self._pass(kind, step, "greedy", rows, 1, name)

    def record(self, step: int, metrics: Metrics, groups: Sequence[RolloutGroup]) -> None:
        """Make a finished step last, then tell about it."""
        metrics = {**metrics, "time/grader_outage_seconds": self.patience.take_waited()}
        self.folder.record(step, metrics, groups)
        self.journal.recorded(step)
        self.progress.step(step, self.settings.num_steps, metrics)

    def save(self, step: int, method_state: dict[str, Any]) -> None:
        """Save a checkpoint and let go of those that are neither among the best nor the last."""
        state = {"method": method_state, "seconds": round(self.seconds, 3), "seed": self.prepared.job.seed}
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
        steps = sorted(step for step in self._valid_means if 0 < step <= last)
        best = sorted(steps, key=lambda step: (-self._valid_means[step], step))[:NUM_BEST_CHECKPOINTS]
        smoothed = smoothed_means([self._valid_means[step] for step in steps])
        settled = [steps[first_highest(smoothed[:-1])]] if len(steps) > 1 else []
        return {*best, *settled, *steps[-1:], last}

    def choose_step(self) -> int:
        """The step whose weights ship: the first highest of the smoothed validation curve, or the last."""
        there = [step for step, _ in list_checkpoints(self.folder.checkpoints)]
        steps = sorted(step for step in self._valid_means if step > 0)
        if self.settings.ship == "last" or not steps:
            return there[-1]
        smoothed = dict(zip(steps, smoothed_means([self._valid_means[step] for step in steps]), strict=True))
        candidates = [step for step in steps if step in there]  # all that matter, unless somebody deleted some
        return candidates[first_highest([smoothed[step] for step in candidates])] if candidates else there[-1]

    def go_back_to_last_checkpoint(self) -> None:
        """Put the last intact checkpoint in place and forget what was recorded after it.

        A damaged one is set aside for the one before it. Raises :class:`CheckpointError` when there are checkpoints and
        none can be used: starting over in silence would look like going on.
        """
        sweep_partials(self.folder.checkpoints)
        checkpoints = list_checkpoints(self.folder.checkpoints)
        for step, path in reversed(checkpoints):
            try:
                state = load_checkpoint(path, policy=self.prepared.policy, optimizer=self.optimizer)
            except CheckpointDamaged as error:
                self.note(f"{error.message}; set aside as {set_aside(path).name}, going back further", level="warn")
                continue
            self.next_step = step
            self._seconds_before = float(state["seconds"])
            break
        if checkpoints and not self.next_step:
            raise CheckpointError(f"none of the {len(checkpoints)} checkpoints in {self.folder.checkpoints} is intact")
        # Without a checkpoint the run starts over, step 0 included.
        self.folder.forget_after(self.next_step if self.next_step else -1)
        rows = self.folder.read_metrics()
        if [row["step"] for row in rows] != list(range(len(rows))) or len(rows) != (self.next_step + 1) * bool(rows):
            raise CheckpointError(f"{self.folder.path / 'metrics.jsonl'} lacks steps before {self.next_step}")
        for row in rows:
            if row.get("valid/reward_mean") is not None:
                self._valid_means[row["step"]] = row["valid/reward_mean"]
        self._let_go_of_others(self.kept_steps(last=self.next_step))  # where a kill came before it was done
        self.prepared.engine.load_weights(self.next_step)

    def note(self, message: str, level: str = "info") -> None:
        """Tell people, now and in the run's events."""
        self.folder.event(message, level=level)
        self.progress.note(message, level)

    def _wait(self, seconds: float) -> None:
        """Sleep, but not through somebody's wish to stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stop_asked:
                break
            time.sleep(min(left, 0.2))
        if self.stop_asked:
            raise JobInterrupted("stopped while waiting for a grader; finished steps are kept, resume when it is back")

    def _pass(
        self, rows_name: str, step: int, mode: Mode, prompts: Sequence[Prompt], num_samples: int, name: str
    ) -> Evaluation:
        file = f"evaluations/step-{step:06d}-{rows_name}-{mode}.json"
        if (self.folder.path / file).exists():
            return Evaluation.from_json(self.folder.read(file))
        asked = Pass(
            name=name,
            step=step,
            mode=mode,
            num_samples=num_samples_in(mode, num_samples),
            sampling=sampling_in(mode, evaluation_sampling(self.settings, self.prepared.json_schema)),
            stream=TEST_STREAM if rows_name == "test" else VALIDATION_STREAM,
            prompts=prompts,
        )
        key = self._kept.key(self.prepared, asked) if self._kept and self._is_untouched else None
        evaluation = self._find(key, f"{len(prompts)} {rows_name} rows ({mode})")
        is_found, started = evaluation is not None, time.perf_counter()
        evaluation = evaluation or self._compute(asked, rows_name)
        seconds = time.perf_counter() - started
        self.folder.write(file, evaluation.to_json())
        self.journal.evaluated(step, file)
        if not is_found:
            self._keep(key, evaluation, seconds)
        return evaluation

    def _compute(self, asked: Pass, rows_name: str) -> Evaluation:
        self.progress.phase(f"{asked.name}: {rows_name} rows, {asked.mode}", len(asked.prompts) * asked.num_samples)
        evaluation = evaluate(
            self.prepared.engine,
            self.prepared.grader,
            asked.prompts,
            name=asked.name,
            step=asked.step,
            mode=asked.mode,
            num_samples=asked.num_samples,
            sampling=asked.sampling,
            seed=self.prepared.job.seed,
            stream=asked.stream,
            model=self.prepared.policy.name,
            on_rollout=self.progress.rollout,
            patience=self.patience,
        )
        if evaluation.ungraded_share > self.settings.max_ungraded_share:
            # Nothing is written: a resumed run reads back what is there, and is to grade these rows again.
            error = next(error for row in evaluation.rows for error in row.errors if error is not None)
            raise UngradedError(
                f"{evaluation.ungraded_share:.0%} of the {rows_name} answers of {asked.name} could not be graded "
                f"(limit {self.settings.max_ungraded_share:.0%}); the first error: {error}",
                is_outage=evaluation.is_outage,
            )
        return evaluation

    def _find(self, key: str | None, what: str) -> Evaluation | None:
        """The same evaluation by an earlier run, which is told; or by an attempt of this one, where nothing is new."""
        if self._kept is None or key is None:
            return None
        found = self._kept.find(key, lambda problem: self.note(problem, "warn"))
        if found is None:
            return None
        if found.made_by == self._kept.run:
            return found.evaluation
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.made_at))
        self.note(f"base evaluation of {what} reused from {when}, saved {found.seconds:.1f} s")
        return found.evaluation

    def _keep(self, key: str | None, evaluation: Evaluation, seconds: float) -> None:
        if self._kept is None or key is None:
            return
        try:
            self._kept.keep(key, evaluation, seconds)
        except OSError as error:  # the run has what it needs
            self.note(f"the base evaluation could not be kept for other runs: {error.strerror}", "warn")
