"""What many rollouts come to: the groups of a step, and how often each reward was given. Read from the index."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openrft.api.rollout_pages import id_of
from openrft.api.rollout_reading import RolloutReading
from openrft.store.rollout_index import RolloutIndex
from openrft.store.rows import SampledStep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN_CHARACTERS = 200  # of a prompt; its rollouts have all of it


def groups_of(reading: RolloutReading, step: SampledStep) -> list[dict[str, Any]]:
    """The groups of a step in its order."""
    if step.rollouts is None:
        return []
    (index,) = reading.indexes([step])
    return [_group(reading, step.step, index, numbers) for numbers in index.groups()]


def histograms_of(indexes: Sequence[RolloutIndex], buckets: int) -> dict[str, Any]:
    """Histograms of the rewards and of the scores of every part, each over what was given from lowest to highest."""
    parts = list(dict.fromkeys(name for index in indexes for name in index.parts))
    scores = {name: [index.parts[name] for index in indexes if name in index.parts] for name in parts}
    return {
        "reward": _histogram([index.reward for index in indexes], buckets),
        "graders": {name: _histogram(columns, buckets) for name, columns in scores.items()},
    }


def _group(reading: RolloutReading, step: int, index: RolloutIndex, numbers: NDArray[np.intp]) -> dict[str, Any]:
    import numpy as np

    rewards = index.reward[numbers]
    known = rewards[~np.isnan(rewards)]
    ids = [id_of((step, number)) for number in numbers.tolist()]
    row = reading.row((step, int(numbers[0])))
    reasons = Counter(index.reason(number) for number in numbers.tolist())
    del reasons[None]
    return {
        "object": "fine_tuning.job.rollout_group",
        "example": index.examples[int(index.example[numbers[0]])],
        "prompt": None if row is None else short_prompt(row["prompt"]),
        "size": len(numbers),
        "mean": float(known.mean()) if len(known) else None,
        "std": float(known.std()) if len(known) else None,
        "min": float(known.min()) if len(known) else None,
        "max": float(known.max()) if len(known) else None,
        "signal": bool(len(known) > 1 and known.min() < known.max()),
        "errored": int(index.errored[numbers].sum()),
        "truncated": int(index.truncated[numbers].sum()),
        "left_out": dict(reasons),
        "rollout_ids": ids,
        "rewards": _plain(rewards),
        "advantages": _plain(index.advantage[numbers]),
        "lengths": index.length[numbers].tolist(),
    }


def _histogram(columns: Sequence[NDArray[np.float64]], buckets: int) -> dict[str, Any]:
    import numpy as np

    scores = np.concatenate(columns) if columns else np.array([])
    known = scores[~np.isnan(scores)]
    counts, edges = np.histogram(known, buckets, None if len(known) else (0.0, 1.0))
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "count": len(known),
        "missing": len(scores) - len(known),
        "mean": float(known.mean()) if len(known) else None,
    }


def short_prompt(prompt: Sequence[dict[str, Any]]) -> str:
    """The beginning of the last thing that a prompt says."""
    content = prompt[-1].get("content") if prompt else ""
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    text = str(content or "")
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
