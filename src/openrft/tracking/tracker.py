"""The seam: what a tracker is told of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["succeeded", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What a run is called, the same in each of its attempts."""

    id: str  # of letters, digits and -; nobody else's
    name: str
    base_model: str
    tensorboard_folder: str  # where event files go unless the job says otherwise

    def as_plain(self) -> dict[str, str]:
        """As JSON takes it."""
        return asdict(self)


class Tracker(Protocol):
    """Takes a run's numbers somewhere. Lives in a process of its own; whatever it raises ends that process alone."""

    def start(self, run: RunFacts, config: Mapping[str, Any]) -> int | None:
        """Begin, or go on with what an earlier attempt began; the last step that is there already, if any is."""
        ...

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics of a step: numbers that are finite. Steps come in order; one may come again with more of them."""
        ...

    def event(self, step: int, message: str, level: str) -> None:
        """A sentence for people, told when ``step`` was the last recorded one."""
        ...

    def finish(self, status: Status, report: Mapping[str, Any] | None, files: Sequence[Path]) -> None:
        """This attempt is over, and all that was told is to last. With a report, the run has succeeded.

        ``files`` are those for people to look at. An interrupted run may begin again.
        """
        ...


def verdict(report: Mapping[str, Any]) -> dict[str, float]:
    """The report's figures: the base's score and the tuned model's, and what was gained, with its 95 % interval.

    Of a supervised run without a grader they are losses.
    """
    primary = (report.get("comparisons") or [{}])[0]
    losses = [arm.get("loss") for arm in report.get("arms", ())] if not primary else []
    base, tuned = losses if len(losses) == 2 else (primary.get("base_mean"), primary.get("tuned_mean"))
    paired = primary.get("paired") or report.get("paired")
    difference = (report.get("selection") or {}).get("difference") or paired or {}
    interval = difference.get("interval") or {}
    found = {
        "report/base": base,
        "report/tuned": tuned,
        "report/gain": difference.get("mean"),
        "report/gain_low": interval.get("low"),
        "report/gain_high": interval.get("high"),
    }
    return {name: float(value) for name, value in found.items() if value is not None}
