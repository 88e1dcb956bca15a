"""What several tries are worth: pass@k and best-of-k over examples, base against tuned.

A model that became better succeeds more often at the first try. One that only became surer of what it could do already
loses elsewhere: with many tries, the base finds answers that it no longer finds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openrft.evaluation.comparison import Comparison, Metric, RowPair, compare_rows
from openrft.evaluation.evaluation import EvaluationRow
from openrft.evaluation.statistics import max_at_k


@dataclass(frozen=True, kw_only=True, slots=True)
class Tries:
    """One metric of both models when the best of ``k`` samples counts."""

    k: int
    comparison: Comparison

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tries:
        """What ``dataclasses.asdict`` wrote."""
        return cls(k=data["k"], comparison=Comparison.from_json(data["comparison"]))


def compare_tries(pairs: Sequence[RowPair], threshold: float, clusters: Mapping[str, Hashable]) -> list[Tries]:
    """pass@k for k = 1, 2, 4, … up to the samples of a row, and best-of-k where scores are not only 0 and 1.

    A row with fewer than ``k`` graded samples under one of the models leaves that ``k``. Nothing with one sample a row.
    """
    rows = [row for pair in pairs for row in pair]
    most = max((len(row.scores) for row in rows), default=0)
    counts = [2**power for power in range(most.bit_length())] if most > 1 else []
    is_graded = any(score not in (None, 0.0, 1.0) for row in rows for score in row.scores)
    metrics: list[Metric] = ["pass@k", "best of k"] if is_graded else ["pass@k"]
    found = []
    for metric in metrics:
        for k in counts:
            value = _best_of(k, threshold if metric == "pass@k" else None)
            found.append(
                Tries(k=k, comparison=compare_rows(metric, "sampled", pairs, value, clusters, samples_per_trial=k))
            )
    return [tries for tries in found if tries.comparison.paired is not None]


def _best_of(k: int, threshold: float | None) -> Callable[[EvaluationRow], float | None]:
    """The expected best score of ``k`` samples of a row; with a threshold the chance that one of them passes."""

    def value(row: EvaluationRow) -> float | None:
        scores = [score for score in row.scores if score is not None]
        if threshold is not None:
            scores = [float(score >= threshold) for score in scores]
        return max_at_k(scores, k) if len(scores) >= k else None

    return value
