"""A report by loss for people: in the terminal and as Markdown. Programs read ``LossReport.to_json``."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from openrft.evaluation.loss_report import LossChange, LossReport
from openrft.evaluation.render import STYLES, time_table
from openrft.evaluation.untrusted import fenced, markdown_text, shorten, show_controls
from openrft.evaluation.verdict import difference_text

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = ("model", "loss per row", "loss per token", "tokens that were the likeliest")


def to_terminal(report: LossReport, *, max_rows: int = 3) -> RenderableType:
    """Verdict, table, notes and the rows that got worse most, for ``rich.console.Console.print``."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    # Text objects and not strings: rich would read [brackets] in answers as markup.
    parts: list[RenderableType] = [Text(show_controls(report.sentence), style=STYLES[report.outcome]), Text()]
    if report.arms:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
        for cells in loss_cells(report):
            table.add_row(*(Text(cell) for cell in cells))
        parts += [table, Text()]
    parts += [Text(f"• {show_controls(note)}") for note in report.notes]
    worse = worse_rows(report)[:max_rows]
    if worse:
        parts += [Text(), Text(worse_heading(report, len(worse)), style="bold")]
    for row in worse:
        parts += [Text(), Text(row_heading(row), style="bold")]
        for label, text in (("prompt", row.prompt_text), ("answer", row.answer)):
            parts.append(Text(f"{label:>6}  {shorten(show_controls(text), 300)}"))
    return Group(*parts)


def to_markdown(report: LossReport, *, curve_path: PurePath | str | None = None, max_rows: int = 10) -> str:
    """The whole report; ``curve_path`` is where the curve's image lies, relative to the Markdown file."""
    lines = ["# Did the model get better?", "", f"**{markdown_text(report.sentence)}**", ""]
    if curve_path is not None:
        lines += [f"![Learning curve]({quote(str(curve_path).replace(os.sep, '/'))})", ""]
    if report.arms:
        lines += ["## Base against tuned", "", f"| {' | '.join(COLUMNS)} |", "| --- | ---: | ---: | ---: |"]
        lines += [f"| {' | '.join(markdown_text(cell) for cell in cells)} |" for cells in loss_cells(report)]
        lines += [""]
    if report.paired is not None:
        lines += [f"Difference per row, paired: {difference_text(report.paired)} (95 %); below zero is better.", ""]
    lines += ["## What to know about these numbers", "", *(f"- {markdown_text(note)}" for note in report.notes), ""]
    if report.time_spent is not None:
        lines += ["## Where the time went", "", *time_table(report.time_spent), ""]
    facts = {"weights that ship": f"those of step {report.shipped_step}"} | report.job
    lines += ["## The job", ""]
    lines += [f"- {markdown_text(str(name))}: {markdown_text(str(value))}" for name, value in facts.items()]
    worse = worse_rows(report)
    if report.arms:
        lines += ["", f"## {worse_heading(report, min(max_rows, len(worse)))}", ""]
    for row in worse[:max_rows]:
        lines += [f"### {markdown_text(row_heading(row))}", ""]
        for label, text in (("Prompt", row.prompt_text), ("Answer", row.answer)):
            lines += [f"{label}:", "", fenced(shorten(text, 2_000)), ""]
    return "\n".join(lines).rstrip() + "\n"


def loss_cells(report: LossReport) -> list[list[str]]:
    """Both models under :data:`COLUMNS`."""
    return [
        [arm.name, f"{arm.loss:.4f}", f"{arm.token_mean_loss:.4f}", f"{arm.token_accuracy:.1%}"] for arm in report.arms
    ]


def worse_rows(report: LossReport) -> list[LossChange]:
    """Worst first."""
    return [row for row in report.rows if row.difference > 1e-9]


def worse_heading(report: LossReport, shown: int) -> str:
    """``Rows that got worse: 3 of 48, 3 shown, worst first``."""
    if report.paired is None:
        return "Rows that got worse: not measured"
    if not report.paired.losses:
        return "Rows that got worse: none"
    return f"Rows that got worse: {report.paired.losses} of {report.paired.num_examples}, {shown} shown, worst first"


def row_heading(row: LossChange) -> str:
    """``line 7: 0.512 → 0.843 (+0.331)``."""
    return f"line {row.line}: {row.base_loss:.3f} → {row.tuned_loss:.3f} ({row.difference:+.3f})"
