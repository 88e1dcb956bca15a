"""Results by kind of row: the primary comparison on the rows that share the value of one of their keys.

Exploratory: nobody said beforehand which slice matters, and of many one looks remarkable by chance. The p-values are
therefore corrected for how many slices there are (Holm), and the verdict never rests on them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openrft.errors import InvalidRequest
from openrft.evaluation.comparison import Comparison, RowPair, compare_rows
from openrft.evaluation.evaluation import EvaluationRow
from openrft.evaluation.statistics import holm

MOST_VALUES = 12
"""More values than these, and a key is not sliced by unless it is named."""

MOST_NAMED_VALUES = 50
FEWEST_ROWS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """The primary comparison on the rows with ``value`` at ``key``."""

    key: str
    value: str
    num_rows: int
    comparison: Comparison
    p_value_holm: float | None  # of the paired difference, corrected for all slices; None without one

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Slice:
        """What ``dataclasses.asdict`` wrote."""
        return cls(**{**data, "comparison": Comparison.from_json(data["comparison"])})


def compare_slices(
    pairs: Sequence[RowPair],
    clusters: Mapping[str, Hashable],
    *,
    named: Collection[str] = (),
    grader: Mapping[str, Any] | None = None,
) -> list[Slice]:
    """Slices by the keys in ``named``, then by those that :func:`slice_keys` finds; rows without a key are in none."""
    rows = [row for row, _ in pairs]
    slices = []
    check_slice_keys(named, [row.fields for row in rows])
    for key in dict.fromkeys([*named, *slice_keys(rows, grader)]):
        parts: dict[str, list[RowPair]] = {}
        for pair in pairs:
            if key in pair[0].fields:
                parts.setdefault(pair[0].fields[key], []).append(pair)
        for value, part in sorted(parts.items()):
            comparison = compare_rows("mean score", "sampled", part, _mean, clusters)
            slices.append(Slice(key=key, value=value, num_rows=len(part), comparison=comparison, p_value_holm=None))
    tested = [one.comparison.paired.p_value for one in slices if one.comparison.paired is not None]
    corrected = iter(holm(tested))
    return [one if one.comparison.paired is None else replace(one, p_value_holm=next(corrected)) for one in slices]


def slice_keys(rows: Sequence[EvaluationRow], grader: Mapping[str, Any] | None = None) -> list[str]:
    """The keys that part the rows into 2 to 12 kinds of at least 5 rows each, and are not the answer.

    A key that the grader's definition names is (part of) what an answer is judged by, and so is one whose value follows
    from such a key. Slices by those would not tell kinds of questions apart but which answer is right, and a model that
    merely says "yes" more often looks better in one and worse in the other. Name such a key to see it anyway.
    """
    values: dict[str, dict[str, int]] = {}
    for row in rows:
        for key, value in row.fields.items():
            counts = values.setdefault(key, {})
            counts[value] = counts.get(value, 0) + 1
    words = " ".join(_strings(grader or {}))
    answers = [key for key in values if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", words)]
    few = [key for key in answers if len(values[key]) <= MOST_VALUES]
    return [
        key
        for key, counts in values.items()
        if 2 <= len(counts) <= MOST_VALUES
        and min(counts.values()) >= FEWEST_ROWS
        and key not in answers
        and not any(_follows(key, answer, rows) for answer in few)
    ]


def check_slice_keys(named: Collection[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Raise :class:`~openrft.errors.InvalidRequest` for a named key that these fields of rows cannot be sliced by."""
    known = list(dict.fromkeys(key for row in rows for key in row))
    for key in named:
        if key not in known:
            there = f"these can be sliced by: {', '.join(known)}" if known else "they have none that can be sliced by"
            raise InvalidRequest(
                f"slice {key!r}: no row has such a key with a short text, a number or true/false; {there}",
                param="slice",
            )
        count = len({row[key] for row in rows if key in row})
        if count > MOST_NAMED_VALUES:
            raise InvalidRequest(
                f"slice {key!r}: {count} different values, at most {MOST_NAMED_VALUES} can be told apart", param="slice"
            )


def _follows(key: str, answer: str, rows: Sequence[EvaluationRow]) -> bool:
    """Whether each value of ``answer`` goes with one value of ``key``."""
    pairs = {(row.fields.get(answer), row.fields.get(key)) for row in rows}
    return len(pairs) == len({value for value, _ in pairs})


def _strings(definition: Any) -> Iterator[str]:
    if isinstance(definition, str):
        yield definition
    elif isinstance(definition, Mapping):
        for name, value in definition.items():
            if name not in ("type", "name", "operation"):
                yield from _strings(value)
    elif isinstance(definition, list):
        for value in definition:
            yield from _strings(value)


def _mean(row: EvaluationRow) -> float | None:
    return row.mean
