"""Which of a job's rollouts somebody asks for, and in which order: decided by the index alone, but for the search."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from openrft.store.rollout_index import RolloutIndex
from openrft.store.rows import SampledStep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Sort = Literal["newest", "oldest", "best", "worst", "longest"]
LeftOut = Literal["any", "none", "ungraded", "lone", "no_signal", "truncated", "no_choice"]


class Picking(BaseModel):
    """Which rollouts, in which order, and which page of them."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    step: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None
    """Of this step only."""
    example: Annotated[str | None, Field(max_length=200)] = None
    """Of this example only, across steps."""
    min_reward: float | None = None
    """This reward or a higher one."""
    max_reward: float | None = None
    """This reward or a lower one."""
    left_out: LeftOut | None = None
    """Why it did not train; ``any`` reason, or ``none``."""
    errored: bool | None = None
    """Whether grading failed, in part or as a whole."""
    search: Annotated[str | None, Field(min_length=1, max_length=500)] = None
    """Letters of the prompt, the output or the grade's explanation, whatever their case."""
    sort: Sort = "newest"
    """By step, by reward (``best``, ``worst``; the graded ones) or by length (``longest``)."""
    tokens: bool = False
    """With token ids and log-probabilities."""
    limit: Annotated[int, Field(ge=1)] = 20
    """Most rollouts of this page; no page has more than 200."""
    after: Annotated[str | None, Field(max_length=100)] = None
    """The ``next_cursor`` of the page before."""

    @property
    def is_by_step(self) -> bool:
        """Whether they come in the order of the steps."""
        return self.sort in ("newest", "oldest")

    @property
    def reads_many(self) -> bool:
        """Whether a page of them may need the numbers of far more steps than it shows."""
        wanted = (self.example, self.min_reward, self.max_reward, self.left_out, self.errored, self.search)
        return not self.is_by_step or any(one is not None for one in wanted)

    def may_have(self, step: SampledStep) -> bool:
        """Whether ``step`` may hold one of them, by its sums alone."""
        if step.rollouts is None or (self.step is not None and step.step != self.step):
            return False
        if step.size is None:  # without an index nobody knows
            return True
        asks_reward = self.min_reward is not None or self.max_reward is not None or self.sort in ("best", "worst")
        if asks_reward and (step.lowest_reward is None or step.highest_reward is None):
            return False
        lowest, highest = step.lowest_reward or 0.0, step.highest_reward or 0.0
        if self.min_reward is not None and highest < self.min_reward:
            return False
        if self.max_reward is not None and lowest > self.max_reward:
            return False
        if self.left_out is not None and (step.size if self.left_out == "none" else 0) == step.num_left_out:
            return False
        return self.errored is None or (0 if self.errored else step.size) != step.num_errored

    def pick(self, index: RolloutIndex) -> NDArray[np.intp]:
        """The numbers of those of a step that are among them, in their order; the search has not looked at them."""
        import numpy as np

        chosen = np.ones(len(index), bool)
        if self.example is not None:
            known = self.example in index.examples
            chosen &= index.example == index.examples.index(self.example) if known else False
        if self.min_reward is not None:
            chosen &= index.reward >= self.min_reward  # false for NaN
        if self.max_reward is not None:
            chosen &= index.reward <= self.max_reward
        if self.left_out is not None:
            chosen &= self._is_left_out(index)
        if self.errored is not None:
            chosen &= index.errored == self.errored
        if self.is_by_step:
            return np.flatnonzero(chosen)
        keys = self.keys(index)
        numbers = np.flatnonzero(chosen & ~np.isnan(keys))
        return numbers[np.argsort(keys[numbers], kind="stable")]

    def keys(self, index: RolloutIndex) -> NDArray[np.float64]:
        """What the rollouts of a step are sorted by, the smallest first; NaN where they cannot be."""
        if self.sort == "longest":
            return -index.length.astype("f8")
        return -index.reward if self.sort == "best" else index.reward

    def least_key(self, step: SampledStep) -> float:
        """A bound of its :meth:`keys`: none of them is smaller."""
        if step.size is None or step.lowest_reward is None or step.highest_reward is None or step.longest is None:
            return -math.inf
        return {"best": -step.highest_reward, "worst": step.lowest_reward, "longest": -float(step.longest)}[self.sort]

    def finds(self, row: Mapping[str, Any]) -> bool:
        """Whether the text of ``row`` holds what is searched for."""
        return self.search is None or self.search.casefold() in _text_of(row)

    def _is_left_out(self, index: RolloutIndex) -> NDArray[np.bool_]:
        found: NDArray[np.bool_]
        if self.left_out in ("any", "none"):
            found = (index.left_out > 0) == (self.left_out == "any")
        elif self.left_out in index.reasons:
            found = index.left_out == index.reasons.index(self.left_out) + 1
        else:
            found = index.left_out < 0  # none
        return found


def _text_of(row: Mapping[str, Any]) -> str:
    contents = (message.get("content") for message in row["prompt"])
    prompt = "\n".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in contents)
    return "\n".join((prompt, row["output"], row["explanation"])).casefold()
