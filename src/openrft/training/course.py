"""The course of a run: which steps its present weights descend from, when it goes back, and when it ends early.

Going back changes no record. The policy takes the weights and the optimizer's state of an earlier step, the learning
rate is halved from here on, and the count of steps goes on; a checkpoint then holds those weights under the present
step. What was validated between that earlier step and this one is no longer of the present weights' line: nothing is
chosen by it.

Everything here follows from recorded metrics, and from the returns that a checkpoint's state names. So a run that was
killed decides the same again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from openrft.evaluation.selection import first_highest, smoothed_means
from openrft.training.choices import Hyperparameters
from openrft.training.guard import DIVERGED, HISTORY, WINDOW, Observation, find_collapse, observe
from openrft.training.stopping import why_stop

MAX_RETURNS = 3
"""A policy that collapses once more after as many returns ends the training."""
MAX_DIVERGENCES = 2
"""How often a loss that is not finite is forgiven; it rarely has to do with the learning rate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Return:
    """After step ``at`` the policy was put back to the weights of step ``to``; 0 is the untouched base."""

    at: int
    to: int
    why: str


class Course:
    """Sees every recorded step, once and in order."""

    def __init__(self, settings: Hyperparameters) -> None:
        self._is_guarded, self._stops_early = settings.guard, settings.early_stopping
        self.returns: list[Return] = []
        self._start: list[Observation] = []
        self._recent: deque[Observation] = deque(maxlen=HISTORY)
        self._evaluated: list[Observation] = []
        self._last_step = 0

    @property
    def learning_rate_scale(self) -> float:
        """What the schedule's learning rate is multiplied with."""
        return 0.5 ** len(self.returns)

    @property
    def last_step(self) -> int:
        """The step that was seen last."""
        return self._last_step

    def see(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take a recorded step in; one that was amended replaces itself."""
        self._last_step, seen = step, observe(step, metrics)
        for steps in (self._start, self._recent, self._evaluated):
            if steps and steps[-1].step == step:
                steps.pop()
        if seen.valid is not None:
            self._evaluated.append(seen)
        if step == 0:
            return
        if len(self._start) < WINDOW:
            self._start.append(seen)
        self._recent.append(seen)

    def find_collapse(self) -> str | None:
        """Why the policy has to go back after the step that was seen last; None where it need not."""
        if not self._is_guarded or not self._recent or len(self.returns) > MAX_RETURNS:
            return None
        return find_collapse(self._start, list(self._recent), self._evaluated)

    def bears_divergence(self) -> bool:
        """Whether the run goes back, rather than fail, when the present step has no finite loss or gradient."""
        forgiven = sum(one.why == DIVERGED for one in self.returns)
        return self._is_guarded and forgiven < MAX_DIVERGENCES and len(self.returns) <= MAX_RETURNS

    def choose_good(self, there: Collection[int]) -> int:
        """The step to go back to, of those that are ``there`` as checkpoints; 0, the base, where none will do.

        The best by smoothed validation before the fall. Without a validation the last checkpoint from before the steps
        whose rewards fell.
        """
        now = self._recent[-1]
        before = list(self._evaluated)
        while before and (before[-1].has_valid_fallen or before[-1].step == now.step):
            before.pop()
        trained = [one for one in before if one.step > 0]
        smoothed = smoothed_means([one.valid for one in trained if one.valid is not None])
        kept = [(one.step, mean) for one, mean in zip(trained, smoothed, strict=True) if one.step in there]
        if kept:
            step, mean = kept[first_highest([mean for _, mean in kept])]
            base = before[0].valid if before[0].step == 0 else None
            return 0 if base is not None and base > mean else step
        if any(0 < one.step < now.step for one in self._evaluated):
            return 0  # all of them have fallen
        newest = now.step - (1 if now.has_diverged else WINDOW)
        return max((step for step in there if step <= newest), default=0)

    def go_back(self, gone: Return) -> None:
        """The policy has been put back."""
        self.returns.append(gone)
        self._recent.clear()
        self._evaluated = [one for one in self._evaluated if one.step <= gone.to]

    def is_of_line(self, step: int) -> bool:
        """Whether the present weights descend from those that ``step`` was validated with."""
        return not any(one.to < step <= one.at for one in self.returns)

    def weights_of(self, step: int) -> int:
        """The step whose update made the weights that the checkpoint of ``step`` holds."""
        for one in reversed(self.returns):
            if one.at == step:
                step = one.to
        return step

    def why_over(self) -> str | None:
        """Why training ends before its last step; None where it goes on. Asked after the guard has been."""
        if len(self.returns) > MAX_RETURNS:
            return f"the policy has collapsed once more after {MAX_RETURNS} returns: {self.returns[-1].why}"
        if not self._stops_early or not self._recent or not self._evaluated:
            return None
        if self._evaluated[-1].step != self._recent[-1].step:
            return None
        return why_stop(self._evaluated, list(self._recent))

    def state(self) -> list[dict[str, Any]]:
        """The returns, for a checkpoint's state."""
        return [asdict(one) for one in self.returns]
