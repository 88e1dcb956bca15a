"""The words of a report: the verdict, and the notes without which its numbers would mislead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from openrft.evaluation.statistics import Z80, Z95, Interval, PairedDifference, student_quantile

if TYPE_CHECKING:
    from openrft.evaluation.report import Arm, Report

Outcome = Literal["better", "no change", "worse", "not measured"]

FEW_EXAMPLES = 30  # below this an interval is honest but wide, and the rows may not stand for the task


def outcome_of(paired: PairedDifference | None, *, optimism: float = 0.0) -> Outcome:
    """What an interval says: ``no change`` as soon as it includes zero.

    ``optimism`` makes gains harder to claim and losses no easier.
    """
    if paired is None:
        return "not measured"
    if paired.interval.low - optimism > 0.0:
        return "better"
    return "worse" if paired.interval.high < 0.0 else "no change"


def sentence(report: Report) -> str:
    """The verdict in one or two sentences, from the primary comparison."""
    primary, paired = report.primary, report.primary.paired
    if paired is None or primary.base_mean is None or primary.tuned_mean is None:
        return "not measured: no held-out row has a grade from both models"
    opening = {"better": "better", "worse": "worse"}.get(report.outcome, "no significant gain")
    size = f"{_counted(paired.num_examples, 'example')} × {_counted(report.arms[0].num_samples, 'sample')}"
    text = (
        f"{opening}: {difference_text(paired)} in mean score "
        f"({primary.base_mean:.2f} → {primary.tuned_mean:.2f}), paired on {size}"
    )
    if report.outcome == "no change" and paired.interval.low > 0.0:
        text += "; choosing the checkpoint on these rows can explain the difference"
    return f"{text}. {_sharpening(report)}" if report.is_sharpening else f"{text}."


def notes(report: Report) -> list[str]:
    """What one has to know to read the numbers rightly, most important first."""
    found = [_rows_note(report), _size_note(report), _greedy_note(report), _length_note(report)]
    found += [_ungraded_note(arm) for arm in report.arms]
    found.append(_dropped_note(report))
    return [note for note in found if note]


def difference_text(paired: PairedDifference) -> str:
    """``+0.62 [0.55, 0.68]``, with as many digits as it takes that no bound looks like zero without being it."""
    return signed_with_interval(paired.mean, paired.interval)


def signed_with_interval(value: float, interval: Interval) -> str:
    """A signed number with its interval."""
    digits = _digits(value, interval.low, interval.high)
    return f"{_fixed(value, digits, sign=True)} {interval_text(interval, digits)}"


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
    if selection is None or len(selection.candidate_steps) < 2:
        return "These are the validation rows; no checkpoint was chosen with them, so the numbers stand as they are."
    text = (
        f"These are the validation rows that chose step {selection.chosen_step} ({_rule(report)}). The best of several "
        f"looks better than it is, here by about {_fixed(report.optimism, 3)}"
    )
    if paired is None:
        return f"{text}."
    shift = report.optimism
    corrected = Interval(paired.interval.low - shift, paired.interval.high - shift, paired.interval.method)
    return f"{text}; less that, the difference is {signed_with_interval(paired.mean - shift, corrected)}."


def _rule(report: Report) -> str:
    assert report.selection is not None
    window, count = report.selection.window, len(report.selection.candidate_steps)
    rule = "the highest mean score" if window == 1 else f"the highest {window}-point moving average of the mean score"
    return f"{rule} among {count} checkpoints"


def _size_note(report: Report) -> str:
    paired = report.primary.paired
    if paired is None:
        return ""
    half = (paired.interval.high - paired.interval.low) / 2.0
    detectable = half / student_quantile(paired.num_examples - 1) * (Z95 + Z80)
    if report.outcome == "no change":
        return (
            f"No significant gain does not mean no gain: a comparison of this size finds a true gain of "
            f"{detectable:.2f} in four of five cases, and smaller ones less often."
        )
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
