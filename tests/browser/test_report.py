"""The report's page: its figures are those that openrft.evaluation gets from the evaluations' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from playwright.sync_api import Locator, Page, expect

from app_server import Server
from browser.laboratory import Lab
from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.report import Report, build_report
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import body, run_by_hand


def show(page: Page, job: str, query: str = "") -> Page:
    page.goto(f"{page.url.partition('/finetune')[0]}/finetune/{job}/report{query}")
    return page


def evaluation(lab: Lab, name: str) -> Evaluation:
    """One of the reinforcement job's, from its file."""
    path = lab.home / "artifacts" / "jobs" / lab.reinforcement / "evaluations" / f"{name}.json"
    return Evaluation.from_json(json.loads(path.read_text()))


def compared(lab: Lab, base: str, tuned: str) -> Report:
    """Two evaluations, as a script compares them."""
    return build_report(
        job={}, base_sampled=evaluation(lab, base), tuned_sampled=evaluation(lab, tuned), rows_kind="validation"
    )


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def expect_figures(page: Page, report: Report) -> None:
    """Cards, every line of the plot, and the order of the rows."""
    primary, difference = report.primary, report.difference
    assert primary.paired is not None and difference is not None and primary.base_interval is not None
    expect(page.locator("#card-base .card-value")).to_have_text(f"{primary.base_mean:.3f}")
    low, high = primary.base_interval.low, primary.base_interval.high
    expect(page.locator("#card-base .card-note")).to_have_text(f"95 % interval [{low:.3f}, {high:.3f}]")
    expect(page.locator("#card-tuned .card-value")).to_have_text(f"{primary.tuned_mean:.3f}")
    expect(page.locator("#card-change .card-value")).to_have_text(signed(difference.mean))
    paired = primary.paired
    expect(page.locator("#card-rows .card-value")).to_have_text(f"{paired.wins} · {paired.ties} · {paired.losses}")
    lines = page.get_by_role("region", name="Differences").locator("tr[data-line]")
    wanted = [
        *report.comparisons,
        *(one.comparison for one in report.slices),
        *(one.comparison for one in report.tries),
    ]
    expect(lines).to_have_count(len(wanted))
    for line, one in zip(lines.all(), wanted, strict=True):
        assert one.paired is not None
        drawn = [float(line.get_attribute(f"data-{name}") or "nan") for name in ("mean", "low", "high")]
        assert drawn == pytest.approx([one.paired.mean, one.paired.interval.low, one.paired.interval.high])
        expect(line).to_contain_text(f"{one.paired.wins} / {one.paired.ties} / {one.paired.losses}")
    assert order_of(page) == [row.index for row in report.rows]


def order_of(page: Page) -> list[int]:
    rows = page.get_by_role("region", name="Rows by change").locator("[data-row]")
    return [int(row.get_attribute("data-row") or -1) for row in rows.all()]


def side(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


def test_the_reports_figures_are_those_of_the_evaluations(lab_window: Page, lab: Lab) -> None:
    page = show(lab_window, lab.reinforcement)
    names = {one: f"step-{step}-validation-{mode}" for one, step, mode in ARMS}
    report = build_report(
        job={},
        **{one: evaluation(lab, name) for one, name in names.items()},  # type: ignore[arg-type]
        rows_kind="validation",
    )
    expect_figures(page, report)
    expect(page.get_by_role("region", name="Verdict")).to_have_attribute("data-outcome", report.outcome)
    said = page.get_by_role("region", name="Figures of both models")
    for arm in report.arms:
        expect(said).to_contain_text(f"{arm.completion_tokens_mean:.4g}")
    expect(page.get_by_role("region", name="Before you believe it")).to_contain_text(
        "validation rows that chose step 4"
    )
    expect(page.get_by_role("region", name="What to do next").get_by_role("link", name="side by side")).to_be_visible()


ARMS = [
    ("base_sampled", "000000", "sampled"),
    ("tuned_sampled", "000004", "sampled"),
    ("base_greedy", "000000", "greedy"),
    ("tuned_greedy", "000004", "greedy"),
]


def test_a_row_shows_both_answers_side_by_side_with_every_grade(lab_window: Page, lab: Lab) -> None:
    page = show(lab_window, lab.reinforcement)
    base, tuned = (evaluation(lab, f"step-{step}-validation-sampled") for step in ("000000", "000004"))
    index = order_of_reports_rows(base, tuned)[1]
    page.locator(f"[data-row='{index}']").get_by_role("button").click()
    assert f"row={index}" in page.url
    for name, one in (("base", base), ("tuned", tuned)):
        row = one.rows[index]
        samples = side(page, name).get_by_role("article")
        expect(samples).to_have_count(len(row.outputs))
        for sample, output, score in zip(samples.all(), row.outputs, row.scores, strict=True):
            expect(sample).to_contain_text(output)
            assert score is not None
            expect(sample.locator("[data-reward]").first).to_have_attribute(
                "data-reward", str(score).removesuffix(".0")
            )
    first = side(page, "tuned").get_by_role("article").first
    first.get_by_text("Grade", exact=True).click()
    expect(first.get_by_role("group", name="Grade compliant")).to_be_visible()
    page.reload()
    expect(page.get_by_role("group", name=f"Row of line {tuned.rows[index].line}")).to_be_visible()


def order_of_reports_rows(base: Evaluation, tuned: Evaluation) -> list[int]:
    return [row.index for row in build_report(job={}, base_sampled=base, tuned_sampled=tuned).rows]


def test_any_two_evaluations_are_compared_and_regressions_come_first(lab_window: Page, lab: Lab) -> None:
    # Backwards, so that there are regressions.
    a, b = "step-000008-valid-sampled", "step-000000-valid-sampled"
    page = show(lab_window, lab.reinforcement, f"?a={a}&b={b}")
    report = compared(lab, a, b)
    expect_figures(page, report)
    expect(page.get_by_role("region", name="Verdict")).to_have_attribute("data-outcome", "worse")
    assert report.rows[0].difference < 0
    expect(page.get_by_role("group", name=f"Row of line {report.rows[0].line}")).to_be_visible()  # the worst is open
    worse = [row.index for row in report.rows if row.difference < 0]
    page.get_by_role("button", name=f"Worse {len(worse)}").click()
    expect(page.get_by_role("region", name="Rows by change").locator("[data-row]")).to_have_count(len(worse))
    page.locator("#pass-b").select_option("step-000004-valid-sampled")
    expect(page.get_by_role("group", name="step 4", exact=True)).to_be_visible()
    expect_figures_after_all(page, compared(lab, a, "step-000004-valid-sampled"))
    page.get_by_role("link", name="Back to the report").click()
    expect(page.get_by_role("region", name="What to do next")).to_be_visible()


def expect_figures_after_all(page: Page, report: Report) -> None:
    page.get_by_role("button", name="All 16").click()
    expect_figures(page, report)


def test_the_report_is_taken_along_as_html_text_and_json(lab_window: Page, lab: Lab, tmp_path: Path) -> None:
    page = show(lab_window, lab.reinforcement)
    found = {}
    for ending in ("html", "md", "json"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Report (.{ending})").click()
        assert download.value.suggested_filename == f"{lab.reinforcement}-report.{ending}"
        download.value.save_as(tmp_path / ending)
        found[ending] = (tmp_path / ending).read_text()
    sentence = json.loads(found["json"])["sentence"]
    assert sentence in found["md"]
    assert found["html"].lstrip().lower().startswith("<!doctype html>") and "better" in found["html"]


def test_a_supervised_job_is_judged_by_the_loss_of_given_answers(lab_window: Page, lab: Lab) -> None:
    page = show(lab_window, lab.supervised)
    path = lab.home / "artifacts" / "jobs" / lab.supervised / "documents" / "report.json"
    report: dict[str, Any] = json.loads(path.read_text())
    expect(page.locator("#card-change .card-value")).to_have_text(f"{report['paired']['mean']:.4g}".replace("-", "−"))
    assert order_of(page) == [row["index"] for row in report["rows"]]
    expect(page.get_by_role("group", name="Given answer")).to_contain_text(report["rows"][0]["answer"])


def test_while_a_job_trains_its_last_validation_is_compared_with_the_first(
    window: Page, server: Server, client: openai.OpenAI, store: Store, project: Project, lab: Lab
) -> None:
    job = client.fine_tuning.jobs.create(**body(client))
    show(window, job.id)
    expect(window.get_by_role("heading", name="Nothing was measured yet")).to_be_visible()
    run_by_hand(store, project.id, job.id)
    for name in ("step-000000-valid-sampled", "step-000004-valid-sampled"):
        file = lab.home / "artifacts" / "jobs" / lab.reinforcement / "evaluations" / f"{name}.json"
        store.artifacts.write(f"jobs/{job.id}/evaluations/{name}.json", [file.read_bytes()])
    window.reload()
    expect(window.get_by_text("The report is written when training is over")).to_be_visible()
    expect_figures(window, compared(lab, "step-000000-valid-sampled", "step-000004-valid-sampled"))
