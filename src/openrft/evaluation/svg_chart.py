"""Charts for a report in HTML: inline SVG without a script, each with its legend and its numbers as a table.

Colours are classes, so that the style sheet can have two sets: for a light and a dark screen. Points measured now and
then (validation) are dots with their 95 % intervals, joined and never smoothed; what every step has is a faint line
under its moving average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openrft.evaluation.curve import debiased_ema
from openrft.evaluation.html_elements import Html, element, fold, joined, table
from openrft.evaluation.statistics import Interval

Point = tuple[int, float]

_HEIGHT = 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 30, 38
_MOST_POINTS = 400  # of a line; more are not to be told apart
_MOST_DOTS = 120
_INFINITE = 1e100
_MOST_TABLE_ROWS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One quantity over the steps. ``colour`` counts the style sheet's colours from 1."""

    name: str
    points: Sequence[Point]
    colour: int
    is_dotted: bool = False
    intervals: Mapping[int, Interval] = field(default_factory=dict)  # by step


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie in the picture."""

    width: int
    first: int
    last: int
    low: float
    high: float

    def x(self, step: float) -> float:
        share = (step - self.first) / max(1, self.last - self.first)
        return round(_LEFT + share * (self.width - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (min(self.high, max(self.low, value)) - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    quantity: str,
    is_share: bool = False,
    base: float | None = None,
    chosen: int | None = None,
    width: int = 420,
) -> Html:
    """A figure; nothing where nothing was measured.

    ``is_share``: values within 0…1 are shown against the whole of it. ``base`` is drawn as a dashed line, and the dot
    at step ``chosen`` is marked.
    """
    series = [one for one in map(_finite, series) if one.points]
    if not series:
        return Html()
    base = None if base is None or not _is_drawn(base) else base
    frame = _frame(series, width, is_share=is_share, base=base)
    marks = [_axes(frame, quantity)]
    if base is not None:
        y = frame.y(base)
        marks.append(element("line", x1=frame.x(frame.first), x2=width - _RIGHT, y1=y, y2=y, class_="base"))
    for one in series:
        marks.append(_dots(one, frame, chosen) if one.is_dotted else _line(one, frame))
    key = [(f"c{one.colour}{' dots' if one.is_dotted else ''}", one.name) for one in series]
    if chosen is not None and any(step == chosen for one in series if one.is_dotted for step, _ in one.points):
        key.append(("chosen", f"step {chosen}, which ships"))
    key += [] if base is None else [("base", f"base model, {_number(base)}")]
    return _figure(title, marks, key, series, quantity, frame)


def stacked_chart(title: str, series: Sequence[Series], *, quantity: str, width: int = 420) -> Html:
    """Shares that make up a whole, one on the other from the bottom; all are measured at the same steps."""
    if not series or not series[0].points:
        return Html()
    steps = [step for step, _ in series[0].points]
    frame = _Frame(width, min(steps), max(steps), 0.0, 1.0)
    below = dict.fromkeys(steps, 0.0)
    marks = [_axes(frame, quantity)]
    for one in series:
        above = {step: below[step] + value for step, value in one.points}
        kept = [steps[number] for number in _spread(len(steps), _MOST_POINTS)]
        edge = [(step, above[step]) for step in kept] + [(step, below[step]) for step in reversed(kept)]
        marks.append(element("polygon", points=_places(edge, frame), class_=f"area c{one.colour}"))
        below = above
    key = [(f"c{one.colour} area", one.name) for one in series]
    return _figure(title, marks, key, series, quantity, frame)


def interval_bar(mean: float, interval: Interval, *, label: str) -> Html:
    """One difference with its interval against zero."""
    reach = max(abs(interval.low), abs(interval.high), abs(mean), 1e-9) * 1.35
    width, middle = 420, 24

    def x(value: float) -> float:
        return round((value + reach) / (2 * reach) * width, 1)

    marks = [
        element("line", x1=0, x2=width, y1=middle, y2=middle, class_="axis"),
        element("line", x1=x(0), x2=x(0), y1=16, y2=42, class_="base"),
        element("line", x1=x(interval.low), x2=x(interval.high), y1=middle, y2=middle, class_="interval"),
        element("circle", cx=x(mean), cy=middle, r=6, class_="estimate"),
        element("text", "0", x=x(0), y=58, class_="middle"),
        element("text", f"{interval.low:+.2f}", x=x(interval.low) - 12, y=11, class_="end"),
        element("text", f"{interval.high:+.2f}", x=x(interval.high) + 12, y=11),
    ]
    return element("svg", *marks, viewBox=f"0 0 {width} 62", role="img", aria_label=label, class_="bar")


def _figure(
    title: str,
    marks: Sequence[str],
    key: Sequence[tuple[str, str]],
    series: Sequence[Series],
    quantity: str,
    frame: _Frame,
) -> Html:
    said = f"{title}: {quantity} over steps {frame.first} to {frame.last}; the numbers are in the table below it"
    picture = element("svg", *marks, viewBox=f"0 0 {frame.width} {_HEIGHT}", role="img", aria_label=said)
    legend = [element("li", element("i", class_=kind, aria_hidden="true"), name) for kind, name in key]
    parts = [element("figcaption", title), picture, element("ul", *legend, class_="legend"), _twin(title, series)]
    return element("figure", *parts)


def _twin(title: str, series: Sequence[Series]) -> Html:
    """The numbers of a chart as a table, for those who read or copy them."""
    values = [dict(one.points) for one in series]
    steps = sorted({step for one in values for step in one})
    shown = [steps[number] for number in _spread(len(steps), _MOST_TABLE_ROWS)]
    rows = [
        [str(step), *(_cell(one, known.get(step), step) for one, known in zip(series, values, strict=True))]
        for step in shown
    ]
    less = f", {len(shown)} of {len(steps)} steps" if len(shown) < len(steps) else ""
    return fold("Numbers", table(["step", *(one.name for one in series)], rows, caption=title + less))


def _cell(series: Series, value: float | None, step: int) -> str:
    if value is None:
        return "–"
    interval = series.intervals.get(step)
    said = _number(value)
    return said if interval is None else f"{said} [{_number(interval.low)}, {_number(interval.high)}]"


def _line(series: Series, frame: _Frame) -> Html:
    smoothed = debiased_ema([value for _, value in series.points])
    averages = [(step, value) for (step, _), value in zip(series.points, smoothed, strict=True)]
    return joined(
        element("polyline", points=_places(_thinned(points), frame), class_=f"{kind} c{series.colour}")
        for kind, points in (("raw", series.points), ("line", averages))
    )


def _dots(series: Series, frame: _Frame, chosen: int | None) -> Html:
    kept = {series.points[number][0] for number in _spread(len(series.points), _MOST_DOTS)} | {chosen}
    points = [point for point in series.points if point[0] in kept]
    marks = [element("polyline", points=_places(points, frame), class_=f"joint c{series.colour}")]
    for step, value in points:
        x, interval = frame.x(step), series.intervals.get(step)
        if interval is not None:
            low, high = frame.y(interval.low), frame.y(interval.high)
            ends = "".join(f"M{x - 4:.1f} {y}H{x + 4:.1f}" for y in (low, high))
            marks.append(element("path", d=f"M{x} {low}V{high}{ends}", class_=f"error c{series.colour}"))
        if step == chosen:
            marks.append(element("circle", cx=x, cy=frame.y(value), r=8, class_=f"chosen c{series.colour}"))
        marks.append(element("circle", cx=x, cy=frame.y(value), r=4, class_=f"dot c{series.colour}"))
    return joined(marks)


def _axes(frame: _Frame, quantity: str) -> Html:
    marks = []
    for value in _ticks(frame.low, frame.high):
        y = frame.y(value)
        marks.append(element("line", x1=_LEFT, x2=frame.width - _RIGHT, y1=y, y2=y, class_="grid"))
        marks.append(element("text", _number(value), x=_LEFT - 7, y=y + 4, class_="end"))
    floor = _HEIGHT - _BOTTOM
    marks.append(element("line", x1=_LEFT, x2=frame.width - _RIGHT, y1=floor, y2=floor, class_="axis"))
    for step in _ticks(frame.first, frame.last):
        if step == int(step):
            marks.append(element("text", f"{step:.0f}", x=frame.x(step), y=floor + 17, class_="middle"))
    marks.append(element("text", "step", x=frame.width - _RIGHT, y=_HEIGHT - 4, class_="end label"))
    marks.append(element("text", quantity, x=2, y=12, class_="label"))
    return joined(marks)


def _frame(series: Sequence[Series], width: int, *, is_share: bool, base: float | None) -> _Frame:
    values = [value for one in series for _, value in one.points] + ([] if base is None else [base])
    values += [end for one in series for interval in one.intervals.values() for end in (interval.low, interval.high)]
    steps = [step for one in series for step, _ in one.points]
    low, high = min(values), max(values)
    if is_share and low >= -1e-9 and high <= 1 + 1e-9:
        low, high = 0.0, 1.0
    else:
        margin = 0.06 * (high - low) or max(0.5, abs(high) * 0.1)
        low, high = (0.0 if 0.0 <= low < high / 2 else low - margin), high + margin
    return _Frame(width, min(steps), max(steps), low, high)


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    pace = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first = math.ceil(low / pace - 1e-9)
    return [number * pace for number in range(first, math.floor(high / pace + 1e-9) + 1)]


def _is_drawn(value: float) -> bool:
    """Not NaN, infinity, and what is as good as infinite."""
    return abs(value) < _INFINITE  # which NaN is not


def _finite(series: Series) -> Series:
    points = [(step, value) for step, value in series.points if _is_drawn(value)]
    return Series(
        name=series.name,
        points=points,
        colour=series.colour,
        is_dotted=series.is_dotted,
        intervals={step: one for step, one in series.intervals.items() if _is_drawn(one.low) and _is_drawn(one.high)},
    )


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Of each stretch of a long line its lowest and highest point, so that no peak is lost."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    count = _MOST_POINTS // 2
    kept: list[Point] = []
    for number in range(count):
        stretch = points[number * len(points) // count : (number + 1) * len(points) // count]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return kept


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of the places 0 … count-1, evenly, both ends among them."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def _places(points: Sequence[Point], frame: _Frame) -> str:
    return " ".join(f"{frame.x(step)},{frame.y(value)}" for step, value in points)


def _number(value: float) -> str:
    """Three digits that count, without an exponent for ordinary sizes."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"
