"""Held-out rows whose prompt is trained on: which they are, and what is left of the result without them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openrft.dataset.compare import Overlap, OverlapSearch
from openrft.evaluation.comparison import Comparison, RowPair, compare_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Leakage:
    """The rows that were found, by line, and the primary comparison on all others."""

    rows: list[Overlap]
    is_complete: bool  # False: the files were too large to look for more than equal prompts
    without: Comparison | None  # None where no row was found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Leakage:
        """What ``dataclasses.asdict`` wrote."""
        without = data["without"]
        return cls(
            rows=[Overlap(**row) for row in data["rows"]],
            is_complete=data["is_complete"],
            without=None if without is None else Comparison.from_json(without),
        )


def measure_leakage(search: OverlapSearch, pairs: Sequence[RowPair], clusters: Mapping[str, Hashable]) -> Leakage:
    """The primary comparison again, without the rows that ``search`` found among ``pairs``."""
    ids = {overlap.example_id for overlap in search.rows}
    rest = [pair for pair in pairs if pair[0].example_id not in ids]
    without = compare_rows("mean score", "sampled", rest, lambda row: row.mean, clusters) if ids else None
    return Leakage(rows=search.rows, is_complete=search.is_complete, without=without)
