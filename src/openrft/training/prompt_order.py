"""Which prompts, or which rows, a step trains on. Pure: what came of the steps before in, numbers of prompts out.

A group whose answers all got the same grade teaches nothing, and a prompt that gave one will likely give another soon:
it is solved, or out of reach for now. ``adaptive`` lets such a prompt wait, twice as long each time and never for good:
solved prompts are seen again before they are forgotten, hopeless ones are tried again once the policy is better.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

LONGEST_WAIT = 8
"""Rounds that a prompt waits at most. Each prompt keeps an eighth of a mixed one's visits, whatever it gave so far."""


class Epochs:
    """Each epoch is a fresh permutation of all prompts, read on without a gap: a function of (seed, step) alone."""

    def __init__(self, num_prompts: int, batch_size: int, seed: int) -> None:
        self._num_prompts, self._batch_size, self._seed = num_prompts, batch_size, seed

    def numbers(self, step: int) -> list[int]:
        """Numbers of the prompts of the 0-based ``step``."""
        found = []
        for position in range(step * self._batch_size, (step + 1) * self._batch_size):
            epoch, place = divmod(position, self._num_prompts)
            found.append(_permutation(self._num_prompts, self._seed, epoch)[place])
        return found

    def saw(self, taught: Mapping[int, bool]) -> None:
        """Nothing depends on it."""

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing was kept."""


class Adaptive:
    """Stride scheduling (Waldspurger & Weihl 1995): a prompt's visits are in proportion to one over its wait.

    A prompt's wait is one round while its groups teach, and doubles with each group in a row that does not, up to
    ``LONGEST_WAIT``. While all teach, each round reads a fresh permutation of all prompts, as epochs do.
    """

    def __init__(self, num_prompts: int, batch_size: int, seed: int) -> None:
        self._batch_size, self._seed = batch_size, seed
        self._due = [0] * num_prompts  # the round in which each prompt's turn comes
        self._wait = [1] * num_prompts

    def numbers(self, step: int) -> list[int]:
        """Numbers of the prompts of the 0-based ``step``: those whose turn has come first, by lot among equals."""
        ranks = {due: _permutation(len(self._due), self._seed, due) for due in set(self._due)}
        order = sorted(range(len(self._due)), key=lambda number: (self._due[number], ranks[self._due[number]][number]))
        return order[: self._batch_size]

    def saw(self, taught: Mapping[int, bool]) -> None:
        """What came of a step: of each of its prompts, whether its answers differed in grade."""
        for number, did in taught.items():
            self._wait[number] = 1 if did else min(LONGEST_WAIT, 2 * self._wait[number])
            self._due[number] += self._wait[number]

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold for the order to go on as it would have."""
        return {"due": self._due, "wait": self._wait}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._due, self._wait = list(state["due"]), list(state["wait"])


PromptOrder = Epochs | Adaptive


def build_order(name: str, num_prompts: int, batch_size: int, seed: int) -> PromptOrder:
    """The order of that name."""
    return (Adaptive if name == "adaptive" else Epochs)(num_prompts, batch_size, seed)


@lru_cache(maxsize=32)  # a step touches few rounds
def _permutation(size: int, seed: int, epoch: int) -> Sequence[int]:
    order = list(range(size))
    random.Random(f"order {seed} {epoch}").shuffle(order)
    return order
