"""The words of a report: the verdict, and the notes without which its numbers would mislead."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from openrft.evaluation.statistics import Interval, PairedDifference, detectable_effect, units_needed

if TYPE_CHECKING:
    from openrft.evaluation.comparison import Comparison
    from openrft.evaluation.report import Arm, Report

Outcome = Literal["better", "no change", "worse", "not measured"]

_SHOWN_LINES = 8

FEW_EXAMPLES = 30  # below this an interval is honest but wide, and the rows may not stand for the task


USUAL_GAIN = 0.05
"""The gain for which a report says how many rows would be needed, for scores within 0…1."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Tuned minus base, as it is claimed."""

    mean: float
    interval: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Power:
    """What a comparison of this size can find in four of five cases."""

    detectable_gain: float
    gain: float | None  # a smaller one than that, and
    rows_needed: int | None  # how many rows it takes to find it, with as many completions each; None: no need to ask


def shrink(paired: PairedDifference | None, optimism: float) -> Difference | None:
    """The difference less what choosing the checkpoint on the same rows is expected to have added."""
    if paired is None:
        return None
    low, high = paired.interval.low - optimism, paired.interval.high - optimism
    return Difference(paired.mean - optimism, Interval(low, high, paired.interval.method))


def outcome_of(difference: Difference | PairedDifference | None) -> Outcome:
    """What an interval says: ``no change`` as soon as it includes zero."""
    if difference is None:
        return "not measured"
    if difference.interval.low > 0.0:
        return "better"
    return "worse" if difference.interval.high < 0.0 else "no change"


def power_of(comparison: Comparison) -> Power | None:
    """From the spread of the very differences that were measured."""
    paired, base = comparison.paired, comparison.base_interval
    if paired is None or paired.standard_error is None or paired.num_units is None:
        return None
    variance = paired.standard_error**2 * paired.num_units
    detectable = detectable_effect(variance, paired.num_units)
    if base is None or base.method != "wilson" or detectable <= USUAL_GAIN:
        return Power(detectable_gain=detectable, gain=None, rows_needed=None)
    # In rows, of which a unit may hold several.
    rows = math.ceil(units_needed(USUAL_GAIN, variance) * paired.num_examples / paired.num_units)
    return Power(detectable_gain=detectable, gain=USUAL_GAIN, rows_needed=rows)


def sentence(report: Report) -> str:
    """The verdict in one or two sentences, from the primary comparison."""
    primary, paired, difference = report.primary, report.primary.paired, report.difference
    if paired is None or difference is None or primary.base_mean is None or primary.tuned_mean is None:
        return "not measured: no held-out row has a grade from both models"
    opening = {"better": "better", "worse": "worse"}.get(report.outcome, "no significant gain")
    size = f"{_counted(paired.num_examples, 'example')} × {_counted(report.arms[0].num_samples, 'sample')}"
    shrunk = f", shrunk by {_fixed(report.optimism, 3)}" if report.optimism else ""
    text = (
        f"{opening}: {difference_text(difference)} in mean score "
        f"({primary.base_mean:.2f} → {primary.tuned_mean - report.optimism:.2f}{shrunk}), paired on {size}"
    )
    if report.outcome == "no change" and paired.interval.low > 0.0:
        text += "; choosing the checkpoint on these rows can explain the difference"
    return f"{text}. {_sharpening(report)}" if report.is_sharpening else f"{text}."


def notes(report: Report) -> list[str]:
    """What one has to know to read the numbers rightly, most important first."""
    found = [_rows_note(report), _leakage_note(report), _size_note(report), _greedy_note(report)]
    found += [_tries_note(report), _length_note(report)]
    found += [_ungraded_note(arm) for arm in report.arms]
    found.append(_dropped_note(report))
    return [note for note in found if note]


def difference_text(difference: Difference | PairedDifference) -> str:
    """``+0.62 [0.55, 0.68]``, with as many digits as it takes that no bound looks like zero without being it."""
    mean, interval = difference.mean, difference.interval
    digits = _digits(mean, interval.low, interval.high)
    return f"{_fixed(mean, digits, sign=True)} {interval_text(interval, digits)}"


def interval_text(interval: Interval, digits: int = 2) -> str:
    """``[0.55, 0.68]``."""
    return f"[{_fixed(interval.low, digits)}, {_fixed(interval.high, digits)}]"


def _digits(*values: float) -> int:
    for digits in (2, 3):
        if all(value == 0.0 or round(value, digits) != 0.0 for value in values):
            return digits
    return 4


def _fixed(value: float, digits: int, *, sign: bool = False) -> str:
    rounded = round(value, digits) + 0.0  # turns -0.0 into 0.0
    return f"{rounded:+.{digits}f}" if sign else f"{rounded:.{digits}f}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _sharpening(report: Report) -> str:
    greedy, primary = report.comparison("mean score", "greedy"), report.primary
    assert greedy is not None and greedy.paired is not None and primary.paired is not None
    change = difference_text(greedy.paired)
    if greedy.outcome == "worse":
        return f"Sampling became sharper; the greedy answer got worse ({change})."
    text = f"Sampling became sharper; the greedy answer did not improve ({change})"
    if greedy.paired.interval.high >= primary.paired.mean:
        # The same gain lies within the greedy interval: absence of evidence, and said to be that.
        text += ", though with so few rows it may have"
    return f"{text}."


def _rows_note(report: Report) -> str:
    selection, paired = report.selection, report.primary.paired
    if report.rows_kind == "test":
        text = "These rows were untouched: nothing was trained on them or decided with them."
        if selection is not None and len(selection.candidate_steps) > 1:
            text += f" Step {selection.chosen_step} was chosen on the validation rows ({_rule(report)})."
        return text
    if report.correction == "none needed: last step ships" or selection is None:
        return "These are the validation rows; no checkpoint was chosen with them, so the numbers stand as they are."
    text = (
        f"These are the validation rows that chose step {selection.chosen_step} ({_rule(report)}). The best of several "
        f"looks better than it is, here by about {_fixed(report.optimism, 3)}"
    )
    if paired is None:
        return f"{text}."
    return f"{text}; the verdict has that taken off the difference of {difference_text(paired)} that was measured."


def _leakage_note(report: Report) -> str:
    leakage = report.leakage
    if leakage is None or not leakage.rows:
        return ""
    lines = ", ".join(str(row.line) for row in leakage.rows[:_SHOWN_LINES])
    more = ", …" if len(leakage.rows) > _SHOWN_LINES else ""
    verb, places = ("has", "line") if len(leakage.rows) == 1 else ("have", "lines")
    text = (
        f"{_counted(len(leakage.rows), 'row')} of these {verb} (nearly) a prompt that was trained on "
        f"({places} {lines}{more}) and may measure memory"
    )
    rest = None if leakage.without is None else shrink(leakage.without.paired, report.optimism)
    if rest is None:
        return f"{text}; no other row has a grade from both models."
    return f"{text}; without them the difference is {difference_text(rest)}."


def _rule(report: Report) -> str:
    assert report.selection is not None
    window, count = report.selection.window, len(report.selection.candidate_steps)
    rule = "the highest mean score" if window == 1 else f"the highest {window}-point moving average of the mean score"
    return f"{rule} among {count} checkpoints"


def _size_note(report: Report) -> str:
    paired, power = report.primary.paired, report.power
    if paired is None:
        return ""
    if report.outcome == "no change" and power is not None:
        text = (
            f"No significant gain does not mean no gain: a comparison of this size finds a true gain of "
            f"{power.detectable_gain:.2f} in four of five cases, and smaller ones less often"
        )
        if power.rows_needed is None:
            return f"{text}."
        return f"{text}. To find a gain of +{power.gain:g} takes about {_rounded(power.rows_needed):,} rows like these."
    if paired.num_examples < FEW_EXAMPLES:
        count = _counted(paired.num_examples, "row")
        return f"{count} only: the interval allows for chance among rows like these, not for rows unlike them."
    return ""


def _greedy_note(report: Report) -> str:
    greedy = report.comparison("mean score", "greedy")
    if greedy is None:
        return "Greedy decoding was not evaluated, so sharper sampling cannot be told from a better model."
    if greedy.paired is None or report.is_sharpening:
        return ""
    return f"Greedy decoding: {difference_text(greedy.paired)} in mean score."


def _tries_note(report: Report) -> str:
    """With many tries the base may find what the tuned model no longer does."""
    passing = [tries for tries in report.tries if tries.comparison.metric == "pass@k"]
    if not passing or passing[-1].comparison.outcome != "worse":
        return ""
    last = passing[-1]
    assert last.comparison.paired is not None
    change = difference_text(last.comparison.paired)
    return (
        f"Of {last.k} tries one succeeds less often than before (pass@{last.k} {change}): answers became less diverse."
    )


def _rounded(rows: int) -> int:
    """Two digits: the spread it is computed from is known no better."""
    unit: int = 10 ** max(0, len(str(rows)) - 2)
    return -(-rows // unit) * unit


def _length_note(report: Report) -> str:
    base, tuned = report.arms[0], report.arms[1]
    text = (
        f"Sampled completions went from {base.completion_tokens_mean:.1f} to {tuned.completion_tokens_mean:.1f} tokens "
        f"on average; {base.truncated_share:.0%} were cut at the limit before, {tuned.truncated_share:.0%} after."
    )
    return text if base.num_completions and tuned.num_completions else ""


def _ungraded_note(arm: Arm) -> str:
    if not arm.num_ungraded:
        return ""
    return (
        f"{arm.num_ungraded} of {arm.num_completions} {arm.mode} completions of {arm.name} could not be graded and "
        f"count as missing, not as zero; first error: {arm.first_error}"
    )


def _dropped_note(report: Report) -> str:
    paired = report.primary.paired
    if paired is None or not paired.num_dropped:
        return ""
    verb = "has" if paired.num_dropped == 1 else "have"
    return f"{_counted(paired.num_dropped, 'row')} {verb} no grade in one of the arms and left both."
