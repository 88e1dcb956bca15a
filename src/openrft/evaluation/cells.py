"""The cells and headings of a report as plain text: one wording for the terminal, Markdown and HTML.

Nothing here is escaped: the names of slices, jobs and models are what somebody wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openrft.evaluation.comparison import Comparison
from openrft.evaluation.report import Arm, Report, RowChange
from openrft.evaluation.slices import Slice
from openrft.evaluation.statistics import Interval
from openrft.evaluation.tries import Tries
from openrft.evaluation.verdict import difference_text, interval_text

COLUMNS = ("metric", "base", "tuned", "difference (paired)", "p", "better / same / worse")
TRIES_COLUMNS = ("best of", "base", "tuned", "difference (paired)", "p", "better / same / worse")
SLICE_COLUMNS = ("slice", "rows", "base", "tuned", "difference (paired)", "p, corrected")
ARM_COLUMNS = ("model", "decoding", "rows", "samples per row", "ungraded", "tokens, mean", "cut at the limit")

INTERVALS_TEXT = "Intervals are 95 %. The first line is the primary result; the others are reported beside it."
SLICES_TEXT = (
    "Mean score, sampled. Nobody said beforehand which of these matters, and of many one looks remarkable by "
    "chance: the p-values are corrected for all lines (Holm), the intervals are not."
)


def p_value_text(p_value: float, equals: str = "") -> str:
    """``< 0.001`` or three digits, after ``equals``."""
    return "< 0.001" if p_value < 0.001 else f"{equals}{p_value:.3f}"


def comparison_rows(report: Report) -> list[list[str]]:
    """The cells of the main table: the primary result, what the monitor grader says of it, the others."""
    rows = [comparison_cells(comparison) for comparison in report.comparisons]
    if report.monitor is not None:
        rows.insert(1, ["by the monitor grader", *comparison_cells(report.monitor)[1:]])
    return rows


def comparison_cells(comparison: Comparison) -> list[str]:
    """One comparison under :data:`COLUMNS`."""
    paired = comparison.paired
    name = f"{comparison.metric}, {comparison.mode}"
    base = _mean_text(comparison.base_mean, comparison.base_interval)
    tuned = _mean_text(comparison.tuned_mean, comparison.tuned_interval)
    if paired is None:
        return [name, base, tuned, "–", "–", "–"]
    counts = f"{paired.wins} / {paired.ties} / {paired.losses}"
    return [name, base, tuned, difference_text(paired), p_value_text(paired.p_value), counts]


def tries_cells(tries: Tries) -> list[str]:
    """What several tries are worth, under :data:`TRIES_COLUMNS`."""
    return [tries_name(tries), *comparison_cells(tries.comparison)[1:]]


def tries_name(tries: Tries) -> str:
    """``pass@4`` or ``best score of 4``."""
    return f"pass@{tries.k}" if tries.comparison.metric == "pass@k" else f"best score of {tries.k}"


def slice_cells(one: Slice) -> list[str]:
    """One slice under :data:`SLICE_COLUMNS`."""
    return [f"{one.key}: {one.value}", str(one.num_rows), *comparison_cells(one.comparison)[1:4], corrected_text(one)]


def corrected_text(one: Slice) -> str:
    """The slice's p-value, corrected for all slices."""
    return "–" if one.p_value_holm is None else p_value_text(one.p_value_holm)


def arm_cells(arm: Arm) -> list[str]:
    """One evaluation under :data:`ARM_COLUMNS`."""
    ungraded = f"{arm.num_ungraded} of {arm.num_completions}"
    cells: list[Any] = [arm.name, arm.mode, arm.num_examples, arm.num_samples, ungraded]
    return [str(cell) for cell in cells] + [f"{arm.completion_tokens_mean:.1f}", f"{arm.truncated_share:.1%}"]


def facts(report: Report) -> dict[str, str]:
    """What one wants to know of the job beside its result."""
    found = {
        "checkpoint that ships": f"step {report.shipped_step}",
        "rows": "test: untouched" if report.rows_kind == "test" else "validation",
        "correction for choosing the checkpoint": report.correction,
        "a sample passes with a score of at least": f"{report.pass_threshold:g}",
    }
    if report.selection is not None:
        steps = ", ".join(str(step) for step in report.selection.candidate_steps)
        found["checkpoints it was chosen from"] = f"steps {steps}"
        found["expected optimism of the choice, on the rows it was made with"] = (
            f"{report.selection.expected_optimism:.3f}"
        )
    return found | {str(name): str(value) for name, value in report.job.items()}


def worse_rows(report: Report) -> list[RowChange]:
    """Worst first."""
    return [row for row in report.rows if row.difference < -1e-9]


def worse_heading(report: Report, shown: int) -> str:
    """``Rows that got worse: 3 of 48, 3 shown, worst first``."""
    paired = report.primary.paired
    if paired is None:
        return "Rows that got worse: not measured"
    if not paired.losses:
        return "Rows that got worse: none"
    return f"Rows that got worse: {paired.losses} of {paired.num_examples}, {shown} shown, worst first"


def row_heading(row: RowChange) -> str:
    """``line 7: 1.00 → 0.25 (-0.75)``."""
    return f"line {row.line}: {row.base_mean:.2f} → {row.tuned_mean:.2f} ({row.difference:+.2f})"


def scores_text(scores: Sequence[float | None]) -> str:
    """The scores of a row's samples."""
    return ", ".join("ungraded" if score is None else f"{score:g}" for score in scores)


def _mean_text(mean: float | None, interval: Interval | None) -> str:
    return "–" if mean is None or interval is None else f"{mean:.2f} {interval_text(interval)}"
