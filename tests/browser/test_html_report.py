"""The report as a file in a real browser: it is read, and what is written in it does not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from html_record import HOSTILE, graded_record, loss_record
from openrft.evaluation.html_report import Record, to_html


@pytest.mark.parametrize("make", [graded_record, loss_record])
def test_nothing_in_a_report_runs_or_loads(page: Page, tmp_path: Path, make: Callable[[str], Record]) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(make(HOSTILE)), encoding="utf-8")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    assert page.title().endswith(": openrft report") and "document.title = 'owned'" in page.title()
    assert "\\u202egnp.exe" in page.title() and "span" not in page.title()
    assert page.locator("script, img").count() == 0


@pytest.mark.parametrize("width", [400, 1280])
def test_a_long_word_makes_no_page_wider_than_its_window(page: Page, tmp_path: Path, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(graded_record("long" * 400)), encoding="utf-8")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_report_has_its_own_colours_on_a_dark_screen_and_none_on_paper(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(to_html(graded_record()), encoding="utf-8")
    colour = "getComputedStyle(document.body).color"
    page.emulate_media(color_scheme="light")
    page.goto(file.as_uri())
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != light
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(colour) == light
    assert not page.locator("nav").is_visible()
