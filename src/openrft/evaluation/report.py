"""Base against tuned model on held-out rows: did the job make the model better, and how sure is that?

The primary result is declared here and not chosen after the fact: the paired difference in mean score with sampling
as in training. Pass rate and greedy decoding stand beside it. Texts are worded in ``verdict``, shown by ``render``.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from openrft.dataset.compare import OverlapSearch
from openrft.evaluation import verdict
from openrft.evaluation.comparison import Comparison, Metric, RowPair, compare_rows, row_pairs
from openrft.evaluation.curve import CurvePoint
from openrft.evaluation.evaluation import PASS_THRESHOLD, Evaluation, Mode
from openrft.evaluation.leakage import Leakage, measure_leakage
from openrft.evaluation.noticed import Noticed
from openrft.evaluation.second_opinion import opinion_note, second_opinion
from openrft.evaluation.selection import SelectionFacts
from openrft.evaluation.slices import Slice, compare_slices
from openrft.evaluation.time_spent import TimeSpent
from openrft.evaluation.tries import Tries, compare_tries

RowsKind = Literal["test", "validation"]
"""``test``: rows that nothing was decided on; ``validation``: those that checkpoints were watched and chosen with."""

Correction = Literal["untouched rows", "shrunk by the expected optimism", "none needed: last step ships"]
"""Why choosing the checkpoint does not flatter the verdict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One of the evaluations that went into the report."""

    name: str
    step: int
    mode: Mode
    num_examples: int
    num_samples: int
    num_completions: int
    num_ungraded: int
    first_error: str | None
    completion_tokens_mean: float
    truncated_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RowChange:
    """One row under both models. The outputs shown are those whose score is nearest to the row's mean."""

    example_id: str
    index: int
    line: int
    prompt_text: str
    base_mean: float
    tuned_mean: float
    difference: float
    base_scores: list[float | None]
    tuned_scores: list[float | None]
    base_output: str
    tuned_output: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The whole answer to "is it better?", as plain data."""

    job: dict[str, Any]  # facts about the job, shown as they are
    rows_kind: RowsKind
    pass_threshold: float
    shipped_step: int
    comparisons: list[Comparison]  # the first is the primary result
    arms: list[Arm]
    rows: list[RowChange]  # sampled; those that got worse most come first
    num_rows_left_out: int  # beyond ``max_rows``; those between the worst and the best
    selection: SelectionFacts | None
    curve: list[CurvePoint]
    time_spent: TimeSpent | None = None  # None: there was no training to tell of
    tries: list[Tries] = field(default_factory=list)  # sampled; nothing with one sample per row
    slices: list[Slice] = field(default_factory=list)
    leakage: Leakage | None = None  # None: there was no training file to compare with
    monitor: Comparison | None = None  # mean score, sampled, by the monitor grader; None without one
    noticed: list[Noticed] = field(default_factory=list)  # while the model trained

    @property
    def primary(self) -> Comparison:
        """The comparison that the verdict is about: mean score, sampled."""
        return self.comparisons[0]

    def comparison(self, metric: Metric, mode: Mode) -> Comparison | None:
        """One of the comparisons; None when that mode was not evaluated."""
        return next((c for c in self.comparisons if (c.metric, c.mode) == (metric, mode)), None)

    @property
    def correction(self) -> Correction:
        """How the difference was kept from being flattered by the choice of the checkpoint."""
        if self.rows_kind == "test":
            return "untouched rows"
        if self.selection is None or len(self.selection.candidate_steps) < 2:
            return "none needed: last step ships"
        return "shrunk by the expected optimism"

    @property
    def optimism(self) -> float:
        """How much the difference is expected to flatter because these very rows chose the checkpoint."""
        if self.correction != "shrunk by the expected optimism" or self.selection is None:
            return 0.0
        return self.selection.expected_optimism

    @property
    def difference(self) -> verdict.Difference | None:
        """What the verdict is about: the primary paired difference, less the optimism of the choice."""
        return verdict.shrink(self.primary.paired, self.optimism)

    @property
    def outcome(self) -> verdict.Outcome:
        """Better or worse only if the whole interval of :attr:`difference` says so."""
        return verdict.outcome_of(self.difference)

    @property
    def power(self) -> verdict.Power | None:
        """Which gains a comparison of this size finds; None where nothing was compared."""
        return verdict.power_of(self.primary)

    @property
    def is_significant_gain(self) -> bool:
        """Whether the tuned model is better beyond what chance explains."""
        return self.outcome == "better"

    @property
    def is_sharpening(self) -> bool:
        """Sampling improved but the greedy answer did not: the model got surer of what it could already do."""
        greedy = self.comparison("mean score", "greedy")
        return self.is_significant_gain and greedy is not None and greedy.outcome in ("no change", "worse")

    @property
    def sentence(self) -> str:
        """The verdict in one or two sentences."""
        return verdict.sentence(self)

    @property
    def notes(self) -> list[str]:
        """What one has to know to read the numbers rightly, most important first."""
        opinion = [] if self.monitor is None else [opinion_note(self.monitor, self.outcome)]
        alarms = [f"Noticed in training, {one.heading}: {one.sentence}." for one in self.noticed]
        return [*opinion, *alarms, *verdict.notes(self)]

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the conclusions beside the data; ``from_json(to_json())`` gives an equal report."""
        conclusions = {
            "outcome": self.outcome,
            "is_significant_gain": self.is_significant_gain,
            "is_sharpening": self.is_sharpening,
            "sentence": self.sentence,
            "notes": self.notes,
            "power": None if self.power is None else asdict(self.power),
        }
        data = asdict(self)
        difference = None if self.difference is None else asdict(self.difference)
        data["selection"] = {
            "correction": self.correction,
            "difference": difference,
            "optimism": self.optimism,
            **(data["selection"] or {}),
        }
        return {**conclusions, **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """The report that :meth:`to_json` wrote; conclusions are drawn anew from the data."""
        # Older files have no selection where nothing was chosen; conclusions stand beside the facts in newer ones.
        selection = {name: value for name, value in (data["selection"] or {}).items() if name in _SELECTION_FIELDS}
        leakage = data.get("leakage")
        return cls(
            job=dict(data["job"]),
            rows_kind=data["rows_kind"],
            pass_threshold=data["pass_threshold"],
            shipped_step=data["shipped_step"],
            comparisons=[Comparison.from_json(comparison) for comparison in data["comparisons"]],
            arms=[Arm(**arm) for arm in data["arms"]],
            rows=[RowChange(**row) for row in data["rows"]],
            num_rows_left_out=data["num_rows_left_out"],
            selection=SelectionFacts(**selection) if selection else None,
            curve=[CurvePoint.from_json(point) for point in data["curve"]],
            time_spent=TimeSpent.from_json(data["time_spent"]) if data.get("time_spent") else None,
            tries=[Tries.from_json(tries) for tries in data.get("tries", [])],
            slices=[Slice.from_json(one) for one in data.get("slices", [])],
            leakage=None if leakage is None else Leakage.from_json(leakage),
            monitor=Comparison.from_json(data["monitor"]) if data.get("monitor") else None,
            noticed=[Noticed.from_json(one) for one in data.get("noticed", [])],
        )


_Change = TypeVar("_Change")

_SELECTION_FIELDS = {one.name for one in fields(SelectionFacts)}


def build_report(
    *,
    job: Mapping[str, Any],
    base_sampled: Evaluation,
    tuned_sampled: Evaluation,
    base_greedy: Evaluation | None = None,
    tuned_greedy: Evaluation | None = None,
    rows_kind: RowsKind = "test",
    selection: SelectionFacts | None = None,
    curve: Sequence[CurvePoint] = (),
    time_spent: TimeSpent | None = None,
    pass_threshold: float = PASS_THRESHOLD,
    clusters: Mapping[str, Hashable] | None = None,
    slice_keys: Collection[str] = (),
    grader: Mapping[str, Any] | None = None,
    overlap: OverlapSearch | None = None,
    noticed: Sequence[Noticed] = (),
    max_rows: int = 200,
) -> Report:
    """Compare two models that were evaluated on the same rows.

    ``job`` holds facts to show, plain JSON values: model names, grader, seed, seconds, whatever helps. ``clusters``
    maps example ids to what they share (a document, a person); rows with the same content always count as one unit.
    ``slice_keys`` are keys of the rows to slice by, beside those that slices finds; ``grader`` is the grader's
    definition, whose keys it leaves out. ``overlap`` is what these rows share with the training file, ``noticed`` what
    the rules have told of the run.
    """
    units = clusters or {}
    sampled = row_pairs(base_sampled, tuned_sampled)
    comparisons = _both_metrics(base_sampled.mode, sampled, pass_threshold, units)
    arms = [base_sampled, tuned_sampled]
    if base_greedy is not None and tuned_greedy is not None:
        comparisons += _both_metrics("greedy", row_pairs(base_greedy, tuned_greedy), pass_threshold, units)
        arms += [base_greedy, tuned_greedy]
    changes = sorted(_changes(sampled), key=lambda change: (change.difference, change.index))
    return Report(
        job=dict(job),
        rows_kind=rows_kind,
        pass_threshold=pass_threshold,
        shipped_step=tuned_sampled.step,
        comparisons=comparisons,
        arms=[_arm(evaluation) for evaluation in arms],
        rows=worst_and_best(changes, max_rows),
        num_rows_left_out=max(0, len(changes) - max_rows),
        selection=selection,
        curve=list(curve),
        time_spent=time_spent,
        tries=compare_tries(sampled, pass_threshold, units),
        slices=compare_slices(sampled, units, named=slice_keys, grader=grader),
        leakage=None if overlap is None else measure_leakage(overlap, sampled, units),
        monitor=second_opinion(base_sampled, tuned_sampled, units),
        noticed=list(noticed),
    )


def worst_and_best(changes: Sequence[_Change], most: int) -> list[_Change]:
    """Of changes in their order, worst first: all, or the worst three quarters of ``most`` and the best quarter."""
    best = most // 4
    return [*changes[: most - best], *changes[len(changes) - best :]] if len(changes) > most else list(changes)


def _both_metrics(
    mode: Mode, pairs: Sequence[RowPair], threshold: float, clusters: Mapping[str, Hashable]
) -> list[Comparison]:
    return [
        compare_rows("mean score", mode, pairs, lambda row: row.mean, clusters),
        compare_rows("pass rate", mode, pairs, lambda row: row.pass_mean(threshold), clusters),
    ]


def _changes(pairs: Sequence[RowPair]) -> list[RowChange]:
    changes = []
    for before, after in pairs:
        base_mean, tuned_mean = before.mean, after.mean
        if base_mean is None or tuned_mean is None:
            continue
        changes.append(
            RowChange(
                example_id=before.example_id,
                index=before.index,
                line=before.line,
                prompt_text=before.prompt_text,
                base_mean=base_mean,
                tuned_mean=tuned_mean,
                difference=tuned_mean - base_mean,
                base_scores=before.scores,
                tuned_scores=after.scores,
                base_output=before.outputs[before.representative()],
                tuned_output=after.outputs[after.representative()],
            )
        )
    return changes


def _arm(evaluation: Evaluation) -> Arm:
    return Arm(
        name=evaluation.name,
        step=evaluation.step,
        mode=evaluation.mode,
        num_examples=len(evaluation.rows),
        num_samples=evaluation.num_samples,
        num_completions=evaluation.num_completions,
        num_ungraded=evaluation.num_ungraded,
        first_error=next((error for row in evaluation.rows for error in row.errors if error is not None), None),
        completion_tokens_mean=evaluation.completion_tokens_mean,
        truncated_share=evaluation.truncated_share,
    )
