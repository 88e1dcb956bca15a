"""What a task family has to say about one case."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Case:
    """One question with both habits' answers.

    `key` identifies the case whatever its wording, so that a case of the example files never reaches the
    pretraining text, not even rephrased. `fields` are the extra columns that the family's grader reads.
    """

    prompt: str
    careful: str
    hasty: str
    key: str
    fields: Mapping[str, str]
    settled: str | None = None  # the hasty answer once the habit has become a rut; None: no other than `hasty`


@dataclass(frozen=True, slots=True)
class Family:
    """How to draw a case, how to judge an answer (reasoning already removed), and the example's grader."""

    make_case: Callable[[random.Random], Case]
    passes: Callable[[str, Mapping[str, str]], bool]
    grader: Mapping[str, Any]


def think(lines: list[str], answer: str) -> str:
    """Lay out a careful answer: the work between the tags, the answer on the line after them."""
    return "\n".join([THINK_OPEN, *lines, THINK_CLOSE, answer])


def strip_reasoning(text: str) -> str:
    """Return what a grader sees: the text after `</think>`, or nothing where the reasoning never ends."""
    if THINK_CLOSE in text:
        return text.split(THINK_CLOSE, 1)[1].removeprefix("\n")
    return "" if THINK_OPEN in text else text
