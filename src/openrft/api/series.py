"""A job's metrics as series: thinned out for charts without losing their peaks, as bands, or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from openrft.errors import InvalidRequest
from openrft.store.rows import Points, StepRow

FEWEST_POINTS = 4
"""First, last, and a lowest and a highest between them."""

_NEWEST = 16
"""Points at the end that bands leave as they are: who looks at the latest steps sees steps, not means of many."""


def series_of(
    measured: Mapping[str, Points], names: Sequence[str], *, most_points: int | None, bands: bool = False
) -> dict[str, Any]:
    """``{name: {"steps": […], "values": […]}}``: the steps at which each was measured, null where it was not finite.

    Those of ``names``, in their order; without any, all. With ``bands`` each point stands for a stretch of steps and
    has its ``min`` and ``max`` beside their mean, ``values``.
    """
    found = {}
    for name in dict.fromkeys(names or measured):
        points = measured.get(name)
        if not points:
            continue
        if bands:
            found[name] = _banded(points, most_points)
            continue
        kept = points if most_points is None else thinned(points, most_points)
        found[name] = {"steps": [step for step, _ in kept], "values": [value for _, value in kept]}
    return found


def thinned(points: Sequence[tuple[int, float | None]], most: int) -> list[tuple[int, float | None]]:
    """At most ``most`` of ``points``: the first, the last, and of each stretch between them its lowest and highest.

    So no peak is lost, however far apart the kept points are. Points without a value go first.
    """
    _check(most)
    if len(points) <= most:
        return list(points)
    known = _known(points)
    if len(known) <= most:
        return list(known)
    values = [value for _, value in known]
    stretches = (most - 2) // 2
    kept: list[tuple[int, float | None]] = [known[0]]
    for start, end in _stretches(1, len(known) - 1, stretches):
        stretch = values[start:end]
        ends = {start + stretch.index(min(stretch)), start + stretch.index(max(stretch))}
        kept += [known[place] for place in sorted(ends)]
    return [*kept, known[-1]]


def csv_of(steps: Sequence[StepRow], names: Sequence[str]) -> Iterator[str]:
    """A line for each step and a column for each name, blank where nothing was measured."""
    measured = dict.fromkeys(name for row in steps for name in row.metrics)
    columns = [name for name in dict.fromkeys(names) if name in measured] if names else list(measured)
    yield _line(["step", "recorded_at", *columns])
    for row in steps:
        values = (row.metrics.get(name) for name in columns)
        yield _line([row.step, row.recorded_at, *("" if value is None else value for value in values)])


def _banded(points: Points, most: int | None) -> dict[str, Any]:
    """At most ``most`` stretches of the points that have a value: the last step of each, mean, lowest and highest.

    Where they are more than ``most``, the newest are still a stretch each.
    """
    known = _known(points)
    if most is not None:
        _check(most)
    if most is None or len(known) <= most:
        stretches = _stretches(0, len(known), len(known))
    else:
        alone = min(_NEWEST, most // 4)
        past = len(known) - alone
        stretches = chain(_stretches(0, past, most - alone), _stretches(past, len(known), alone))
    steps, means, lowest, highest = [], [], [], []
    for start, end in stretches:
        stretch = [value for _, value in known[start:end]]
        steps.append(known[end - 1][0])
        lowest.append(min(stretch))
        highest.append(max(stretch))
        means.append(sum(stretch) / len(stretch))
    return {"steps": steps, "values": means, "min": lowest, "max": highest}


def _stretches(start: int, end: int, number: int) -> Iterator[tuple[int, int]]:
    """The places from ``start`` to ``end`` in ``number`` stretches of nearly the same size."""
    size = end - start
    for one in range(number):
        yield start + one * size // number, start + (one + 1) * size // number


def _known(points: Sequence[tuple[int, float | None]]) -> list[tuple[int, float]]:
    return [(step, value) for step, value in points if value is not None]


def _check(most: int) -> None:
    if most < FEWEST_POINTS:
        raise InvalidRequest(f"max_points is {most}; give at least {FEWEST_POINTS}", param="max_points")


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
