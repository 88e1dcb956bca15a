"""A page of a job's rollouts: candidates in order from the index, then the texts of those that it shows.

Sorted by reward or length, a step is opened only when its best rollout could come next: by the step's sums that is
known before. So the best twenty of five million need the indexes of a few steps. Only a search reads texts to decide;
it ends after a number of them or some seconds, and says so.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openrft.api.rollout_picking import Picking
from openrft.api.rollout_reading import Place, RolloutReading
from openrft.api.turns import Turns
from openrft.errors import InvalidRequest
from openrft.store.rollout_index import RolloutIndex
from openrft.store.rows import SampledStep

MOST_ROWS = 200  # of a page
_MOST_SEARCHED = 20_000  # texts that are read for a page of a search
_SECONDS_OF_SEARCH = 1.5
LONG_READS = Turns(8, "many rollouts are being searched or sorted; try again in a moment")
"""Pages that read the numbers of many steps, of all requests together."""

_CURSOR = re.compile(r"rollout_(\d{1,9})_(\d{1,9})")


@dataclass(kw_only=True, slots=True)
class RolloutPage:
    """Rollouts with their places; ``rest`` is the place after which the next page goes on, if there may be one."""

    found: list[tuple[Place, dict[str, Any]]] = field(default_factory=list)
    rest: Place | None = None
    ended_early: bool = False
    searched: int = 0


def page_of(reading: RolloutReading, steps: Sequence[SampledStep], picking: Picking) -> RolloutPage:
    """The page that ``picking`` asks for. Raises :class:`InvalidRequest` for an ``after`` that is not in its list."""
    start = None if picking.after is None else place_of(picking.after)
    if picking.after is not None and start is None:
        raise _unknown_cursor(picking.after)
    steps = [step for step in steps if picking.may_have(step)]
    with _turn(picking):
        order = _in_order if picking.is_by_step else _by_key
        return _fill(reading, order(reading, steps, picking, start), picking)


def place_of(rollout_id: str) -> Place | None:
    """The place that a rollout's id names; None for what is no id."""
    found = _CURSOR.fullmatch(rollout_id)
    return None if found is None else (int(found[1]), int(found[2]))


def id_of(place: Place) -> str:
    """A rollout's id, which is a cursor as well."""
    return f"rollout_{place[0]}_{place[1]}"


def _fill(reading: RolloutReading, places: Iterator[Place], picking: Picking) -> RolloutPage:
    """Read the texts of ``places`` until the page is full."""
    page, limit = RolloutPage(), min(picking.limit, MOST_ROWS)
    until = time.monotonic() + _SECONDS_OF_SEARCH
    last: Place | None = None
    for place in places:
        if len(page.found) == limit:
            page.rest = last
            return page
        is_over = page.searched == _MOST_SEARCHED or time.monotonic() > until
        if picking.search is not None and is_over and last is not None:
            page.rest, page.ended_early = last, True
            return page
        row = reading.row(place)
        page.searched += 1
        last = place
        if row is not None and picking.finds(row):
            page.found.append((place, row))
    return page


def _in_order(
    reading: RolloutReading, steps: Sequence[SampledStep], picking: Picking, start: Place | None
) -> Iterator[Place]:
    """Places in the order of the steps, within a step in that of its lines."""
    is_newest = picking.sort == "newest"
    if start is not None:
        steps = [one for one in steps if (one.step <= start[0] if is_newest else one.step >= start[0])]
    steps = list(reversed(steps)) if is_newest else steps
    for step, index in zip(steps, reading.indexes(steps), strict=True):
        for number in picking.pick(index).tolist():
            if start is None or step.step != start[0] or number > start[1]:
                yield step.step, number


def _by_key(
    reading: RolloutReading, steps: Sequence[SampledStep], picking: Picking, start: Place | None
) -> Iterator[Place]:
    """Places by reward or length, the same ones in the order of the steps."""
    beyond = None if start is None else (_key_at(reading, steps, picking, start), *start)
    steps = sorted(steps, key=lambda one: (picking.least_key(one), one.step))
    heap: list[tuple[float, int, int, Iterator[tuple[float, int]]]] = []

    def advance(step: int, rest: Iterator[tuple[float, int]]) -> None:
        for key, number in rest:
            if beyond is None or (key, step, number) > beyond:
                heapq.heappush(heap, (float(key), step, int(number), rest))
                return

    def before(bound: tuple[float, int] | None) -> Iterator[Place]:
        """What comes before every rollout of the steps that are not open yet."""
        while heap and (bound is None or heap[0][:2] < bound):
            _, step, number, rest = heapq.heappop(heap)
            yield step, number
            advance(step, rest)

    indexes = reading.indexes(steps)
    for step in steps:
        yield from before((picking.least_key(step), step.step))
        advance(step.step, _sorted(picking, next(indexes), -math.inf if beyond is None else beyond[0]))
    yield from before(None)


def _sorted(picking: Picking, index: RolloutIndex, least: float) -> Iterator[tuple[float, int]]:
    """Keys and numbers of a step's rollouts, from the key ``least`` on."""
    numbers = picking.pick(index)
    keys = picking.keys(index)[numbers]
    first = int(keys.searchsorted(least))
    # Arrays, not lists: of most steps only the first one or two are ever asked for.
    return zip(keys[first:], numbers[first:], strict=True)


def _key_at(reading: RolloutReading, steps: Sequence[SampledStep], picking: Picking, place: Place) -> float:
    """The key of the rollout after which a page goes on. Raises where it is none of the list's."""
    for index in reading.indexes([one for one in steps if one.step == place[0]]):
        if place[1] in picking.pick(index):
            return float(picking.keys(index)[place[1]])
    raise _unknown_cursor(id_of(place))


def _turn(picking: Picking) -> contextlib.AbstractContextManager[None]:
    """Of pages that may read much only a few are made at a time."""
    return LONG_READS.one() if picking.reads_many else contextlib.nullcontext()


def _unknown_cursor(cursor: str) -> InvalidRequest:
    message = f"after: {cursor[:80]!r} is no rollout of this list; give the next_cursor of the page before"
    return InvalidRequest(message, param="after")


def page_object(page: RolloutPage, data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The page on the wire."""
    return {
        "object": "list",
        "data": data,
        "has_more": page.rest is not None,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "next_cursor": None if page.rest is None else id_of(page.rest),
        "ended_early": page.ended_early,
    }
