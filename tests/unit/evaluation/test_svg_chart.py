"""Charts of literal points: what is drawn, what stands in the table, and what long or odd series become."""

from __future__ import annotations

import math
import re

import pytest

from openrft.evaluation.statistics import Interval
from openrft.evaluation.svg_chart import Series, interval_bar, line_chart, stacked_chart


def series(points: list[tuple[int, float]], *, name: str = "training", is_dotted: bool = False) -> Series:
    return Series(name=name, points=points, colour=1, is_dotted=is_dotted)


def heights(chart: str, kind: str) -> list[float]:
    found = re.search(rf'<polyline points="([^"]*)" class="{kind} ', chart)
    assert found is not None
    return [float(place.split(",")[1]) for place in found[1].split()]


def test_dots_have_their_intervals_and_the_base_is_a_dashed_line() -> None:
    valid = Series(
        name="validation", points=[(0, 0.5), (10, 0.75)], colour=2, is_dotted=True, intervals={10: Interval(0.7, 0.8)}
    )
    chart = line_chart("Curve", [valid], quantity="reward", is_share=True, base=0.5, chosen=10)
    assert chart.count('class="dot c2"') == 2
    assert chart.count('class="error c2"') == 1
    assert chart.count('class="chosen c2"') == 1 and "step 10, which ships" in chart
    assert '" class="base"/>' in chart and "base model, 0.5" in chart
    assert '<td class="number">0.75 [0.7, 0.8]</td>' in chart


def test_shares_are_shown_against_the_whole_and_other_numbers_against_their_own_range() -> None:
    low, high = heights(line_chart("a", [series([(1, 0.0), (2, 1.0)])], quantity="q", is_share=True), "raw")
    same_low, middle = heights(line_chart("a", [series([(1, 0.0), (2, 0.5)])], quantity="q", is_share=True), "raw")
    assert same_low == low and middle == pytest.approx((low + high) / 2, abs=0.1)
    other_low, top = heights(line_chart("a", [series([(1, 0.0), (2, 0.5)])], quantity="q"), "raw")
    assert other_low == low and top < middle


def test_a_long_line_keeps_its_peak_and_its_table_says_that_it_is_not_whole() -> None:
    points = [(step, 1.0 if step == 7_777 else 0.0) for step in range(10_000)]
    chart = line_chart("a", [series(points)], quantity="q", is_share=True)
    drawn = heights(chart, "raw")
    assert len(drawn) <= 400
    assert min(drawn) == heights(line_chart("a", [series([(1, 1.0)])], quantity="q", is_share=True), "raw")[0]
    assert "a, 100 of 10000 steps" in chart
    assert len(chart) < 40_000


def test_the_step_that_ships_is_marked_however_many_dots_are_left_out() -> None:
    dots = series([(step, 0.5) for step in range(1_000)], is_dotted=True)
    chart = line_chart("a", [dots], quantity="q", chosen=503)
    assert chart.count('class="chosen c1"') == 1
    assert chart.count('class="dot c1"') <= 121


@pytest.mark.parametrize("points", [[], [(1, math.nan)], [(1, math.inf)], [(1, -1e308), (2, 1e308)]])
def test_nothing_measured_is_no_chart(points: list[tuple[int, float]]) -> None:
    assert line_chart("a", [series(points)], quantity="q") == ""
    assert stacked_chart("a", [series([])], quantity="q") == ""


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e12])
def test_a_single_point_of_any_size_is_drawn_within_the_picture(value: float) -> None:
    chart = line_chart("a", [series([(3, value)])], quantity="q")
    assert "nan" not in chart
    assert all(0 < height < 250 for height in heights(chart, "line"))


def test_stacked_shares_fill_the_picture() -> None:
    shares = [("all fail", 0.25), ("mixed", 0.25), ("all pass", 0.5)]
    parts = [Series(name=name, points=[(1, value), (2, value)], colour=n) for n, (name, value) in enumerate(shares, 1)]
    chart = stacked_chart("Signal", parts, quantity="share")
    areas = re.findall(r'<polygon points="([^"]*)"', chart)
    edges = [sorted({float(place.split(",")[1]) for place in area.split()}) for area in areas]
    assert [bottom for _, bottom in edges][1:] == [top for top, _ in edges][:-1]
    assert [round((bottom - top) / (edges[0][1] - edges[-1][0]), 2) for top, bottom in edges] == [0.25, 0.25, 0.5]


def test_a_difference_is_drawn_against_zero_with_its_ends_in_words() -> None:
    bar = interval_bar(0.1, Interval(-0.05, 0.25), label="Difference")
    assert 'aria-label="Difference"' in bar and ">-0.05<" in bar and ">+0.25<" in bar
    found = re.search(r'<circle cx="([\d.]+)"', bar)
    assert found is not None and float(found[1]) > 210  # right of the middle, which is zero


def test_names_are_text() -> None:
    chart = line_chart("<b>", [series([(1, 0.5)], name='"><script>')], quantity="<i>")
    assert "<script" not in chart and "<b>" not in chart and "<i>" not in chart
