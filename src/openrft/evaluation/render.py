"""A report for people: in the terminal and as Markdown. Programs read ``Report.to_json``."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from openrft.evaluation.report import Arm, Comparison, Report, RowChange
from openrft.evaluation.statistics import Interval
from openrft.evaluation.time_spent import TimeSpent, speed_text, table
from openrft.evaluation.untrusted import fenced, markdown_text, shorten, show_controls
from openrft.evaluation.verdict import difference_text, interval_text

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"better": "bold green", "worse": "bold red", "no change": "bold yellow", "not measured": "bold yellow"}
_SHOWN_CHARACTERS = 2_000  # of one prompt or output in Markdown; the JSON holds all
_COLUMNS = ("metric", "base", "tuned", "difference (paired)", "p", "better / same / worse")
_TIME_COLUMNS = ("phase", "seconds", "share")


def to_terminal(report: Report, *, max_rows: int = 3) -> RenderableType:
    """Verdict, table, notes and the rows that got worse most, for ``rich.console.Console.print``."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    # Text objects and not strings: rich would read [brackets] in model output as markup.
    parts: list[RenderableType] = [Text(show_controls(report.sentence), style=_STYLES[report.outcome])]
    # Four columns fit into 80 characters; the other two are said for the primary result below.
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for number, column in enumerate(_COLUMNS[:4]):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for comparison in report.comparisons:
        table.add_row(*(Text(cell) for cell in _cells(comparison)[:4]))
    parts += [Text(), table, Text(), *_counts_line(report)]
    parts += [Text(f"• {show_controls(note)}") for note in report.notes]
    worse = _worse_rows(report)[:max_rows]
    if worse:
        parts += [Text(), Text(_worse_heading(report, len(worse)), style="bold")]
    for row in worse:
        parts += [Text(), Text(_row_heading(row), style="bold")]
        for label, text in (("prompt", row.prompt_text), ("base", row.base_output), ("tuned", row.tuned_output)):
            parts.append(Text(f"{label:>6}  {shorten(show_controls(text), 300)}"))
    return Group(*parts)


def to_markdown(report: Report, *, curve_path: PurePath | str | None = None, max_rows: int = 10) -> str:
    """The whole report; ``curve_path`` is where the curve's image lies, relative to the Markdown file."""
    lines = ["# Did the model get better?", "", f"**{markdown_text(report.sentence)}**", ""]
    if curve_path is not None:
        lines += [f"![Learning curve]({_image_target(curve_path)})", ""]
    lines += ["## Base against tuned", "", *_markdown_table(report), ""]
    lines += ["Intervals are 95 %. The first line is the primary result; the others are reported beside it.", ""]
    lines += ["## What to know about these numbers", ""]
    lines += [f"- {markdown_text(note)}" for note in report.notes]
    lines += ["", "## Completions", "", *_arms_table(report.arms), ""]
    if report.time_spent is not None:
        lines += ["## Where the time went", "", *_time_table(report.time_spent), ""]
    lines += ["## The job", "", *_facts(report), ""]
    worse = _worse_rows(report)
    lines += [f"## {_worse_heading(report, min(max_rows, len(worse)))}", ""]
    for row in worse[:max_rows]:
        lines += _markdown_row(row)
    return "\n".join(lines).rstrip() + "\n"


def time_to_terminal(spent: TimeSpent) -> RenderableType:
    """Phases with their seconds and shares, and tokens per second, for ``rich.console.Console.print``."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for number, column in enumerate(_TIME_COLUMNS):
        shown.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for cells in table(spent):
        shown.add_row(*cells)
    return Group(shown, Text(), Text(speed_text(spent)))


def _time_table(spent: TimeSpent) -> list[str]:
    lines = [f"| {' | '.join(_TIME_COLUMNS)} |", "| --- | ---: | ---: |"]
    lines += [f"| {' | '.join(cells)} |" for cells in table(spent)]
    return [*lines, "", speed_text(spent)]


def _counts_line(report: Report) -> list[RenderableType]:
    from rich.text import Text

    paired = report.primary.paired
    if paired is None:
        return []
    counts = f"{paired.wins} better, {paired.ties} the same, {paired.losses} worse"
    return [Text(f"Rows: {counts} (sign-flip test p {_p_value_text(paired.p_value, equals='= ')})."), Text()]


def _p_value_text(p_value: float, equals: str = "") -> str:
    return "< 0.001" if p_value < 0.001 else f"{equals}{p_value:.3f}"


def _cells(comparison: Comparison) -> list[str]:
    paired = comparison.paired
    name = f"{comparison.metric}, {comparison.mode}"
    base = _mean_text(comparison.base_mean, comparison.base_interval)
    tuned = _mean_text(comparison.tuned_mean, comparison.tuned_interval)
    if paired is None:
        return [name, base, tuned, "–", "–", "–"]
    counts = f"{paired.wins} / {paired.ties} / {paired.losses}"
    return [name, base, tuned, difference_text(paired), _p_value_text(paired.p_value), counts]


def _mean_text(mean: float | None, interval: Interval | None) -> str:
    return "–" if mean is None or interval is None else f"{mean:.2f} {interval_text(interval)}"


def _markdown_table(report: Report) -> list[str]:
    lines = [f"| {' | '.join(_COLUMNS)} |", "| --- |" + " ---: |" * (len(_COLUMNS) - 1)]
    return lines + [f"| {' | '.join(_cells(comparison))} |" for comparison in report.comparisons]


def _arms_table(arms: list[Arm]) -> list[str]:
    header = ("model", "decoding", "rows", "samples per row", "ungraded", "tokens, mean", "cut at the limit")
    lines = [f"| {' | '.join(header)} |", "| --- | --- |" + " ---: |" * (len(header) - 2)]
    for arm in arms:
        ungraded = f"{arm.num_ungraded} of {arm.num_completions}"
        cells: list[Any] = [markdown_text(arm.name), arm.mode, arm.num_examples, arm.num_samples, ungraded]
        cells += [f"{arm.completion_tokens_mean:.1f}", f"{arm.truncated_share:.1%}"]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return lines


def _facts(report: Report) -> list[str]:
    facts = {
        "checkpoint that ships": f"step {report.shipped_step}",
        "rows": "test: untouched" if report.rows_kind == "test" else "validation",
        "a sample passes with a score of at least": f"{report.pass_threshold:g}",
    }
    if report.selection is not None:
        steps = ", ".join(str(step) for step in report.selection.candidate_steps)
        facts["checkpoints it was chosen from"] = f"steps {steps}"
        facts["expected optimism of the choice, on the rows it was made with"] = (
            f"{report.selection.expected_optimism:.3f}"
        )
    facts |= {str(name): str(value) for name, value in report.job.items()}
    return [f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in facts.items()]


def _worse_rows(report: Report) -> list[RowChange]:
    return [row for row in report.rows if row.difference < -1e-9]


def _worse_heading(report: Report, shown: int) -> str:
    paired = report.primary.paired
    if paired is None:
        return "Rows that got worse: not measured"
    if not paired.losses:
        return "Rows that got worse: none"
    return f"Rows that got worse: {paired.losses} of {paired.num_examples}, {shown} shown, worst first"


def _row_heading(row: RowChange) -> str:
    return f"line {row.line}: {row.base_mean:.2f} → {row.tuned_mean:.2f} ({row.difference:+.2f})"


def _scores_text(scores: list[float | None]) -> str:
    return ", ".join("ungraded" if score is None else f"{score:g}" for score in scores)


def _markdown_row(row: RowChange) -> list[str]:
    lines = [f"### {markdown_text(_row_heading(row))}", ""]
    texts = (
        ("Prompt", row.prompt_text),
        (f"Base (scores {_scores_text(row.base_scores)})", row.base_output),
        (f"Tuned (scores {_scores_text(row.tuned_scores)})", row.tuned_output),
    )
    for label, text in texts:
        lines += [f"{label}:", "", fenced(shorten(text, _SHOWN_CHARACTERS)), ""]
    return lines


def _image_target(path: PurePath | str) -> str:
    """The path as a link: spaces and brackets escaped, so that a file name cannot end the link."""
    return quote(str(path).replace(os.sep, "/"))
