"""How likely a policy finds the held-out answers of a supervised job, as plain data that can be stored and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class LossRow:
    """One held-out row: its answers' tokens and how likely they were."""

    example_id: str
    index: int
    line: int
    prompt_text: str
    answer: str  # the last one
    tokens: int  # of answers that train
    loss: float  # mean negative log-likelihood of a token, in nats
    hits: int  # tokens that no other was likelier than

    def __post_init__(self) -> None:
        if not math.isfinite(self.loss):
            raise ValueError(f"the loss of example {self.example_id} is {self.loss}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossEvaluation:
    """One pass over held-out answers. Nothing is sampled, so the same weights always give the same numbers."""

    name: str  # "base", "step 20"
    step: int
    rows: list[LossRow]

    @property
    def tokens(self) -> int:
        """All tokens of all answers."""
        return sum(row.tokens for row in self.rows)

    @property
    def loss(self) -> float:
        """Mean over all tokens, as the training loss is."""
        return math.fsum(row.loss * row.tokens for row in self.rows) / self.tokens

    @property
    def token_accuracy(self) -> float:
        """Share of the tokens that no other was likelier than."""
        return sum(row.hits for row in self.rows) / self.tokens

    @property
    def row_mean(self) -> float:
        """Mean over rows of their mean losses: the unit of evidence is the row."""
        return math.fsum(row.loss for row in self.rows) / len(self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json(to_json())`` gives an equal evaluation."""
        return {**asdict(self), "mode": "loss"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LossEvaluation:
        """The evaluation that :meth:`to_json` wrote."""
        return cls(name=data["name"], step=data["step"], rows=[LossRow(**row) for row in data["rows"]])
