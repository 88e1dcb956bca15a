"""Rows and answers in a report in HTML: what got worse, what got better, and what was sampled in training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from openrft.evaluation import cells, loss_render
from openrft.evaluation.html_elements import Html, block, element, fold, joined, section
from openrft.evaluation.loss_report import LossChange, LossReport
from openrft.evaluation.report import Report, RowChange

SHOWN_CHARACTERS = 3_000
"""Of one prompt or answer."""

_WORST, _BEST = 10, 5
_REPRESENTATIVE = "Of the answers to a row, the one is shown whose score is nearest to their mean."
_ROLLOUTS_OF_A_STEP = 4


def changed_rows(report: Report | LossReport) -> Html:
    """Regressions first, then the rows that got better most."""
    if isinstance(report, LossReport):
        if not report.arms:
            return Html()
        worse = [_loss_row(row) for row in loss_render.worse_rows(report)[:_WORST]]
        heading = loss_render.worse_heading(report, len(worse))
        gained = [row for row in reversed(report.rows) if row.difference < -1e-9][:_BEST]
        better, paired = [_loss_row(row) for row in gained], report.paired
    else:
        worse = [_graded_row(row) for row in cells.worse_rows(report)[:_WORST]]
        heading = cells.worse_heading(report, len(worse))
        risen = [row for row in reversed(report.rows) if row.difference > 1e-9][:_BEST]
        better, paired = [_graded_row(row) for row in risen], report.primary.paired
        if worse and report.arms[0].num_samples > 1:
            worse = [element("p", _REPRESENTATIVE, class_="quiet"), *worse]
    parts = [section(heading, *worse, anchor="worse")]
    if better and paired is not None:
        heading = f"Rows that got better: {paired.wins} of {paired.num_examples}, {len(better)} shown, best first"
        parts.append(section(heading, *better, anchor="better"))
    return joined(parts)


def sampled(rollouts: Sequence[Mapping[str, Any]]) -> Html:
    """A few rollouts of each of the steps that ``rollouts`` are of."""
    steps: dict[int, list[Mapping[str, Any]]] = {}
    for row in rollouts:
        steps.setdefault(row["step"], []).append(row)
    parts = []
    for step, rows in sorted(steps.items()):
        chosen = _spread_by_reward(rows)
        parts.append(element("h3", f"Step {step}: {len(chosen)} of {len(rows)} rollouts, from the lowest reward up"))
        parts += [_rollout(row) for row in chosen]
    return section("What it sampled in training", *parts, anchor="sampled") if parts else Html()


def _graded_row(row: RowChange) -> Html:
    sides = [
        element("div", element("h4", f"{name}, scores {cells.scores_text(scores)}"), _answer(output))
        for name, scores, output in (
            ("base", row.base_scores, row.base_output),
            ("tuned", row.tuned_scores, row.tuned_output),
        )
    ]
    return _row(cells.row_heading(row), element("h4", "prompt"), _answer(row.prompt_text), _side_by_side(sides))


def _loss_row(row: LossChange) -> Html:
    texts = (("prompt", row.prompt_text), ("given answer", row.answer))
    sides = [element("div", element("h4", name), _answer(text)) for name, text in texts]
    return _row(loss_render.row_heading(row), _side_by_side(sides))


def _rollout(row: Mapping[str, Any]) -> Html:
    said = [f"training line {row['line']}, sample {row['sample']}: {_reward(row)}"]
    said += [f"advantage {row['advantage']:+.3g}"] if row.get("advantage") is not None else []
    said += [f"left out: {row['left_out']}"] if row.get("left_out") else []
    said += ["cut off"] if row.get("finish_reason") == "length" else []
    parts = [_answer(str(row["output"]))]
    grades = row.get("sub_grades") or {}
    scores = [f"{name} {_score(grade)}" for name, grade in grades.items() if isinstance(grade, Mapping)]
    if scores:
        parts.append(element("p", ", ".join(scores), class_="quiet"))
    if row.get("explanation"):
        parts.append(fold("What the grader said", _answer(str(row["explanation"]))))
    return _row(", ".join(said), *parts, fold("Prompt", _answer(_prompt(row["prompt"]))))


def _reward(row: Mapping[str, Any]) -> str:
    if row.get("reward") is not None:
        return f"reward {row['reward']:.3g}"
    error = row.get("error")
    return f"ungraded ({error['kind']})" if isinstance(error, Mapping) and "kind" in error else "ungraded"


def _score(grade: Mapping[str, Any]) -> str:
    return "ungraded" if grade.get("score") is None else f"{grade['score']:.3g}"


def _spread_by_reward(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lowest, the highest and some between; each text once as long as there are others."""
    ordered = sorted(rows, key=lambda row: (row.get("reward") is not None, row.get("reward") or 0.0))
    different = {row["output"]: row for row in ordered}
    if len(different) >= _ROLLOUTS_OF_A_STEP:
        ordered = [row for row in ordered if different[row["output"]] is row]
    if len(ordered) <= _ROLLOUTS_OF_A_STEP:
        return ordered
    last = len(ordered) - 1
    return [ordered[round(number * last / (_ROLLOUTS_OF_A_STEP - 1))] for number in range(_ROLLOUTS_OF_A_STEP)]


def _prompt(messages: Any) -> str:
    told = []
    for message in messages if isinstance(messages, list) else [messages]:
        content = message.get("content") if isinstance(message, Mapping) else message
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        told.append(f"{message['role']}: {text}" if isinstance(message, Mapping) and "role" in message else text)
    return "\n\n".join(told)


def _row(heading: str, *parts: str) -> Html:
    return element("article", element("h3", heading), *parts, class_="row")


def _side_by_side(parts: Sequence[str]) -> Html:
    return element("div", *parts, class_="side")


def _answer(text: str) -> Html:
    return block(text, limit=SHOWN_CHARACTERS)
