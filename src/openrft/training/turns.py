"""Where a run turns: back to better weights when its policy has collapsed, or to its end before the last step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from openrft import faults
from openrft.errors import CheckpointDamaged, TrainingDiverged
from openrft.models.checkpoint import (
    checkpoint_path,
    delete_checkpoint,
    list_checkpoints,
    load_checkpoint,
    set_aside,
)
from openrft.models.load import Policy
from openrft.training.choices import Hyperparameters
from openrft.training.course import Course, Return
from openrft.training.untouched import Untouched
from openrft.types import Engine


class Turns:
    """Does what the run's :class:`~openrft.training.course.Course` decides. Made before a checkpoint is loaded."""

    def __init__(
        self,
        settings: Hyperparameters,
        *,
        policy: Policy,
        engine: Engine,
        optimizer: torch.optim.Optimizer,
        checkpoints: Path,
        tell: Callable[[str, str, Mapping[str, Any] | None], None],
    ) -> None:
        self.course = Course(settings)
        self._num_steps = settings.num_steps
        self._policy, self._engine, self._optimizer = policy, engine, optimizer
        self._checkpoints = checkpoints
        self._tell = tell
        self._untouched = Untouched(policy)

    @property
    def learning_rate_scale(self) -> float:
        """What the schedule's learning rate is multiplied with: it is halved each time that the run goes back."""
        return self.course.learning_rate_scale

    def follow(self, rows: Iterable[Mapping[str, Any]], returns: Iterable[Mapping[str, Any]]) -> None:
        """Learn from what is recorded, and from a checkpoint's ``returns``, how the run has gone until now."""
        back = {one["at"]: Return(**one) for one in returns}
        for row in rows:
            self.course.see(row["step"], row)
            if row["step"] in back:
                self.course.go_back(back[row["step"]])

    def bear(self, error: TrainingDiverged) -> None:
        """Go on although a step diverged, since the run goes back after it; or raise ``error``."""
        if not list_checkpoints(self._checkpoints) or not self.course.bears_divergence():
            raise error
        self._tell(error.message, "warn", None)

    def go_back_if_collapsed(self) -> bool:
        """Put the last good weights in place where the records say that the policy has collapsed; whether it did.

        The weights count as those of the present step from now on, and are to be saved at once.
        """
        why = self.course.find_collapse()
        if why is None:
            return False
        step = self.course.last_step
        to = self._load_good()
        self._engine.load_weights(step)
        gone = Return(at=step, to=to, why=why)
        self.course.go_back(gone)
        if (there := checkpoint_path(self._checkpoints, step)).exists():  # of before its validation was made up
            delete_checkpoint(there)
        faults.point("guard.gone_back")
        self._tell(
            f"the policy has collapsed at step {step}; going back to {f'step {to}' if to else 'the base'}, now "
            f"with {self.learning_rate_scale:g} of the learning rate: {why}",
            "warn",
            {"return": {**asdict(gone), "learning_rate_scale": self.learning_rate_scale}},
        )
        return True

    def is_over(self) -> bool:
        """Whether the records say that training ends with the last recorded step; people are told why."""
        words = self.early_end()
        if words is not None:
            self._tell(f"stopped early {words}", "info", None)
        return words is not None

    def early_end(self) -> str | None:
        """Where training ended before its last step, and why; None where it did not."""
        step, why = self.course.last_step, self.course.why_over()
        return None if why is None or step == self._num_steps else f"at step {step} of {self._num_steps}: {why}"

    def put_in_place(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Load the weights of a step's checkpoint, or the base's for 0; with ``optimizer`` its state as well."""
        if step == 0:
            self._untouched.restore(optimizer)
        else:
            load_checkpoint(checkpoint_path(self._checkpoints, step), policy=self._policy, optimizer=optimizer)

    def _load_good(self) -> int:
        while True:
            to = self.course.choose_good([step for step, _ in list_checkpoints(self._checkpoints)])
            try:
                self.put_in_place(to, self._optimizer)
            except CheckpointDamaged as error:
                aside = set_aside(checkpoint_path(self._checkpoints, to))
                self._tell(f"{error.message}; set aside as {aside.name}, going back further", "warn", None)
            else:
                return to
