"""Base against tuned model by the loss of held-out answers: what a supervised run without a grader can say.

The primary result is the paired difference of the rows' mean losses, tuned minus base: below zero the tuned model finds
the answers likelier. A loss has no sampling noise; the rows are what varies, so the interval is Student's t over rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from openrft.evaluation.curve import CurvePoint
from openrft.evaluation.losses import LossEvaluation
from openrft.evaluation.report import worst_and_best
from openrft.evaluation.selection import SelectionFacts
from openrft.evaluation.statistics import Interval, PairedDifference, paired_difference
from openrft.evaluation.time_spent import TimeSpent
from openrft.evaluation.verdict import Outcome, difference_text

KIND = "loss"
"""Tells this report from one of graded answers, in JSON."""

RowsKind = Literal["test", "validation", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossArm:
    """One of the two models on the reported rows."""

    name: str
    step: int
    num_rows: int
    num_tokens: int
    loss: float  # mean over rows of their mean losses
    token_mean_loss: float  # mean over all tokens, as in the curve
    token_accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LossChange:
    """One row under both models."""

    example_id: str
    index: int
    line: int
    prompt_text: str
    answer: str
    base_loss: float
    tuned_loss: float
    difference: float  # above zero: the tuned model finds the answer less likely


@dataclass(frozen=True, kw_only=True, slots=True)
class LossReport:
    """The whole answer to "is it better?" by loss, as plain data."""

    job: dict[str, Any]  # facts about the job, shown as they are
    rows_kind: RowsKind
    shipped_step: int
    arms: list[LossArm]  # base and tuned; empty where there are no held-out rows
    paired: PairedDifference | None  # None with fewer than two rows
    rows: list[LossChange]  # those that got worse most come first
    num_rows_left_out: int  # those between the worst and the best
    selection: SelectionFacts | None
    curve: list[CurvePoint]
    time_spent: TimeSpent | None = None
    noticed: list[str] = field(default_factory=list)  # what the rules of the diagnosis found while it trained
    overlapping_lines: list[int] = field(default_factory=list)  # reported rows whose prompts are trained on

    @property
    def optimism(self) -> float:
        """How much lower the loss is expected to look because these very rows chose the checkpoint."""
        return self.selection.expected_optimism if self.rows_kind == "validation" and self.selection else 0.0

    @property
    def outcome(self) -> Outcome:
        """Better or worse only if the whole interval says so; a gain must also survive the optimism of the choice."""
        if self.paired is None:
            return "not measured"
        if self.paired.interval.high + self.optimism < 0.0:
            return "better"
        return "worse" if self.paired.interval.low > 0.0 else "no change"

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        if not self.arms:
            return "not measured: there is no validation or test file, so the weights of the last step ship unseen."
        if self.paired is None:
            return "not measured: one held-out row says nothing about others."
        opening = {"better": "lower loss", "worse": "higher loss"}.get(self.outcome, "no significant change")
        base, tuned = self.arms
        return (
            f"{opening}: {difference_text(self.paired)} per token "
            f"({base.loss:.2f} → {tuned.loss:.2f}), paired on {self.paired.num_examples} {self.rows_kind} rows."
        )

    @property
    def notes(self) -> list[str]:
        """What one has to know to read the numbers rightly."""
        found = [f"Noticed in training: {sentence}" for sentence in self.noticed]
        if not self.arms:
            advice = (
                "Give a validation_file to have the best checkpoint chosen, and a test_file to measure it honestly."
            )
            return [*found, advice]
        base, tuned = self.arms
        if self.overlapping_lines:
            lines = ", ".join(map(str, self.overlapping_lines[:5])) + (", …" if len(self.overlapping_lines) > 5 else "")
            found.append(
                f"The prompts of {len(self.overlapping_lines)} of these rows are (nearly) trained on, line {lines}: "
                "there a lower loss is memory."
            )
        found += [
            f"Of the answers' tokens {base.token_accuracy:.1%} were the likeliest before and "
            f"{tuned.token_accuracy:.1%} are now.",
            "A lower loss says that the given answers became likelier, not that sampled answers are right; a grader "
            "(method.supervised.grader) measures that.",
        ]
        if self.rows_kind == "test":
            found.append("These rows were untouched: nothing was trained on them or decided with them.")
        elif self.selection is not None and len(self.selection.candidate_steps) > 1:
            found.append(
                f"These are the validation rows that chose step {self.shipped_step}, the lowest of "
                f"{len(self.selection.candidate_steps)} losses. That makes it look lower by about {self.optimism:.4f}."
            )
        else:
            found.append("These are the validation rows; no checkpoint was chosen with them.")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the conclusions beside the data; ``from_json(to_json())`` gives an equal report."""
        conclusions = {
            "kind": KIND,
            "outcome": self.outcome,
            "is_significant_gain": self.outcome == "better",
            "sentence": self.sentence,
            "notes": self.notes,
        }
        return {**conclusions, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LossReport:
        """The report that :meth:`to_json` wrote; conclusions are drawn anew from the data."""
        paired, selection = data["paired"], data["selection"]
        return cls(
            job=dict(data["job"]),
            rows_kind=data["rows_kind"],
            shipped_step=data["shipped_step"],
            arms=[LossArm(**arm) for arm in data["arms"]],
            paired=paired and PairedDifference(**{**paired, "interval": Interval(**paired["interval"])}),
            rows=[LossChange(**row) for row in data["rows"]],
            num_rows_left_out=data["num_rows_left_out"],
            selection=selection and SelectionFacts(**selection),
            curve=[CurvePoint.from_json(point) for point in data["curve"]],
            time_spent=TimeSpent.from_json(data["time_spent"]) if data.get("time_spent") else None,
            noticed=list(data.get("noticed", ())),
            overlapping_lines=list(data.get("overlapping_lines", ())),
        )


def build_loss_report(
    *,
    job: Mapping[str, Any],
    shipped_step: int,
    base: LossEvaluation | None,
    tuned: LossEvaluation | None,
    rows_kind: RowsKind,
    selection: SelectionFacts | None = None,
    curve: Sequence[CurvePoint] = (),
    time_spent: TimeSpent | None = None,
    noticed: Sequence[str] = (),
    overlapping_lines: Sequence[int] = (),
    max_rows: int = 200,
) -> LossReport:
    """Compare two models whose losses are of the same rows; None where there are no held-out rows."""
    changes = [] if base is None or tuned is None else _changes(base, tuned)
    # Rows with the same content are one unit of evidence.
    is_paired = len({change.example_id for change in changes}) > 1
    paired = None
    if is_paired:
        found = paired_difference(
            [change.base_loss for change in changes],
            [change.tuned_loss for change in changes],
            math.inf,  # samples per row: as many as one likes, nothing is drawn
            [change.example_id for change in changes],
        )
        paired = replace(found, wins=found.losses, losses=found.wins)  # a row that fell has won
    changes.sort(key=lambda change: (-change.difference, change.index))
    return LossReport(
        job=dict(job),
        rows_kind=rows_kind,
        shipped_step=shipped_step,
        arms=[_arm(one) for one in (base, tuned) if one is not None],
        paired=paired,
        rows=worst_and_best(changes, max_rows),
        num_rows_left_out=max(0, len(changes) - max_rows),
        selection=selection,
        curve=list(curve),
        time_spent=time_spent,
        noticed=list(noticed),
        overlapping_lines=list(overlapping_lines),
    )


def _arm(losses: LossEvaluation) -> LossArm:
    return LossArm(
        name=losses.name,
        step=losses.step,
        num_rows=len(losses.rows),
        num_tokens=losses.tokens,
        loss=losses.row_mean,
        token_mean_loss=losses.loss,
        token_accuracy=losses.token_accuracy,
    )


def _changes(base: LossEvaluation, tuned: LossEvaluation) -> list[LossChange]:
    after = {(row.example_id, row.index): row for row in tuned.rows}
    if after.keys() != {(row.example_id, row.index) for row in base.rows}:
        raise ValueError(f"{base.name!r} and {tuned.name!r} were not evaluated on the same rows")
    return [
        LossChange(
            example_id=row.example_id,
            index=row.index,
            line=row.line,
            prompt_text=row.prompt_text,
            answer=row.answer,
            base_loss=row.loss,
            tuned_loss=after[row.example_id, row.index].loss,
            difference=after[row.example_id, row.index].loss - row.loss,
        )
        for row in base.rows
    ]
