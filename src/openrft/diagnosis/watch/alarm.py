"""What is told of a run in trouble: a sentence, what to do about it, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["warn", "error"]
"""``error``: the model that comes out is likely worth nothing; ``warn``: it is likely worth less than it could be."""

Source = Literal["rollouts", "validation"]

MOST_EVIDENCE = 5

ALARMS_FILE = "alarms.json"
"""Where a run's folder holds them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One answer to look at: of a step's rollouts, or of the validation pass after that step."""

    source: Source
    step: int
    example: str  # the example's id
    line: int  # where it is in its file
    sample: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Something that began at ``step``, and what shows it; ``ended_step`` is where it was over, if it is."""

    code: str
    severity: Severity
    sentence: str
    advice: str
    step: int
    evidence: tuple[Reference, ...] = ()
    ended_step: int | None = None

    @property
    def told(self) -> str:
        """What people are told when it begins, or when it is over."""
        if self.ended_step is not None:
            return f"{self.code}, begun at step {self.step}, is over"
        return f"{self.code}: {self.sentence}. What to do: {self.advice}"

    @property
    def level(self) -> str:
        """How loudly."""
        return self.severity if self.ended_step is None else "info"

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json(to_json())`` gives an equal alarm."""
        return asdict(self) | {"evidence": [asdict(reference) for reference in self.evidence]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Alarm:
        """The alarm that :meth:`to_json` wrote."""
        return cls(**{**data, "evidence": tuple(Reference(**reference) for reference in data["evidence"])})
