"""One metric of two models on the same rows: both means with their intervals, and the paired difference."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from openrft.evaluation import verdict
from openrft.evaluation.evaluation import Evaluation, EvaluationRow, Mode, graded_per_row, mean_or_none
from openrft.evaluation.statistics import Interval, PairedDifference, mean_interval, paired_difference

Metric = Literal["mean score", "pass rate", "pass@k", "best of k"]
RowPair = tuple[EvaluationRow, EvaluationRow]
"""The same row under the base and under the tuned model."""


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

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        """What ``dataclasses.asdict`` wrote."""

        def interval(value: Mapping[str, Any] | None) -> Interval | None:
            return None if value is None else Interval(**value)

        paired = data["paired"]
        if paired is not None:
            paired = PairedDifference(**{**paired, "interval": Interval(**paired["interval"])})
        intervals = {name: interval(data[name]) for name in ("base_interval", "tuned_interval")}
        return cls(**{**data, **intervals, "paired": paired})


def row_pairs(base: Evaluation, tuned: Evaluation) -> list[RowPair]:
    """The rows of both, matched by content and place, in the base's order."""
    tuned_rows = {(row.example_id, row.index): row for row in tuned.rows}
    if base.mode != tuned.mode or tuned_rows.keys() != {(row.example_id, row.index) for row in base.rows}:
        raise ValueError(f"{base.name!r} and {tuned.name!r} were not evaluated on the same rows in the same mode")
    return [(row, tuned_rows[row.example_id, row.index]) for row in base.rows]


def compare_rows(
    metric: Metric,
    mode: Mode,
    pairs: Sequence[RowPair],
    value: Callable[[EvaluationRow], float | None],
    clusters: Mapping[str, Hashable],
    *,
    samples_per_trial: int = 1,
) -> Comparison:
    """Compare what ``value`` says of the rows, None where it cannot say anything.

    ``clusters`` maps example ids to what they share; rows with the same content always count as one unit.
    ``samples_per_trial`` is how many samples one value takes at least, such as the ``k`` of pass@k.
    """
    groups = [clusters.get(row.example_id, row.example_id) for row, _ in pairs]
    base, tuned = ([value(pair[arm]) for pair in pairs] for arm in (0, 1))
    num_base, num_tuned = (
        max(1.0, graded_per_row([pair[arm] for pair in pairs]) / samples_per_trial) for arm in (0, 1)
    )
    is_pair = [None not in pair for pair in zip(base, tuned, strict=True)]
    paired = paired_difference(base, tuned, min(num_base, num_tuned), groups) if any(is_pair) else None
    if paired is not None:
        # The two means must be of the same rows, or their difference would not be the one reported.
        base, tuned = (
            [mean if kept else None for mean, kept in zip(means, is_pair, strict=True)] for means in (base, tuned)
        )

    def interval(means: Sequence[float | None], num_samples: float) -> Interval | None:
        return None if all(mean is None for mean in means) else mean_interval(means, num_samples, groups)

    return Comparison(
        metric=metric,
        mode=mode,
        base_mean=mean_or_none([mean for mean in base if mean is not None]),
        base_interval=interval(base, num_base),
        tuned_mean=mean_or_none([mean for mean in tuned if mean is not None]),
        tuned_interval=interval(tuned, num_tuned),
        paired=paired,
    )
