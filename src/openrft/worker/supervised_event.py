"""What a supervised job's steps are called on the wire: the ``metrics`` event and the result file, in OpenAI's words.

OpenAI measures ``valid_loss`` on a few validation rows at every step and ``full_valid_loss`` on all of them now and
then. Here every validation is over all rows, so both are the same number, and steps without one have neither. With a
grader, the mean score of the sampled validation answers is there under the name that it has for reinforcement.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from openrft.store.rows import NewEvent

OUR_NAMES = {
    "train_loss": "train/loss",
    "train_mean_token_accuracy": "train/token_accuracy",
    "valid_loss": "valid/loss",
    "valid_mean_token_accuracy": "valid/token_accuracy",
    "full_valid_loss": "valid/loss",
    "full_valid_mean_token_accuracy": "valid/token_accuracy",
    "full_valid_mean_reward": "valid/reward_mean",
}
"""OpenAI's words, and which of our metrics they are."""

_COLUMNS = (
    "step",
    "train_loss",
    "train_accuracy",  # OpenAI's files have had the training accuracy under both names
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
_OF_A_GRADER = "full_valid_mean_reward"

_SPOKEN = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "full_valid_loss": "full validation loss",
    _OF_A_GRADER: "full validation mean reward",
}


def supervised_event(step: int, total_steps: int, metrics: Mapping[str, float | None]) -> NewEvent:
    """The event of step ``step`` (1-based; 0 is the untouched base, which has a validation only).

    Its data hold what was measured in this step, as OpenAI's do: no key is null.
    """
    data: dict[str, Any] = {"step": step, "total_steps": total_steps, **supervised_metrics(metrics)}
    parts = [f"{words}={data[name]:.2f}" for name, words in _SPOKEN.items() if name in data]
    message = f"Step {step}/{total_steps}" + (": " + ", ".join(parts) if parts else "")
    return NewEvent(message=message, type="metrics", data=data)


def supervised_metrics(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Those of our ``metrics`` that OpenAI has words for, in its words."""
    named = {name: metrics.get(ours) for name, ours in OUR_NAMES.items()}
    return {name: value for name, value in named.items() if value is not None and math.isfinite(value)}


def supervised_csv(events_data: Sequence[Mapping[str, Any]]) -> str:
    """The result file of a job whose ``metrics`` events carry ``events_data``: a row for each step, blank where
    nothing was measured; a column of rewards only where a grader gave some.
    """
    is_graded = any(_OF_A_GRADER in data for data in events_data)
    text = io.StringIO()
    columns = (*_COLUMNS, _OF_A_GRADER) if is_graded else _COLUMNS
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for data in sorted(events_data, key=lambda data: int(data["step"])):
        writer.writerow({**data, "train_accuracy": data.get("train_mean_token_accuracy", "")})
    return text.getvalue()
