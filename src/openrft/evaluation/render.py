"""A report for people: in the terminal and as Markdown. Programs read ``Report.to_json``."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from openrft.evaluation.cells import (
    ARM_COLUMNS,
    COLUMNS,
    INTERVALS_TEXT,
    SLICE_COLUMNS,
    SLICES_TEXT,
    TRIES_COLUMNS,
    arm_cells,
    comparison_cells,
    comparison_rows,
    corrected_text,
    facts,
    p_value_text,
    row_heading,
    scores_text,
    slice_cells,
    tries_cells,
    tries_name,
    worse_heading,
    worse_rows,
)
from openrft.evaluation.noticed import noticed_lines
from openrft.evaluation.report import Arm, Report, RowChange
from openrft.evaluation.time_spent import TimeSpent, speed_text, table
from openrft.evaluation.tries import Tries
from openrft.evaluation.untrusted import fenced, markdown_text, shorten, show_controls

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES = {"better": "bold green", "worse": "bold red", "no change": "bold yellow", "not measured": "bold yellow"}
"""Of a verdict, by its outcome."""
_SHOWN_CHARACTERS = 2_000  # of one prompt or output in Markdown; the JSON holds all
_SHOWN_OVERLAPS = 50
_TIME_COLUMNS = ("phase", "seconds", "share")


def to_terminal(report: Report, *, max_rows: int = 3) -> RenderableType:
    """Verdict, table, notes and the rows that got worse most, for ``rich.console.Console.print``."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    # Text objects and not strings: rich would read [brackets] in model output as markup.
    parts: list[RenderableType] = [Text(show_controls(report.sentence), style=STYLES[report.outcome])]
    # Four columns fit into 80 characters; the other two are said for the primary result below.
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for number, column in enumerate(COLUMNS[:4]):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for cells in comparison_rows(report):
        table.add_row(*(Text(cell) for cell in cells[:4]))
    parts += [Text(), table, Text(), *_counts_line(report), *_tries_line(report), *_slices_to_terminal(report)]
    parts += [Text(f"• {show_controls(note)}") for note in report.notes]
    worse = worse_rows(report)[:max_rows]
    if worse:
        parts += [Text(), Text(worse_heading(report, len(worse)), style="bold")]
    for row in worse:
        parts += [Text(), Text(row_heading(row), style="bold")]
        for label, text in (("prompt", row.prompt_text), ("base", row.base_output), ("tuned", row.tuned_output)):
            parts.append(Text(f"{label:>6}  {shorten(show_controls(text), 300)}"))
    return Group(*parts)


def to_markdown(report: Report, *, curve_path: PurePath | str | None = None, max_rows: int = 10) -> str:
    """The whole report; ``curve_path`` is where the curve's image lies, relative to the Markdown file."""
    lines = ["# Did the model get better?", "", f"**{markdown_text(report.sentence)}**", ""]
    if curve_path is not None:
        lines += [f"![Learning curve]({_image_target(curve_path)})", ""]
    lines += ["## Base against tuned", "", *_markdown_table(report), ""]
    lines += [INTERVALS_TEXT, ""]
    lines += ["## What to know about these numbers", ""]
    lines += [f"- {markdown_text(note)}" for note in report.notes]
    if report.noticed:
        lines += ["", "## What was noticed", "", *noticed_lines(report.noticed)]
    if report.tries:
        lines += ["", "## Several tries per row", "", *_tries_table(report.tries)]
    if report.slices:
        lines += ["", "## By kind of row (exploratory)", "", *_slices_table(report)]
    if report.leakage is not None:
        lines += ["", "## Rows that may measure memory", "", *_leakage_lines(report)]
    lines += ["", "## Completions", "", *_arms_table(report.arms), ""]
    if report.time_spent is not None:
        lines += ["## Where the time went", "", *time_table(report.time_spent), ""]
    lines += ["## The job", ""]
    lines += [f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in facts(report).items()]
    lines += [""]
    worse = worse_rows(report)
    lines += [f"## {worse_heading(report, min(max_rows, len(worse)))}", ""]
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


def time_table(spent: TimeSpent) -> list[str]:
    """Phases with their seconds and shares as lines of Markdown."""
    lines = [f"| {' | '.join(_TIME_COLUMNS)} |", "| --- | ---: | ---: |"]
    lines += [f"| {' | '.join(cells)} |" for cells in table(spent)]
    return [*lines, "", speed_text(spent)]


def _counts_line(report: Report) -> list[RenderableType]:
    from rich.text import Text

    paired = report.primary.paired
    if paired is None:
        return []
    counts = f"{paired.wins} better, {paired.ties} the same, {paired.losses} worse"
    return [Text(f"Rows: {counts} (sign-flip test p {p_value_text(paired.p_value, equals='= ')})."), Text()]


def _tries_line(report: Report) -> list[RenderableType]:
    from rich.text import Text

    shown = [
        f"{tries_name(one)} {one.comparison.base_mean:.2f} → {one.comparison.tuned_mean:.2f}"
        for one in report.tries
        if one.k > 1
    ]
    return [Text(f"Several tries: {', '.join(shown)}."), Text()] if shown else []


def _slices_to_terminal(report: Report) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    if not report.slices:
        return []
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for number, column in enumerate(("slice (exploratory)", "rows", "base", "tuned", *SLICE_COLUMNS[4:])):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
    for one in report.slices:
        means = (one.comparison.base_mean, one.comparison.tuned_mean)
        shown = ["–" if mean is None else f"{mean:.2f}" for mean in means]
        name, change = show_controls(f"{one.key}: {one.value}"), comparison_cells(one.comparison)[3]
        table.add_row(*(Text(cell) for cell in (name, str(one.num_rows), *shown, change, corrected_text(one))))
    return [table, Text()]


def _markdown_table(report: Report) -> list[str]:
    return [_header(COLUMNS), *(f"| {' | '.join(row)} |" for row in comparison_rows(report))]


def _tries_table(tries: list[Tries]) -> list[str]:
    lines = [_header(TRIES_COLUMNS)]
    for one in tries:
        lines.append(f"| {' | '.join(tries_cells(one))} |")
    return lines


def _slices_table(report: Report) -> list[str]:
    lines = [SLICES_TEXT, "", _header(SLICE_COLUMNS)]
    for one in report.slices:
        name, *cells = slice_cells(one)
        lines.append(f"| {' | '.join([markdown_text(name), *cells])} |")
    return lines


def _leakage_lines(report: Report) -> list[str]:
    leakage = report.leakage
    assert leakage is not None
    unsure = "" if leakage.is_complete else " The files are too large to look for more than equal prompts."
    if not leakage.rows:
        return [f"No row has a prompt that was trained on, nor one nearly like it.{unsure}"]
    lines = [f"Rows whose prompt, or one nearly like it, is in the training file: {len(leakage.rows)}.{unsure}", ""]
    for row in leakage.rows[:_SHOWN_OVERLAPS]:
        lines.append(
            f"- line {row.line}: {'the same' if row.is_same else 'nearly the same'} as training line {row.train_line}"
        )
    if len(leakage.rows) > _SHOWN_OVERLAPS:
        lines.append(f"- and {len(leakage.rows) - _SHOWN_OVERLAPS} more, in report.json")
    if leakage.without is not None:
        lines += ["", "Without them:", "", _header(COLUMNS), f"| {' | '.join(comparison_cells(leakage.without))} |"]
    return lines


def _header(columns: tuple[str, ...]) -> str:
    return f"| {' | '.join(columns)} |\n| --- |" + " ---: |" * (len(columns) - 1)


def _arms_table(arms: list[Arm]) -> list[str]:
    lines = [f"| {' | '.join(ARM_COLUMNS)} |", "| --- | --- |" + " ---: |" * (len(ARM_COLUMNS) - 2)]
    for arm in arms:
        name, *cells = arm_cells(arm)
        lines.append(f"| {' | '.join([markdown_text(name), *cells])} |")
    return lines


def _markdown_row(row: RowChange) -> list[str]:
    lines = [f"### {markdown_text(row_heading(row))}", ""]
    texts = (
        ("Prompt", row.prompt_text),
        (f"Base (scores {scores_text(row.base_scores)})", row.base_output),
        (f"Tuned (scores {scores_text(row.tuned_scores)})", row.tuned_output),
    )
    for label, text in texts:
        lines += [f"{label}:", "", fenced(shorten(text, _SHOWN_CHARACTERS)), ""]
    return lines


def _image_target(path: PurePath | str) -> str:
    """The path as a link: spaces and brackets escaped, so that a file name cannot end the link."""
    return quote(str(path).replace(os.sep, "/"))
