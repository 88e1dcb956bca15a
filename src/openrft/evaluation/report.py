"""Base against tuned model on held-out rows: did the job make the model better, and how sure is that?

The primary result is declared here and not chosen after the fact: the paired difference in mean score with sampling
as in training. Pass rate and greedy decoding stand beside it. Texts are worded in ``verdict``, shown by ``render``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from openrft.evaluation import verdict
from openrft.evaluation.curve import CurvePoint
from openrft.evaluation.evaluation import PASS_THRESHOLD, Evaluation, EvaluationRow, Mode, mean_or_none
from openrft.evaluation.selection import SelectionFacts
from openrft.evaluation.statistics import Interval, PairedDifference, paired_difference
from openrft.evaluation.time_spent import TimeSpent

Metric = Literal["mean score", "pass rate"]
RowsKind = Literal["test", "validation"]
"""``test``: rows that nothing was decided on; ``validation``: those that checkpoints were watched and chosen with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One metric of both models on the same rows; None where nothing was graded."""

    metric: Metric
    mode: Mode
    base_mean: float | None
    base_interval: Interval | None
    tuned_mean: float | None
    tuned_interval: Interval | None
    paired: PairedDifference | None  # None when no row has a grade from both

    @property
    def outcome(self) -> verdict.Outcome:
        """What the paired interval says, taken by itself."""
        return verdict.outcome_of(self.paired)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One of the evaluations that went into the report."""

    name: str
    step: int
    mode: Mode
    num_examples: int
    num_samples: int
    num_completions: int
    num_ungraded: int
    first_error: str | None
    completion_tokens_mean: float
    truncated_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RowChange:
    """One row under both models. The outputs shown are those whose score is nearest to the row's mean."""

    example_id: str
    index: int
    line: int
    prompt_text: str
    base_mean: float
    tuned_mean: float
    difference: float
    base_scores: list[float | None]
    tuned_scores: list[float | None]
    base_output: str
    tuned_output: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The whole answer to "is it better?", as plain data."""

    job: dict[str, Any]  # facts about the job, shown as they are
    rows_kind: RowsKind
    pass_threshold: float
    shipped_step: int
    comparisons: list[Comparison]  # the first is the primary result
    arms: list[Arm]
    rows: list[RowChange]  # sampled; those that got worse most come first
    num_rows_left_out: int  # beyond ``max_rows``; those that got better most are the first to go
    selection: SelectionFacts | None
    curve: list[CurvePoint]
    time_spent: TimeSpent | None = None  # None: there was no training to tell of

    @property
    def primary(self) -> Comparison:
        """The comparison that the verdict is about: mean score, sampled."""
        return self.comparisons[0]

    def comparison(self, metric: Metric, mode: Mode) -> Comparison | None:
        """One of the comparisons; None when that mode was not evaluated."""
        return next((c for c in self.comparisons if (c.metric, c.mode) == (metric, mode)), None)

    @property
    def optimism(self) -> float:
        """How much the difference is expected to flatter because these very rows chose the checkpoint."""
        if self.rows_kind == "test" or self.selection is None:
            return 0.0
        return self.selection.expected_optimism

    @property
    def outcome(self) -> verdict.Outcome:
        """Better or worse only if the whole interval says so; a gain must also survive the optimism of the choice."""
        return verdict.outcome_of(self.primary.paired, optimism=self.optimism)

    @property
    def is_significant_gain(self) -> bool:
        """Whether the tuned model is better beyond what chance explains."""
        return self.outcome == "better"

    @property
    def is_sharpening(self) -> bool:
        """Sampling improved but the greedy answer did not: the model got surer of what it could already do."""
        greedy = self.comparison("mean score", "greedy")
        return self.is_significant_gain and greedy is not None and greedy.outcome in ("no change", "worse")

    @property
    def sentence(self) -> str:
        """The verdict in one or two sentences."""
        return verdict.sentence(self)

    @property
    def notes(self) -> list[str]:
        """What one has to know to read the numbers rightly, most important first."""
        return verdict.notes(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the conclusions beside the data; ``from_json(to_json())`` gives an equal report."""
        conclusions = {
            "outcome": self.outcome,
            "is_significant_gain": self.is_significant_gain,
            "is_sharpening": self.is_sharpening,
            "sentence": self.sentence,
            "notes": self.notes,
        }
        return {**conclusions, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """The report that :meth:`to_json` wrote; conclusions are drawn anew from the data."""
        selection = data["selection"]
        return cls(
            job=dict(data["job"]),
            rows_kind=data["rows_kind"],
            pass_threshold=data["pass_threshold"],
            shipped_step=data["shipped_step"],
            comparisons=[_comparison_from_json(comparison) for comparison in data["comparisons"]],
            arms=[Arm(**arm) for arm in data["arms"]],
            rows=[RowChange(**row) for row in data["rows"]],
            num_rows_left_out=data["num_rows_left_out"],
            selection=None if selection is None else SelectionFacts(**selection),
            curve=[CurvePoint.from_json(point) for point in data["curve"]],
            time_spent=TimeSpent.from_json(data["time_spent"]) if data.get("time_spent") else None,
        )


def build_report(
    *,
    job: Mapping[str, Any],
    base_sampled: Evaluation,
    tuned_sampled: Evaluation,
    base_greedy: Evaluation | None = None,
    tuned_greedy: Evaluation | None = None,
    rows_kind: RowsKind = "test",
    selection: SelectionFacts | None = None,
    curve: Sequence[CurvePoint] = (),
    time_spent: TimeSpent | None = None,
    pass_threshold: float = PASS_THRESHOLD,
    clusters: Mapping[str, Hashable] | None = None,
    max_rows: int = 200,
) -> Report:
    """Compare two models that were evaluated on the same rows.

    ``job`` holds facts to show, plain JSON values: model names, grader, seed, seconds, whatever helps. ``clusters``
    maps example ids to what they share (a document, a person); rows with the same content always count as one unit.
    """
    pairs = [(base_sampled, tuned_sampled)]
    if base_greedy is not None and tuned_greedy is not None:
        pairs.append((base_greedy, tuned_greedy))
    comparisons: list[Comparison] = []
    for base, tuned in pairs:
        row_pairs = _row_pairs(base, tuned)
        groups = [(clusters or {}).get(row.example_id, row.example_id) for row, _ in row_pairs]
        comparisons += [_compare(metric, base, tuned, groups, pass_threshold) for metric in _METRICS]
    changes = sorted(_changes(base_sampled, tuned_sampled), key=lambda change: (change.difference, change.index))
    return Report(
        job=dict(job),
        rows_kind=rows_kind,
        pass_threshold=pass_threshold,
        shipped_step=tuned_sampled.step,
        comparisons=comparisons,
        arms=[_arm(evaluation) for pair in pairs for evaluation in pair],
        rows=changes[:max_rows],
        num_rows_left_out=len(changes[max_rows:]),
        selection=selection,
        curve=list(curve),
        time_spent=time_spent,
    )


_METRICS: tuple[Metric, ...] = ("mean score", "pass rate")


def _compare(
    metric: Metric, base: Evaluation, tuned: Evaluation, groups: Sequence[Hashable], threshold: float
) -> Comparison:
    row_pairs = _row_pairs(base, tuned)

    def value(row: EvaluationRow) -> float | None:
        return row.mean if metric == "mean score" else row.pass_mean(threshold)

    base_means = [value(row) for row, _ in row_pairs]
    tuned_means = [value(row) for _, row in row_pairs]
    is_pair = [None not in pair for pair in zip(base_means, tuned_means, strict=True)]
    num_samples = min(base.graded_per_example, tuned.graded_per_example)
    paired = paired_difference(base_means, tuned_means, num_samples, groups) if any(is_pair) else None
    if paired is not None:
        # The two means must be of the same rows, or their difference would not be the one reported.
        base_means = [mean if kept else None for mean, kept in zip(base_means, is_pair, strict=True)]
        tuned_means = [mean if kept else None for mean, kept in zip(tuned_means, is_pair, strict=True)]
    return Comparison(
        metric=metric,
        mode=base.mode,
        base_mean=mean_or_none([mean for mean in base_means if mean is not None]),
        base_interval=base.interval_of(base_means, groups),
        tuned_mean=mean_or_none([mean for mean in tuned_means if mean is not None]),
        tuned_interval=tuned.interval_of(tuned_means, groups),
        paired=paired,
    )


def _row_pairs(base: Evaluation, tuned: Evaluation) -> list[tuple[EvaluationRow, EvaluationRow]]:
    """The rows of both, matched by content and place, in the base's order."""
    tuned_rows = {(row.example_id, row.index): row for row in tuned.rows}
    if base.mode != tuned.mode or tuned_rows.keys() != {(row.example_id, row.index) for row in base.rows}:
        raise ValueError(f"{base.name!r} and {tuned.name!r} were not evaluated on the same rows in the same mode")
    return [(row, tuned_rows[row.example_id, row.index]) for row in base.rows]


def _changes(base: Evaluation, tuned: Evaluation) -> list[RowChange]:
    changes = []
    for before, after in _row_pairs(base, tuned):
        base_mean, tuned_mean = before.mean, after.mean
        if base_mean is None or tuned_mean is None:
            continue
        changes.append(
            RowChange(
                example_id=before.example_id,
                index=before.index,
                line=before.line,
                prompt_text=before.prompt_text,
                base_mean=base_mean,
                tuned_mean=tuned_mean,
                difference=tuned_mean - base_mean,
                base_scores=before.scores,
                tuned_scores=after.scores,
                base_output=before.outputs[before.representative()],
                tuned_output=after.outputs[after.representative()],
            )
        )
    return changes


def _arm(evaluation: Evaluation) -> Arm:
    return Arm(
        name=evaluation.name,
        step=evaluation.step,
        mode=evaluation.mode,
        num_examples=len(evaluation.rows),
        num_samples=evaluation.num_samples,
        num_completions=evaluation.num_completions,
        num_ungraded=evaluation.num_ungraded,
        first_error=next((error for row in evaluation.rows for error in row.errors if error is not None), None),
        completion_tokens_mean=evaluation.completion_tokens_mean,
        truncated_share=evaluation.truncated_share,
    )


def _comparison_from_json(data: Mapping[str, Any]) -> Comparison:
    def interval(value: Mapping[str, Any] | None) -> Interval | None:
        return None if value is None else Interval(**value)

    paired = data["paired"]
    if paired is not None:
        paired = PairedDifference(**{**paired, "interval": Interval(**paired["interval"])})
    return Comparison(
        metric=data["metric"],
        mode=data["mode"],
        base_mean=data["base_mean"],
        base_interval=interval(data["base_interval"]),
        tuned_mean=data["tuned_mean"],
        tuned_interval=interval(data["tuned_interval"]),
        paired=paired,
    )
