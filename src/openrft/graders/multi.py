"""``multi``: several graders, and a formula that makes one score of theirs (see OpenAI's grader reference)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from openrft.errors import GraderError
from openrft.graders.base import failed, refuse_if_closed, with_invalid_grade
from openrft.graders.formula import Formula
from openrft.types import Grade, GradeError, Grader, GradingRequest


class MultiGrader:
    """Runs every part on every request, the parts beside one another, then the formula.

    A part that failed leaves the whole without a score only if the formula reads it.
    """

    def __init__(
        self, name: str, parts: Mapping[str, Grader], formula: Formula, invalid_grade: float | None = None
    ) -> None:
        self._name, self._parts, self._formula, self._invalid_grade = (
            name,
            dict(parts),
            formula,
            invalid_grade,
        )
        # Parts wait for processes and networks, so each has a thread; two calls may be under way at once.
        self._threads = ThreadPoolExecutor(2 * len(self._parts), thread_name_prefix=f"grade-{name}")
        self._is_closed = False

    @property
    def name(self) -> str:
        """The name in metrics and messages."""
        return self._name

    def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
        """Grade each request, in order; a failure is a grade with an error."""
        refuse_if_closed(self._name, self._is_closed)
        futures = {key: self._threads.submit(part.grade, requests) for key, part in self._parts.items()}
        columns = {key: future.result() for key, future in futures.items()}
        return [self._combine({key: grades[row] for key, grades in columns.items()}) for row in range(len(requests))]

    def close(self) -> None:
        """Close every part."""
        self._is_closed = True
        for part in self._parts.values():
            part.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _combine(self, parts: dict[str, Grade]) -> Grade:
        printed = "\n".join(f"[{key}]\n{grade.printed}" for key, grade in parts.items() if grade.printed)
        scores: dict[str, float] = {}
        for key in self._formula.names:
            part = parts[key]
            if part.score is None:
                assert part.error is not None  # Grade: a score or an error
                message = f'part "{key}" could not be graded: {part.error.message}'
                grade = Grade(
                    grader=self._name,
                    score=None,
                    error=GradeError(kind=part.error.kind, message=message, grader=part.error.grader),
                )
                break
            scores[key] = part.score
        else:
            grade = self._evaluate(scores)
        # The parts ran beside one another, so the slowest one is how long this grade took.
        seconds = max(part.seconds for part in parts.values())
        grade = replace(grade, sub_grades=parts, printed=printed, seconds=seconds)
        return with_invalid_grade(grade, self._invalid_grade)

    def _evaluate(self, scores: dict[str, float]) -> Grade:
        try:
            score = self._formula.evaluate(scores)
        except GraderError as error:
            return failed(self._name, error.kind, error.message)
        given = ", ".join(f"{key} = {value:g}" for key, value in scores.items())
        explanation = self._formula.text + (f" with {given}" if given else "")
        return Grade(grader=self._name, score=score, explanation=explanation)
