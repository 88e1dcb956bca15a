"""Passes of a run's policy over held-out rows: each is computed once, recorded, and read back from then on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from openrft.errors import UngradedError
from openrft.evaluation.evaluation import Evaluation, Mode
from openrft.rollout.collect import Prompt
from openrft.rollout.outage import Patience
from openrft.training.budget import Budget
from openrft.training.evaluate import TEST_STREAM, VALIDATION_STREAM, evaluate, num_samples_in, sampling_in
from openrft.training.journal import Journal
from openrft.training.monitor import monitor_failure, monitor_metrics
from openrft.training.prepare import Prepared
from openrft.training.progress import Progress
from openrft.training.reuse import Kept, Pass
from openrft.training.run_folder import RunFolder
from openrft.training.sampling import evaluation_sampling
from openrft.types import Metrics


class Passes:
    """Evaluates, or finds what was evaluated before: by this run, or, of the untouched base, by an earlier one."""

    def __init__(
        self,
        prepared: Prepared,
        folder: RunFolder,
        journal: Journal,
        progress: Progress,
        *,
        kept: Kept | None,
        budget: Budget,
        patience: Patience,
        minutes: Callable[[], float],
        note: Callable[[str, str], None],
    ) -> None:
        self._prepared, self._settings = prepared, prepared.settings
        self._folder, self._journal, self._progress = folder, journal, progress
        self._kept, self._budget, self._patience = kept, budget, patience
        self._minutes, self._note = minutes, note
        self.are_of_base = False
        """Whether the policy is the untouched base now."""

    def evaluation(
        self, rows_name: str, step: int, mode: Mode, prompts: Sequence[Prompt], num_samples: int, name: str
    ) -> Evaluation:
        """The pass of this step over ``prompts``.

        Raises :class:`~openrft.errors.UngradedError` where too many answers have no grade, and
        :class:`~openrft.errors.BudgetSpent` where the base's evaluation would overrun what may be spent.
        """
        file = f"evaluations/step-{step:06d}-{rows_name}-{mode}.json"
        if (self._folder.path / file).exists():
            there = Evaluation.from_json(self._folder.read(file))
            if self.are_of_base:  # an earlier attempt was interrupted between these
                self._budget.add_evaluation(there, is_new=False)
            return there
        asked = Pass(
            name=name,
            step=step,
            mode=mode,
            num_samples=num_samples_in(mode, num_samples),
            sampling=sampling_in(mode, evaluation_sampling(self._settings, self._prepared.json_schema)),
            stream=TEST_STREAM if rows_name == "test" else VALIDATION_STREAM,
            prompts=prompts,
        )
        key = self._kept.key(self._prepared, asked) if self._kept and self.are_of_base else None
        evaluation = self._find(key, f"{len(prompts)} {rows_name} rows ({mode})")
        is_found, started = evaluation is not None, time.perf_counter()
        if evaluation is None:
            if self.are_of_base:
                self._budget.stop_before_base(len(prompts) * asked.num_samples, minutes=self._minutes())
            evaluation = self._compute(asked, rows_name)
            self._budget.add_evaluation(evaluation)
        seconds = time.perf_counter() - started
        self._folder.write(file, evaluation.to_json())
        self._journal.evaluated(step, file)
        if not is_found:
            self._keep(key, evaluation, seconds)
        return evaluation

    def _compute(self, asked: Pass, rows_name: str) -> Evaluation:
        assert self._prepared.grader is not None, "nothing can be graded"
        self._progress.phase(f"{asked.name}: {rows_name} rows, {asked.mode}", len(asked.prompts) * asked.num_samples)
        evaluation = evaluate(
            self._prepared.engine,
            self._prepared.grader,
            asked.prompts,
            name=asked.name,
            step=asked.step,
            mode=asked.mode,
            num_samples=asked.num_samples,
            sampling=asked.sampling,
            seed=self._prepared.job.seed,
            stream=asked.stream,
            model=self._prepared.policy.name,
            on_rollout=self._progress.rollout,
            patience=self._patience,
            monitor=self._prepared.monitor if asked.mode == "sampled" else None,
        )
        if (failure := monitor_failure(evaluation)) is not None:
            self._note(failure, "warn")
        if evaluation.ungraded_share > self._settings.max_ungraded_share:
            # Nothing is written: a resumed run reads back what is there, and is to grade these rows again.
            error = next(error for row in evaluation.rows for error in row.errors if error is not None)
            raise UngradedError(
                f"{evaluation.ungraded_share:.0%} of the {rows_name} answers of {asked.name} could not be graded "
                f"(limit {self._settings.max_ungraded_share:.0%}); the first error: {error}",
                is_outage=evaluation.is_outage,
            )
        return evaluation

    def _find(self, key: str | None, what: str) -> Evaluation | None:
        """The same evaluation by an earlier run, which is told; or by an attempt of this one, where nothing is new."""
        if self._kept is None or key is None:
            return None
        found = self._kept.find(key, lambda problem: self._note(problem, "warn"))
        if found is None:
            return None
        if found.made_by == self._kept.run:
            return found.evaluation
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.made_at))
        self._note(f"base evaluation of {what} reused from {when}, saved {found.seconds:.1f} s", "info")
        return found.evaluation

    def _keep(self, key: str | None, evaluation: Evaluation, seconds: float) -> None:
        if self._kept is None or key is None:
            return
        try:
            self._kept.keep(key, evaluation, seconds)
        except OSError as error:  # the run has what it needs
            self._note(f"the base evaluation could not be kept for other runs: {error.strerror}", "warn")


def validation_metrics(evaluation: Evaluation, passing_score: float) -> Metrics:
    """A validation's scores, lengths, failures and costs."""
    metrics = {
        "valid/ungraded_share": evaluation.ungraded_share,
        "valid/truncated_share": evaluation.truncated_share,
        "valid/completion_tokens_mean": evaluation.completion_tokens_mean,
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
        metrics["valid/pass_share"] = evaluation.pass_rate(passing_score) or 0.0
    return metrics | monitor_metrics(evaluation)
