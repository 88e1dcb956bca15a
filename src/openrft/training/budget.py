"""What a run may spend, what it has spent by its records, and whether the next piece of work fits.

A run is paused before a step that would overrun a limit, not after one that did. What a step will take is taken from
the steps before it. When people resume a run that its budget has paused, that is a grant: from there on it may spend as
much again, and goes on by at least one step. A run that goes on after a crash is granted nothing.

Totals are recorded with every step, so a resumed run knows them: ``spent/tokens``, ``spent/grader_cost``,
``time/spent_minutes``. Time in which a grader was away does not count.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from openrft.errors import BudgetSpent, InvalidRequest
from openrft.evaluation.evaluation import Evaluation
from openrft.training.choices import Hyperparameters
from openrft.training.run_folder import RunFolder
from openrft.types import Metrics

RECENT_STEPS = 5
"""What the next step will take is the mean of as many before it."""

GRANT_FILE = "budget.json"

_UNITS = {"minutes": "minutes", "tokens": "tokens", "grader_cost": "of grading cost"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """An amount of each thing that a budget may limit."""

    minutes: float = 0.0
    tokens: int = 0  # sampled; in supervised training those that were trained on as well
    grader_cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            minutes=self.minutes + other.minutes,
            tokens=self.tokens + other.tokens,
            grader_cost=self.grader_cost + other.grader_cost,
        )

    def times(self, factor: float) -> Spent:
        """So many times as much, tokens rounded up."""
        return Spent(
            minutes=self.minutes * factor,
            tokens=math.ceil(self.tokens * factor),
            grader_cost=self.grader_cost * factor,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Where people let a paused run go on: what was spent by then does not count any more."""

    step: int
    spent: Spent

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Grant:
        """What :class:`~openrft.errors.BudgetSpent` carries."""
        return cls(step=document["step"], spent=Spent(**document["spent"]))


class Budget:
    """The limits of a run and its account. It is told of every evaluation that is computed and of every record."""

    def __init__(self, settings: Hyperparameters, *, grant: Grant | None = None, num_validated: int = 0) -> None:
        """``num_validated``: answers of one pass over the validation rows."""
        given = {name: getattr(settings, f"budget_{name}") for name in _UNITS}
        before = Spent() if grant is None else grant.spent
        self._limits = {name: getattr(before, name) + limit for name, limit in given.items() if limit is not None}
        self._grant, self._num_validated = grant, num_validated
        self._spent = Spent()
        self._recent: deque[Spent] = deque(maxlen=RECENT_STEPS)
        self._validation = Spent()
        self._evaluated = 0  # answers of the base so far, those included that an earlier attempt has left
        self._has_computed = False

    def add_evaluation(self, evaluation: Evaluation, *, is_new: bool = True) -> None:
        """An evaluation has been computed, now or by an earlier attempt that recorded no step after it."""
        tokens = sum(sum(row.completion_tokens) for row in evaluation.rows)
        cost = sum(spent.cost for spent in evaluation.usage.values())
        self._spent += Spent(tokens=tokens, grader_cost=cost)
        self._evaluated += evaluation.num_completions
        self._has_computed |= is_new

    def account(self, metrics: Metrics, *, minutes: float) -> Metrics:
        """What is recorded beside a step's ``metrics``: all that has been spent by now, and the limits."""
        self._spent = replace(self._spent + replace(_of_step(metrics), minutes=0.0), minutes=minutes)
        limits = {
            "budget/minutes": self._limits.get("minutes"),
            "budget/tokens": self._limits.get("tokens"),
            "budget/grader_cost": self._limits.get("grader_cost"),
        }
        return {
            "time/spent_minutes": self._spent.minutes,
            **self.amended(),
            **{name: float(limit) for name, limit in limits.items() if limit is not None},
        }

    def amended(self) -> Metrics:
        """What changes in a record when a validation is added to it."""
        return {"spent/tokens": float(self._spent.tokens), "spent/grader_cost": self._spent.grader_cost}

    def see(self, step: int, row: Mapping[str, Any]) -> None:
        """A step's record: of this attempt or, when a run is resumed, of an earlier one."""
        self._spent = Spent(
            minutes=row.get("time/spent_minutes") or 0.0,
            tokens=round(row.get("spent/tokens") or 0),
            grader_cost=row.get("spent/grader_cost") or 0.0,
        )
        if step > 0:
            self._recent.append(_of_step(row))
        if row.get("time/evaluation_seconds") is not None:
            self._validation = Spent(
                minutes=row["time/evaluation_seconds"] / 60,
                tokens=round((row.get("valid/completion_tokens_mean") or 0) * self._num_validated),
                grader_cost=row.get("valid/grade_cost") or 0.0,
            )

    def stop_before_step(self, step: int, num_steps: int, *, is_validated: bool) -> None:
        """Raise :class:`BudgetSpent` where the 1-based ``step`` would overrun a limit."""
        if self._grant is not None and step <= self._grant.step + 1:
            return
        ahead = sum(self._recent, Spent()).times(1 / max(1, len(self._recent)))
        if is_validated:
            ahead += self._validation
        self._stop_at(step - 1, ahead, f"step {step} of {num_steps}")

    def stop_before_base(self, num_answers: int, *, minutes: float) -> None:
        """Raise where so many answers of the untouched base would overrun a limit.

        Before anything is sampled that is known only of a limit below a token for each answer, which is refused as
        :class:`InvalidRequest`.
        """
        limit = self._limits.get("tokens")
        if not self._evaluated:
            if limit is not None and num_answers > limit:
                raise InvalidRequest(
                    f"budget_tokens is {limit:,}, but the base is evaluated on {num_answers:,} answers before the "
                    "first step; give a multiple of that, or fewer rows",
                    param="budget_tokens",
                )
            return
        self._spent = replace(self._spent, minutes=minutes)
        if self._has_computed or self._grant is None:
            ahead = self._spent.times(num_answers / self._evaluated)
            self._stop_at(0, ahead, "the base is evaluated, which comes before the first step")

    def _stop_at(self, step: int, ahead: Spent, what: str) -> None:
        after = self._spent + ahead
        for name, limit in self._limits.items():
            if getattr(after, name) > limit:
                spent, more = _number(getattr(self._spent, name)), _number(getattr(ahead, name))
                raise BudgetSpent(
                    f"paused before {what}: {spent} of {_number(limit)} {_UNITS[name]} are spent, and this would take "
                    f"about {more} (budget_{name}). Everything is kept: resume to spend as much again",
                    step=step,
                    spent=asdict(self._spent),
                )


def grant_of(folder: RunFolder) -> Grant | None:
    """The last grant of the run in ``folder``; one that its budget has paused is granted another by resuming it.

    It is written down before the status says that the run goes on. A crash between the two writes the same once more.
    """
    status = folder.read("status.json") if (folder.path / "status.json").exists() else {}
    if status.get("code") == BudgetSpent.code:
        folder.write(GRANT_FILE, {"step": status["step"], "spent": status["spent"]})
    return Grant.from_json(folder.read(GRANT_FILE)) if (folder.path / GRANT_FILE).exists() else None


def _of_step(row: Mapping[str, Any]) -> Spent:
    """What a step's record says that the step alone took."""
    seconds = (row.get("time/step_seconds") or 0.0) + (row.get("time/record_seconds") or 0.0)
    tokens = (row.get("rollout/completion_tokens_mean") or 0.0) * (row.get("rollout/count") or 0.0)
    return Spent(
        minutes=max(0.0, seconds - (row.get("time/grader_outage_seconds") or 0.0)) / 60,
        tokens=round(tokens + (row.get("train/tokens") or 0.0)),
        grader_cost=row.get("grade/cost") or 0.0,
    )


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
