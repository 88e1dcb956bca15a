"""A grader made of a function in this process: for tests and for programs that use openrft as a library.

No job definition leads here. The function is the caller's own and runs without limits.
"""

from __future__ import annotations

from collections.abc import Callable

from openrft.graders.base import OneByOne, Scored
from openrft.types import GradingRequest


class ScriptedGrader(OneByOne):
    """``ScriptedGrader(lambda request: float(request.sample.output_text == request.item["answer"]))``.

    What the function raises is a grade with an error: a GraderError keeps its kind, anything else is
    ``other_error``.
    """

    def __init__(self, function: Callable[[GradingRequest], float], name: str = "scripted") -> None:
        super().__init__(name, lambda request: Scored(float(function(request)), "scripted"))
