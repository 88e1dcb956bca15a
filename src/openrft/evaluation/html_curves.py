"""The charts of a report in HTML: what was measured while the model trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from openrft.evaluation.curve import CurvePoint
from openrft.evaluation.html_elements import Html, element, section
from openrft.evaluation.statistics import Interval
from openrft.evaluation.svg_chart import Point, Series, line_chart, stacked_chart

Steps = Sequence[Mapping[str, Any]]
"""A mapping for each step: its number at ``step``, and its metrics by name."""

_WIDE = 860
_PART = re.compile(r"grade/.+/mean", re.DOTALL)
_MOST_PARTS = 6  # graders of one chart: as many as there are colours


def curves(curve: Sequence[CurvePoint], steps: Steps, *, is_loss: bool) -> Html:
    """Every chart that there are measurements for."""
    charts = [
        _learning_curve(curve, is_loss=is_loss),
        _losses(steps) if not is_loss else Html(),
        _accuracy(steps),
        _graders(steps),
        _signal(steps),
        _lengths(steps),
        _truncation(steps),
    ]
    drawn = [chart for chart in charts if chart]
    if not drawn:
        return Html()
    first, *others = drawn
    quantity = "loss" if is_loss else "reward"
    text = (
        f"Training {quantity} is of each step's own rows: faint as it was, strong as a moving average. Validation is "
        f"of the same rows every time{'' if is_loss else ', with 95 % intervals'}."
    )
    grid = element("div", element("div", first, class_="full"), *others, class_="charts")
    return section("While it trained", element("p", text, class_="quiet"), grid, anchor="training")


def _learning_curve(curve: Sequence[CurvePoint], *, is_loss: bool) -> Html:
    quantity = "loss" if is_loss else "reward"
    train = [(point.step, point.train_reward) for point in curve if point.train_reward is not None]
    valid = [(point.step, point.valid_mean) for point in curve if point.valid_mean is not None]
    intervals = {point.step: point.valid_interval for point in curve if point.valid_interval is not None}
    series = [
        Series(name=f"training {quantity}", points=train, colour=1),
        Series(name=f"validation {quantity}", points=valid, colour=2, is_dotted=True, intervals=intervals),
    ]
    return line_chart(
        "Learning curve",
        series,
        quantity=quantity,
        is_share=not is_loss,
        base=next((value for step, value in valid if step == 0), None),
        chosen=next((point.step for point in curve if point.is_chosen), None),
        width=_WIDE,
    )


def _losses(steps: Steps) -> Html:
    """Of a supervised job whose answers are graded as well."""
    return line_chart("Loss", _train_and_valid(steps, "train/loss", "valid/loss"), quantity="nats per token")


def _accuracy(steps: Steps) -> Html:
    series = _train_and_valid(steps, "train/token_accuracy", "valid/token_accuracy")
    return line_chart("Tokens that were the likeliest", series, quantity="share of tokens", is_share=True)


def _graders(steps: Steps) -> Html:
    """What the parts of a multi grader said in training, and the monitor grader in validation."""
    names = dict.fromkeys(name for row in steps for name in row if _PART.fullmatch(name))
    monitored = _points(steps, "valid/monitor_mean")
    most = _MOST_PARTS - bool(monitored)
    series = [
        Series(name=name[len("grade/") : -len("/mean")], points=_points(steps, name), colour=number)
        for number, name in enumerate(list(names)[:most], start=1)
    ]
    if monitored:
        series.append(
            Series(
                name="monitor grader, validation",
                points=monitored,
                colour=_MOST_PARTS,
                is_dotted=True,
                intervals=_intervals(steps, "valid/monitor_low", "valid/monitor_high"),
            )
        )
    more = f", the first {most} of {len(names)}" if len(names) > most else ""
    return line_chart(f"Scores by grader{more}", series, quantity="mean score", is_share=True)


def _signal(steps: Steps) -> Html:
    """Groups of which nothing passes, some do, and all do: only what differs within a group can teach."""
    fail, passed = dict(_points(steps, "groups/all_fail_share")), dict(_points(steps, "groups/all_pass_share"))
    both = [step for step in fail if step in passed]
    series = [
        Series(name="all fail", points=[(step, fail[step]) for step in both], colour=2),
        Series(name="mixed", points=[(step, max(0.0, 1.0 - fail[step] - passed[step])) for step in both], colour=1),
        Series(name="all pass", points=[(step, passed[step]) for step in both], colour=3),
    ]
    return stacked_chart("Learning signal: groups of one prompt", series, quantity="share of groups")


def _lengths(steps: Steps) -> Html:
    series = _train_and_valid(steps, "rollout/completion_tokens_mean", "valid/completion_tokens_mean")
    return line_chart("Length of answers", series, quantity="tokens, mean")


def _truncation(steps: Steps) -> Html:
    series = _train_and_valid(steps, "rollout/truncated_share", "valid/truncated_share")
    return line_chart("Cut off at the limit", series, quantity="share of answers", is_share=True)


def _train_and_valid(steps: Steps, train: str, valid: str) -> list[Series]:
    return [
        Series(name="training", points=_points(steps, train), colour=1),
        Series(name="validation", points=_points(steps, valid), colour=2, is_dotted=True),
    ]


def _points(steps: Steps, name: str) -> list[Point]:
    return [(row["step"], float(row[name])) for row in steps if row.get(name) is not None]


def _intervals(steps: Steps, low: str, high: str) -> dict[int, Interval]:
    ends = {row["step"]: (row.get(low), row.get(high)) for row in steps}
    return {step: Interval(one, two) for step, (one, two) in ends.items() if one is not None and two is not None}
