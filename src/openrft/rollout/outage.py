"""Sitting out an outage: rollouts whose grader was out of reach are graded again, so that an outage costs time alone.

Only errors that say so themselves (``GradeError.transient``) are tried again. Completions are kept meanwhile, and the
grades that come late are those that would have come at once: a run with an outage in it ends like one without.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace

from openrft.types import Grade, GradingRequest, total_usage

_TRIES_WHILE_UP = 3  # rounds in which the grader answers others, and not these, before they are left ungraded
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0  # a step whose grades come this soon is finished before stopping
_SILENT_SECONDS = 30.0
_FIRST_PROBE = 1_000_000  # number of the first repeat that a probe asks for: no cache may answer in the grader's place


class Patience:
    """How long to wait for a grader that is out of reach, and who hears of it.

    ``wait`` sleeps that many seconds (it may be 0), and may raise to give up; ``tell`` takes sentences for people, with
    a level.
    """

    def __init__(
        self,
        seconds: float,
        *,
        wait: Callable[[float], None] = time.sleep,
        tell: Callable[[str, str], None] = lambda text, level: None,
        first_pause: float = 5.0,
        longest_pause: float = 60.0,
    ) -> None:
        self.seconds = seconds
        self.wait = wait
        self.tell = tell
        self.first_pause = first_pause
        self.longest_pause = longest_pause
        self._waited = 0.0

    def add_waited(self, seconds: float) -> None:
        """Count the time of an outage."""
        self._waited += seconds

    def take_waited(self) -> float:
        """Seconds spent in outages since this was last asked."""
        waited, self._waited = self._waited, 0.0
        return waited


def grade_again(
    grade: Callable[[Sequence[GradingRequest]], list[Grade]],
    requests: Sequence[GradingRequest],
    grades: Sequence[Grade],
    patience: Patience,
) -> list[Grade]:
    """``grades``, with those that failed because the grader was out of reach replaced by later ones.

    Goes on until all have a grade or an error that is no outage, or ``patience`` is over. An answer that keeps failing
    while the grader demonstrably works (it rescues others, or grades once more an answer that it had graded) is left
    ungraded after a few rounds: one bad answer must not look like an outage. What grading cost adds up.
    """
    done = list(grades)
    known_good = next((number for number, one in enumerate(done) if one.failure is None and one.was_asked), None)
    began, pause, tries_while_up, rounds = time.monotonic(), patience.first_pause, 0, 0
    while pending := [number for number, one in enumerate(done) if is_out_of_reach(one)]:
        left = patience.seconds - (time.monotonic() - began)
        if left <= 0 or tries_while_up >= _TRIES_WHILE_UP:
            break
        pause = min(pause, left)
        patience.tell(
            f"{len(pending)} of {len(done)} answers wait for their grader ({_commonest([done[i] for i in pending])}); "
            f"trying again in {pause:.0f} s, for at most {_duration(left)} more",
            "warn",
        )
        patience.wait(pause)
        asked = [requests[number] for number in pending]
        if known_good is not None:
            asked.append(replace(requests[known_good], repeat=_FIRST_PROBE + rounds))
        again = grade(asked)
        for number, one in zip(pending, again[: len(pending)], strict=True):
            done[number] = _with_spent(one, done[number])
        probe_came = False
        if known_good is not None:  # the probe's own grade is kept nowhere, only what it cost
            probe_came = not is_out_of_reach(again[-1]) and again[-1].was_asked
            done[known_good] = _with_spent(done[known_good], again[-1])
        rescued = sum(not is_out_of_reach(done[number]) for number in pending)
        rounds += 1
        tries_while_up = 0 if rescued else tries_while_up + probe_came
        pause = patience.first_pause if rescued or probe_came else min(2 * pause, patience.longest_pause)
    if rounds:
        seconds = time.monotonic() - began
        patience.add_waited(seconds)
        if pending:
            text = f"{len(pending)} answers stay ungraded after {_duration(seconds)}: "
            patience.tell(text + _commonest([done[i] for i in pending]), "warn")
        else:
            patience.tell(f"the grader answers again; {_duration(seconds)} were lost and nothing else", "info")
    return done


def await_grades(futures: Iterable[Future[list[Grade]]], patience: Patience) -> None:
    """Wait until all are done, but neither in silence nor through somebody's wish to stop.

    A grader that hangs is told of after half a minute, and then each time it has taken twice as long.
    """
    pending = set(futures)
    count, began, tell_after = len(pending), time.monotonic(), _SILENT_SECONDS
    while pending:
        _, pending = wait(pending, timeout=_POLL_SECONDS)
        seconds = time.monotonic() - began
        if pending and seconds > _GRACE_SECONDS:
            patience.wait(0.0)  # raises where somebody wants to stop
        if pending and seconds > tell_after:
            share = f"{len(pending)} of {count} batches of answers"
            patience.tell(f"{share} are still with their grader after {_duration(seconds)}", "warn")
            tell_after *= 2


def _with_spent(grade: Grade, other: Grade) -> Grade:
    """``grade``, with what ``other`` cost added to its own."""
    if not other.usage:
        return grade
    return replace(grade, usage=total_usage([grade, other]))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def is_out_of_reach(grade: Grade) -> bool:
    """Whether there is no score because the grader could not be asked: asking later may give one."""
    return grade.error is not None and grade.error.transient


def _commonest(grades: Sequence[Grade]) -> str:
    messages = Counter(grade.error.message for grade in grades if grade.error is not None)
    message = messages.most_common(1)[0][0]
    return message if len(message) <= 200 else message[:200] + "…"
