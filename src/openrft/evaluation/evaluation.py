"""What one pass of a policy over held-out examples gave, as plain data that can be stored, compared and shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from openrft.evaluation.statistics import Interval, examples_needed, mean_interval, variance_parts
from openrft.rollout.prompt import count_reasoning_tokens
from openrft.types import Example, Grade, Rollout, RolloutGroup, TokenUsage, is_outage, total_usage

Mode = Literal["greedy", "sampled"]

PASS_THRESHOLD = 1.0 - 1e-9
"""A sample passes with a full score; the slack is for scores that are sums of floats."""

_LONGEST_FIELD = 80  # characters; a longer text is no name of a kind of row


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRow:
    """One held-out example with everything that was sampled for it; the lists run over its samples."""

    example_id: str
    index: int
    line: int
    prompt_text: str
    scores: list[float | None]  # None where the grader failed: missing, not zero
    outputs: list[str]
    errors: list[str | None]  # why a score is missing
    completion_tokens: list[int]
    truncated: list[bool]
    reasoning_tokens: list[int] = field(default_factory=list)  # of the completion's; empty in older files, as below
    grades: list[dict[str, Any]] = field(default_factory=list)  # whole, every part; without seconds, which vary
    fields: dict[str, str] = field(default_factory=dict)
    """The row's own keys with a short text, a number or true/false, as text: what results may be sliced by."""
    monitor_grades: list[dict[str, Any]] = field(default_factory=list)  # as ``grades``; empty without a monitor grader

    def __post_init__(self) -> None:
        later = (values for values in (self.reasoning_tokens, self.grades, self.monitor_grades) if values)
        per_sample: tuple[Sequence[object], ...] = (
            self.scores,
            self.outputs,
            self.errors,
            self.completion_tokens,
            self.truncated,
            *later,
        )
        if len({len(values) for values in per_sample}) != 1:
            raise ValueError(f"the lists of example {self.example_id} have different lengths")
        # A NaN would travel silently into every mean.
        if not all(score is None or math.isfinite(score) for score in self.scores):
            raise ValueError(f"a score of example {self.example_id} is not finite: {self.scores}")

    @property
    def mean(self) -> float | None:
        """Mean score of the graded samples; None when there is none."""
        return mean_or_none([score for score in self.scores if score is not None])

    def pass_mean(self, threshold: float = PASS_THRESHOLD) -> float | None:
        """Share of the graded samples that score ``threshold`` or more; None when none is graded."""
        return mean_or_none([float(score >= threshold) for score in self.scores if score is not None])

    @property
    def monitored(self) -> EvaluationRow:
        """The same answers with the monitor grader's scores."""
        errors = [grade["error"] for grade in self.monitor_grades]
        return replace(
            self,
            scores=[grade["score"] for grade in self.monitor_grades],
            errors=[error and f"{error['kind']}: {error['message']}" for error in errors],
            grades=self.monitor_grades,
            monitor_grades=[],
        )

    def representative(self) -> int:
        """Index of the sample to show when there is room for one: the score nearest to the row's mean.

        Showing the best or the worst would tell a better or worse story than the row does.
        """
        mean = self.mean
        graded = [index for index, score in enumerate(self.scores) if score is not None]
        if mean is None or not graded:
            return 0
        return min(graded, key=lambda index: abs((self.scores[index] or 0.0) - mean))


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One pass over held-out examples: ``num_samples`` completions of each, greedy or sampled."""

    name: str  # "base", "step 20"
    step: int
    mode: Mode
    num_samples: int
    rows: list[EvaluationRow]
    usage: Mapping[str, TokenUsage] = field(default_factory=dict)  # what model graders spent on it, by model
    parse_error_share: float | None = None  # of the samples; None without a response_format
    grade_seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Mean seconds of one grade, under "", and of each part of a multi grader under its key. Not kept: they vary."""
    is_outage: bool = field(default=False, compare=False)
    """Whether most scores that are missing are so because a grader was out of reach. Not kept: it passes."""

    @classmethod
    def from_groups(cls, name: str, step: int, mode: Mode, groups: Sequence[RolloutGroup]) -> Evaluation:
        """Keep of each group what a report needs; scores are the grader's, before any shaping of rewards."""
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        grades = [rollout.grade for rollout in rollouts]
        return cls(
            name=name,
            step=step,
            mode=mode,
            num_samples=max((len(group.rollouts) for group in groups), default=0),
            rows=[_row(group) for group in groups],
            usage=total_usage(grades),
            parse_error_share=_parse_error_share(rollouts),
            grade_seconds=_grade_seconds(grades),
            is_outage=is_outage(grades),
        )

    @property
    def monitored(self) -> Evaluation | None:
        """The same answers with the monitor grader's scores; None where there was none."""
        if not self.rows or not self.rows[0].monitor_grades:
            return None
        return replace(self, rows=[row.monitored for row in self.rows])

    @property
    def example_means(self) -> list[float | None]:
        """Mean score of each example, None where nothing was graded."""
        return [row.mean for row in self.rows]

    def pass_means(self, threshold: float = PASS_THRESHOLD) -> list[float | None]:
        """Share of passing samples of each example, None where nothing was graded."""
        return [row.pass_mean(threshold) for row in self.rows]

    @property
    def mean(self) -> float | None:
        """Mean over examples of their mean scores, so that a half-graded example weighs as much as any other."""
        return mean_or_none([mean for mean in self.example_means if mean is not None])

    @property
    def interval(self) -> Interval | None:
        """95 % interval of :attr:`mean`; None when nothing was graded."""
        return self._interval_of(self.example_means)

    def pass_rate(self, threshold: float = PASS_THRESHOLD) -> float | None:
        """Share of samples with a score of ``threshold`` or more, averaged over examples."""
        return mean_or_none([mean for mean in self.pass_means(threshold) if mean is not None])

    def pass_interval(self, threshold: float = PASS_THRESHOLD) -> Interval | None:
        """95 % interval of :meth:`pass_rate`; None when nothing was graded."""
        return self._interval_of(self.pass_means(threshold))

    def _interval_of(self, example_means: Sequence[float | None]) -> Interval | None:
        """Rows with the same content are one unit of evidence."""
        if all(mean is None for mean in example_means):
            return None
        return mean_interval(example_means, self.graded_per_example, [row.example_id for row in self.rows])

    @property
    def graded_per_example(self) -> float:
        """How many graded samples the examples that have any hold on average."""
        return graded_per_row(self.rows)

    def rows_needed(self, gain: float) -> int | None:
        """How many rows like these, with as many samples, find a true gain over this model in four of five cases.

        None where that cannot be told: with one sample per row or fewer than two rows, where all scores are the same,
        and for scores outside 0…1, of which nobody knows what a large gain is.
        """
        if self.interval is None or self.interval.method != "wilson":
            return None
        try:
            between, within = variance_parts([row.scores for row in self.rows])
        except ValueError:
            return None
        if between + within <= 0.0:
            return None
        return examples_needed(gain, self.graded_per_example, rate_variance=between, noise_variance=within)

    @property
    def num_completions(self) -> int:
        """All samples of all rows."""
        return sum(len(row.scores) for row in self.rows)

    @property
    def num_ungraded(self) -> int:
        """Samples without a score."""
        return sum(score is None for row in self.rows for score in row.scores)

    @property
    def ungraded_share(self) -> float:
        """Share of the samples without a score; 0 when there are no samples."""
        return self.num_ungraded / self.num_completions if self.num_completions else 0.0

    @property
    def completion_tokens_mean(self) -> float:
        """Mean length of all completions, graded or not; 0 when there are none."""
        return self._sample_mean(lambda row: row.completion_tokens)

    @property
    def truncated_share(self) -> float:
        """Share of the completions that were cut at the length limit; 0 when there are none."""
        return self._sample_mean(lambda row: row.truncated)

    def _sample_mean(self, of: Callable[[EvaluationRow], Sequence[float]]) -> float:
        return mean_or_none([float(value) for row in self.rows for value in of(row)]) or 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json(to_json())`` gives an equal evaluation."""
        values = asdict(self)
        del values["grade_seconds"], values["is_outage"]
        return values

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """The evaluation that :meth:`to_json` wrote."""
        usage = {model: TokenUsage(**spent) for model, spent in data.get("usage", {}).items()}
        return cls(**{**data, "rows": [EvaluationRow(**row) for row in data["rows"]], "usage": usage})


def prompt_text(example: Example) -> str:
    """The example's messages for people: one alone as it is, several each under its role."""
    texts = [(str(message.get("role", "")), content_text(message.get("content"))) for message in example.messages]
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in texts)


def content_text(content: Any) -> str:
    """A message's content as one text; other parts than text are left out."""
    if isinstance(content, list):  # content parts; only those of type text hold text
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _row(group: RolloutGroup) -> EvaluationRow:
    example, rollouts = group.example, group.rollouts
    return EvaluationRow(
        example_id=example.id,
        index=example.index,
        line=example.line,
        prompt_text=prompt_text(example),
        scores=[rollout.grade.score for rollout in rollouts],
        outputs=[rollout.sample.output_text for rollout in rollouts],
        errors=[_error_text(rollout) for rollout in rollouts],
        completion_tokens=[len(rollout.completion.token_ids) for rollout in rollouts],
        truncated=[rollout.completion.finish_reason == "length" for rollout in rollouts],
        reasoning_tokens=[count_reasoning_tokens(rollout.completion) for rollout in rollouts],
        grades=[plain_grade(rollout.grade) for rollout in rollouts],
        fields=scalar_fields(example.item),
    )


def scalar_fields(item: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a dataset row with a short text, a number or true/false, and their values as text."""
    scalars = {key: value for key, value in item.items() if isinstance(value, str | int | float)}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in scalars.items()}
    return {key: text for key, text in texts.items() if len(text) <= _LONGEST_FIELD}


def plain_grade(grade: Grade) -> dict[str, Any]:
    """A grade as an evaluation keeps it: whole, but for the seconds, which no two passes have in common."""
    return _without_seconds(grade.as_plain())


def _without_seconds(grade: dict[str, Any]) -> dict[str, Any]:
    parts = {key: _without_seconds(part) for key, part in grade["sub_grades"].items()}
    return {name: value for name, value in grade.items() if name != "seconds"} | {"sub_grades": parts}


def _grade_seconds(grades: Sequence[Grade]) -> dict[str, float]:
    by_part: dict[str, list[float]] = {}
    for grade in grades:
        for part, one in {"": grade, **grade.sub_grades}.items():
            by_part.setdefault(part, []).append(one.seconds)
    return {part: math.fsum(seconds) / len(seconds) for part, seconds in by_part.items()}


def _parse_error_share(rollouts: Sequence[Rollout]) -> float | None:
    structured = [rollout.sample for rollout in rollouts if rollout.sample.is_structured]
    return mean_or_none([float(sample.has_parse_error) for sample in structured])


def _error_text(rollout: Rollout) -> str | None:
    error = rollout.grade.error
    return None if error is None else f"{error.kind}: {error.message}"


def graded_per_row(rows: Sequence[EvaluationRow]) -> float:
    """How many graded samples the rows that have any hold on average."""
    counts = [sum(score is not None for score in row.scores) for row in rows]
    return mean_or_none([float(count) for count in counts if count]) or 0.0


def mean_or_none(values: Sequence[float]) -> float | None:
    """Arithmetic mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None
