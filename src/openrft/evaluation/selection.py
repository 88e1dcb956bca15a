"""Which checkpoint to keep, and how much choosing it flatters the score it was chosen by. Pure, like statistics."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrft.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMOOTHING_WINDOW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionFacts:
    """Which checkpoint validation chose, from how many, by what rule, and what that choice does to its score."""

    chosen_step: int
    candidate_steps: list[int]
    window: int  # the rule: highest mean after averaging over so many neighbours; 1 is the plain highest
    expected_optimism: float  # on the rows that chose; 0 on any others


def select_evaluation(
    evaluations: Sequence[Evaluation], *, window: int = SMOOTHING_WINDOW, seed: int = 0
) -> SelectionFacts:
    """Choose among checkpoints that were all evaluated on the same validation rows, given in order of steps."""
    keys = [[(row.example_id, row.index) for row in evaluation.rows] for evaluation in evaluations]
    if not keys:
        raise ValueError("there is no checkpoint to choose from")
    if any(other != keys[0] for other in keys):
        raise ValueError("checkpoints can be compared only on the same rows in the same order")
    means = [evaluation.mean for evaluation in evaluations]
    graded = [index for index, mean in enumerate(means) if mean is not None]
    chosen = graded[choose_checkpoint([mean for mean in means if mean is not None], window)]
    return SelectionFacts(
        chosen_step=evaluations[chosen].step,
        candidate_steps=[evaluations[index].step for index in graded],
        window=window,
        expected_optimism=expected_selection_optimism(
            [evaluations[index].example_means for index in graded],
            window=window,
            clusters=[example_id for example_id, _ in keys[0]],
            seed=seed,
        ),
    )


def smoothed_means(means: Sequence[float], window: int = SMOOTHING_WINDOW) -> list[float]:
    """Centred moving average over ``window`` neighbours; at the ends over those that are there."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"a centred window needs an odd number of points, got {window}")
    half = window // 2
    parts = [means[max(0, i - half) : i + half + 1] for i in range(len(means))]
    return [sum(part) / len(part) for part in parts]


def choose_checkpoint(means: Sequence[float], window: int = SMOOTHING_WINDOW) -> int:
    """Index of the checkpoint to ship: the highest smoothed validation mean, the earliest where several agree.

    The largest single mean is often the luckiest one. Its neighbours were trained almost alike and measured anew, so
    averaging over them removes most of the luck at almost no cost in true score (``window=1`` is the plain arg-max).
    """
    if not means:
        raise ValueError("there is no checkpoint to choose from")
    return first_highest(smoothed_means(means, window))


def first_highest(smoothed: Sequence[float]) -> int:
    """Index of the highest value, the earliest where several agree. Sums that differ only by rounding agree."""
    best = max(smoothed)
    return next(index for index, mean in enumerate(smoothed) if mean >= best - 1e-12)


def expected_selection_optimism(
    checkpoint_means: Sequence[Sequence[float | None]],
    *,
    window: int = SMOOTHING_WINDOW,
    clusters: Sequence[Hashable] | None = None,
    num_draws: int = 4_000,
    seed: int = 0,
) -> float:
    """How far the chosen checkpoint's validation mean is expected to lie above its true mean, because it was chosen.

    ``checkpoint_means[c][i]`` is the mean score of validation example ``i`` at checkpoint ``c``, in order of steps. A
    parametric bootstrap: checkpoints get assumed true means, normal noise with the covariance of the recorded means is
    added ``num_draws`` times, :func:`choose_checkpoint` picks, and the average of (picked mean - its true mean) is the
    answer. Noise that all checkpoints share, such as hard examples, changes no choice and so adds nothing.

    The assumed true means are the recorded ones, drawn together by the share of their spread that noise explains
    (James-Stein, positive part): without that, the luck of the best checkpoint would be taken for merit and the
    optimism come out too small. On a plateau after a steep rise it still does, by up to a third.

    Assumes independent examples (or clusters) and means that are roughly normal. Examples that are ungraded at any
    checkpoint are left out. After Cawley & Talbot 2010 on selection bias.
    """
    import numpy as np

    count = len(checkpoint_means)
    if count == 0 or len({len(means) for means in checkpoint_means}) != 1:
        raise ValueError("needs at least one checkpoint, and the same examples at each")
    complete = [i for i, scores in enumerate(zip(*checkpoint_means, strict=True)) if None not in scores]
    if count == 1 or len(complete) < 2:
        return 0.0
    table = np.array([[means[i] for means in checkpoint_means] for i in complete], dtype=np.float64)
    observed = table.mean(axis=0)
    residuals = _unit_residuals(table - observed, None if clusters is None else [clusters[i] for i in complete])
    truth = _assumed_truth(observed, residuals)
    generator = np.random.default_rng(seed)
    # Normal weights on the residuals give normal noise with exactly their covariance, also when it is singular.
    noise = generator.standard_normal((num_draws, residuals.shape[0])) @ residuals
    chosen = _choose_each(truth + noise, window)
    optimism = float(np.mean(noise[np.arange(num_draws), chosen]))
    return max(0.0, optimism)


def _choose_each(drawn: NDArray[np.float64], window: int) -> NDArray[np.int64]:
    """:func:`choose_checkpoint` for each row at once."""
    import numpy as np

    half, count = window // 2, drawn.shape[1]
    sums = np.concatenate([np.zeros((len(drawn), 1)), np.cumsum(drawn, axis=1)], axis=1)
    starts = np.maximum(0, np.arange(count) - half)
    ends = np.minimum(count, np.arange(count) + half + 1)
    smoothed = (sums[:, ends] - sums[:, starts]) / (ends - starts)
    chosen: NDArray[np.int64] = np.argmax(smoothed >= smoothed.max(axis=1, keepdims=True) - 1e-12, axis=1)
    return chosen


def _unit_residuals(residuals: NDArray[np.float64], clusters: Sequence[Hashable] | None) -> NDArray[np.float64]:
    """Residuals scaled such that their cross product is the covariance of the checkpoints' means."""
    import numpy as np

    n = residuals.shape[0]
    if clusters is not None:
        numbers = {group: number for number, group in enumerate(dict.fromkeys(clusters))}
        sums = np.zeros((len(numbers), residuals.shape[1]))
        np.add.at(sums, [numbers[group] for group in clusters], residuals)
        residuals = sums
    units = residuals.shape[0]
    scaled: NDArray[np.float64] = residuals * (np.sqrt(units / max(1, units - 1)) / n)
    return scaled


def _assumed_truth(observed: NDArray[np.float64], residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    center = observed.mean()
    contrasts = residuals - residuals.mean(axis=1, keepdims=True)
    explained = float(np.sum(contrasts**2))  # variance that noise alone would put between the means
    spread = float(np.sum((observed - center) ** 2))
    keep = max(0.0, 1.0 - explained / spread) if spread > 0.0 else 0.0
    truth: NDArray[np.float64] = center + keep * (observed - center)
    return truth
