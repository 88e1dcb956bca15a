"""What was noticed while the model trained, as the report shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openrft.evaluation.untrusted import fenced, markdown_text, shorten

_SHOWN_CHARACTERS = 500  # of one answer; rollouts and evaluations hold all


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One answer that shows it. ``text`` is None where the answer is on another machine."""

    source: str  # "rollouts" or "validation"
    step: int
    example: str
    line: int
    sample: int
    score: float | None = None
    monitor_score: float | None = None
    text: str | None = None

    @property
    def place(self) -> str:
        """Where it is and what it got, as words."""
        said = f"step {self.step}, {'validation' if self.source == 'validation' else 'training'} line {self.line}"
        said += f", sample {self.sample}: "
        if self.text is None:
            return said + "kept where it was sampled"
        said += "ungraded" if self.score is None else f"score {self.score:.3g}"
        return said if self.monitor_score is None else f"{said}, by the monitor grader {self.monitor_score:.3g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Noticed:
    """An alarm of the run."""

    code: str
    severity: str
    sentence: str
    advice: str
    step: int
    ended_step: int | None = None
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """``error, from step 40 on: reward_hacking``."""
        span = f"steps {self.step} to {self.ended_step}" if self.ended_step else f"from step {self.step} on"
        return f"{self.severity}, {span}: {self.code}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Noticed:
        """What ``dataclasses.asdict`` wrote."""
        return cls(**{**data, "evidence": [Evidence(**one) for one in data["evidence"]]})


def noticed_lines(noticed: Sequence[Noticed]) -> list[str]:
    """All of it as Markdown."""
    lines = []
    for one in noticed:
        lines += [f"### {markdown_text(one.heading)}", "", markdown_text(f"{one.sentence}."), ""]
        lines += [markdown_text(f"What to do: {one.advice}."), ""]
        for shown in one.evidence:
            lines += [f"{markdown_text(shown.place)}", ""]
            if shown.text is not None:
                lines += [fenced(shorten(shown.text, _SHOWN_CHARACTERS)), ""]
    return lines[:-1]
