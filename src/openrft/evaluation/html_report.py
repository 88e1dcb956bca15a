"""The report of a job as one HTML file to send to a colleague: no script, nothing loaded, everything inside.

Its order is that of deciding: the verdict with its interval, base against tuned, what was seen while it trained and
what was alarming about it, the rows that got worse before those that got better, then how to do it again. What models
and users wrote is text and nothing else (see ``html_elements``), and the file's own policy forbids the browser to run
anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from openrft.evaluation import cells, loss_render
from openrft.evaluation.html_curves import Steps, curves
from openrft.evaluation.html_elements import (
    Html,
    block,
    cut,
    element,
    facts_list,
    fold,
    joined,
    paragraphs,
    section,
    table,
)
from openrft.evaluation.html_elements import title as page_title
from openrft.evaluation.html_rows import changed_rows, sampled
from openrft.evaluation.html_setup import setup, without_folder
from openrft.evaluation.html_style import STYLE
from openrft.evaluation.loss_report import KIND, LossReport
from openrft.evaluation.noticed import Noticed
from openrft.evaluation.report import Report
from openrft.evaluation.statistics import Interval
from openrft.evaluation.svg_chart import interval_bar
from openrft.evaluation.verdict import difference_text

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of the file, for a server to send as well."""

_EVIDENCE_CHARACTERS = 500
_NAME_CHARACTERS = 200
_PLACES = {
    "training": "While it trained",
    "noticed": "What was noticed",
    "worse": "Rows that got worse",
    "better": "Rows that got better",
    "sampled": "Samples",
    "hyperparameters": "Hyperparameters",
    "grader": "Grader",
    "again": "How to do it again",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What a job left that its report is made of: JSON as its run folder has it."""

    report: Mapping[str, Any]
    job: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    steps: Steps = ()
    rollouts: Sequence[Mapping[str, Any]] = ()  # of the first and of the last step, some of which are shown
    finished_at: float | None = None  # seconds since 1970
    job_id: str | None = None


def to_html(record: Record) -> str:
    """The whole report as an HTML document."""
    is_loss = record.report.get("kind") == KIND
    report = LossReport.from_json(record.report) if is_loss else Report.from_json(record.report)
    name = cut(_name(report, record), _NAME_CHARACTERS)
    parts = [
        _verdict(report),
        _loss_table(report) if isinstance(report, LossReport) else _comparisons(report),
        curves(report.curve, record.steps, is_loss=is_loss),
        _noticed(report.noticed),
        changed_rows(report),
        sampled(record.rollouts),
        setup(record.job, record.config, report.time_spent),
    ]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="referrer", content="no-referrer"),
        page_title(f"{name}: openrft report"),
        element("style", Html(STYLE)),
    ]
    foot = element(
        "footer", f"Made by openrft {record.config.get('openrft', '')}. Nothing in this file runs or is loaded."
    )
    body = element("main", _header(name, report, record, parts), *parts, foot)
    # No character of it is a lone surrogate any more, so it can be written as UTF-8.
    return f"<!DOCTYPE html>\n{element('html', element('head', *head), element('body', body), lang='en')}\n"


def _name(report: Report | LossReport, record: Record) -> str:
    model = str(without_folder(record.job.get("model") or report.job.get("model") or "model"))
    suffix = record.job.get("suffix")
    return f"{model}: {suffix}" if suffix else model


def _header(name: str, report: Report | LossReport, record: Record, parts: Sequence[Html]) -> Html:
    method = (record.job.get("method") or {}).get("type")
    algorithm = report.job.get("algorithm")
    when = None if record.finished_at is None else datetime.fromtimestamp(record.finished_at, UTC)
    facts = [
        ("base model", without_folder(record.job.get("model") or report.job.get("model"))),
        ("method", ", ".join(dict.fromkeys(str(one) for one in (method, algorithm) if one))),
        ("grader", report.job.get("grader")),
        ("finished", None if when is None else f"{when:%Y-%m-%d %H:%M} UTC"),
        ("what ships", f"step {report.shipped_step}"),
        ("job", record.job_id),
    ]
    whole = "".join(parts)
    places = [(anchor, part) for anchor, part in _PLACES.items() if f'id="{anchor}"' in whole]
    links = [element("li", element("a", part, href=f"#{anchor}")) for anchor, part in places]
    return element(
        "header",
        element("p", "openrft report", class_="maker"),
        element("h1", name),
        facts_list((fact, str(value)) for fact, value in facts if value),
        element("nav", element("ul", *links), aria_label="Parts of this report"),
    )


def _verdict(report: Report | LossReport) -> Html:
    heading, _, words = report.sentence.partition(": ")
    difference = report.paired if isinstance(report, LossReport) else report.difference
    bar = Html() if difference is None else _bar(difference.mean, difference.interval)
    parts = [element("h2", heading.capitalize()), element("p", words[:1].upper() + words[1:]), bar]
    return element("section", *parts, class_=f"verdict {report.outcome.replace(' ', '-')}")


def _bar(mean: float, interval: Interval) -> Html:
    label = f"Difference {mean:+.3f}, 95 % interval from {interval.low:.3f} to {interval.high:.3f}, against zero"
    return interval_bar(mean, interval, label=label)


def _comparisons(report: Report) -> Html:
    main = element("div", table(cells.COLUMNS, cells.comparison_rows(report)), class_="primary")
    parts = [main, element("p", cells.INTERVALS_TEXT, class_="quiet")]
    parts += [element("h3", "What to know about these numbers"), paragraphs(report.notes)]
    if report.tries:
        parts += [element("h3", "Several tries per row")]
        parts += [table(cells.TRIES_COLUMNS, [cells.tries_cells(one) for one in report.tries])]
    if report.slices:
        parts += [element("h3", "By kind of row (exploratory)"), element("p", cells.SLICES_TEXT, class_="quiet")]
        parts += [table(cells.SLICE_COLUMNS, [cells.slice_cells(one) for one in report.slices])]
    parts += [element("h3", "Completions")]
    parts += [table(cells.ARM_COLUMNS, [cells.arm_cells(arm) for arm in report.arms], texts=2)]
    facts = cells.facts(report) | {"model": str(without_folder(report.job.get("model", "–")))}
    parts += [fold("About this comparison", facts_list(facts.items()))]
    return section("Base against tuned", *parts, anchor="comparison")


def _loss_table(report: LossReport) -> Html:
    parts: list[Html] = []
    if report.arms:
        parts += [table(loss_render.COLUMNS, loss_render.loss_cells(report))]
    if report.paired is not None:
        paired = report.paired
        row = (
            difference_text(paired),
            cells.p_value_text(paired.p_value),
            f"{paired.wins} / {paired.ties} / {paired.losses}",
        )
        columns = ("difference per row (paired; below zero is better)", "p", "better / same / worse")
        parts += [table(columns, [row])]
    parts += [element("h3", "What to know about these numbers"), paragraphs(report.notes)]
    return section("Base against tuned", *parts, anchor="comparison")


def _noticed(noticed: Sequence[Noticed | str]) -> Html:
    """The alarms of the run with what to do about each, and answers that show it."""
    parts = []
    for one in noticed:
        if isinstance(one, str):
            parts.append(element("div", element("p", one), class_="alarm"))
            continue
        shown = [
            element("h3", one.heading),
            element("p", f"{one.sentence}."),
            element("p", f"What to do: {one.advice}."),
        ]
        for evidence in one.evidence:
            text = Html() if evidence.text is None else block(evidence.text, limit=_EVIDENCE_CHARACTERS)
            shown += [element("h4", evidence.place), text]
        parts.append(element("div", *shown, class_=f"alarm {one.severity}"))
    return section("What was noticed", joined(parts), anchor="noticed") if parts else Html()
