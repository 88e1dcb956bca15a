"""How sure one may be of a score on a few dozen held-out examples. Pure: numbers in, numbers out.

The unit of evidence is the example, not the sample: four samples of one prompt succeed or fail together, so a formula
that counts them as four independent trials gives intervals that are far too narrow. Examples that share a source
(``clusters``) are in turn one unit. A sample without a grade is missing, never zero. All intervals are 95 %.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Z95 = 1.959963984540054  # normal quantile for a two-sided 95 % interval
POWER = 0.8  # how often a gain is to be found for it to count as detectable

_EXACT_FLIPS = 16  # up to so many units every one of the 2^n sign patterns is tried
_NUM_FLIPS = 20_000
_FLIP_SEED = 20_240_229  # fixed, so that a report says the same each time it is built
_TOLERANCE = 1e-9  # scores are sums of floats: 0.1 + 0.2 and 0.3 are a tie


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, and how it was made: ``wilson`` for scores within 0…1, ``t`` for all others."""

    low: float
    high: float
    method: Literal["wilson", "t"] = "wilson"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """Tuned minus base on the same examples. The interval decides; the p-value is a second opinion."""

    mean: float
    interval: Interval
    p_value: float
    num_examples: int  # pairs that were compared
    num_dropped: int  # examples without any grade in one of the arms
    wins: int
    losses: int
    ties: int
    standard_error: float | None = None  # of the mean, and
    num_units: int | None = None  # the independent examples or clusters behind it; None in reports of older versions


def mean_interval(
    example_means: Sequence[float | None], num_samples: float, clusters: Sequence[Hashable] | None = None
) -> Interval:
    """Interval for the mean score of one model, from the mean score of each example over its ``num_samples``.

    Wilson's interval with an effective sample size ``n_eff = m(1-m) / Var(mean)``, held between the number of examples
    and the number of samples; ``Var(mean)`` is clustered by example. One pseudo-example guards it: when all scores
    agree, the sample variance is zero and a t or bootstrap interval has no width (coverage 0.6 at a true mean of 0.96
    with 20 examples).

    Sources: Wilson 1927; Miller 2024 (arXiv 2411.00640) for clustering; Bowyer et al. 2025 (arXiv 2503.01747) for why
    normal intervals fail below a few hundred examples. Assumes that examples are drawn independently of one another
    (or clusters are) and scores lie in 0…1. Graded scores are treated like pass/fail scores of the same mean at worst,
    which is cautious: wider than need be where they vary little. Scores outside 0…1 get a t interval (``method``).
    """
    means, groups = _present(example_means, clusters)
    mean = math.fsum(means) / len(means)
    scale = _scale(means)
    num_units, largest_weight = _units(groups)
    variance = _variance_of_mean([value - mean for value in means], groups, 0.25 * scale**2)
    if scale != 1.0:
        half = student_quantile(num_units - 1) * math.sqrt(variance)
        return Interval(mean - half, mean + half, "t")
    mean = min(1.0, max(0.0, mean))
    fewest = 1.0 / largest_weight
    effective = mean * (1.0 - mean) / variance if 0.0 < mean < 1.0 else fewest
    effective = max(fewest, min(effective, len(means) * num_samples))
    return _wilson(mean, effective, Z95)


def paired_difference(
    base_means: Sequence[float | None],
    tuned_means: Sequence[float | None],
    num_samples: float,
    clusters: Sequence[Hashable] | None = None,
) -> PairedDifference:
    """Compare two models on the same examples: ``d_i = tuned_i - base_i``, ``mean(d) ± t · sd(d)/√n``.

    The difficulty of an example is in both of its scores and cancels, so this finds gains that two separate intervals
    would miss. Where the differences (nearly) agree, ``(n-1)s² < 1/K``, one pseudo-example with a squared difference of
    ``1/K`` is added, so that "no example changed" does not become a certainty.

    The p-value is that of a sign-flip permutation test, two-sided: were the models equal, each example's difference
    would be as likely with the other sign (Fisher 1935). Exact up to 16 units, else from 20,000 seeded flips, counting
    the observed one (Phipson & Smyth 2010). Assumes independent examples (or clusters). An example whose every sample
    is ungraded in either arm leaves both arms and is counted in ``num_dropped``.
    """
    if len(base_means) != len(tuned_means):
        raise ValueError(f"a paired comparison needs equal lengths, got {len(base_means)} and {len(tuned_means)}")
    pairs = [
        None if base is None or tuned is None else (base, tuned)
        for base, tuned in zip(base_means, tuned_means, strict=True)
    ]
    differences, groups = _present([None if pair is None else pair[1] - pair[0] for pair in pairs], clusters)
    scale = _scale([score for pair in pairs if pair is not None for score in pair])
    mean = math.fsum(differences) / len(differences)
    num_units, _ = _units(groups)
    variance = _variance_of_mean([d - mean for d in differences], groups, scale**2 / num_samples)
    standard_error = math.sqrt(variance)
    half = student_quantile(num_units - 1) * standard_error
    low, high = mean - half, mean + half
    if scale == 1.0:  # scores in 0…1 cannot differ by more than 1
        low, high = max(-1.0, low), min(1.0, high)
    return PairedDifference(
        mean=mean,
        interval=Interval(low, high, "t"),
        p_value=_sign_flip_p_value(_sum_by_group(differences, groups)),
        num_examples=len(differences),
        num_dropped=len(pairs) - len(differences),
        wins=sum(d > _TOLERANCE for d in differences),
        losses=sum(d < -_TOLERANCE for d in differences),
        ties=sum(abs(d) <= _TOLERANCE for d in differences),
        standard_error=standard_error,
        num_units=num_units,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for how many there are, in their order (Holm 1979).

    The i-th smallest of m is multiplied by ``m - i + 1``, is at least its predecessor and at most 1. Rejecting those up
    to 0.05 errs in one family of twenty, however the tests depend on one another.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of ``k`` samples passes, from ``n`` samples of which ``c`` passed.

    ``1 - C(n-c, k) / C(n, k)``, unbiased for ``k <= n`` (Chen et al. 2021, arXiv 2107.03374); average it over examples.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got {n=}, {c=}, {k=}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def max_at_k(scores: Sequence[float], k: int) -> float:
    """Expected best score among ``k`` samples, from the ``n`` scores of one example.

    The mean of the highest score over all ways to take ``k`` of the ``n``: ``Σ_j s_(j) C(j-1, k-1) / C(n, k)`` with the
    scores in rising order, because ``s_(j)`` is the highest of ``C(j-1, k-1)`` of them. Unbiased for ``k <= n``; for
    scores of 0 and 1 it is :func:`pass_at_k`.
    """
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"max@k needs 1 <= k <= n, got {n=}, {k=}")
    ordered = enumerate(sorted(scores)[k - 1 :], start=k - 1)
    return math.fsum(score * math.comb(below, k - 1) for below, score in ordered) / math.comb(n, k)


def minimum_detectable_effect(
    num_examples: int,
    num_samples: float,
    *,
    rate_variance: float = 0.12,
    noise_variance: float = 0.12,
    correlation: float = 0.6,
) -> float:
    """The smallest true gain that a paired comparison of this size finds in 80 % of cases; print it before training.

    :func:`detectable_effect` with ``Var(d) = 2·V·(1-ρ) + 2·E[p(1-p)]/K``: ``V`` is the variance of the examples' true
    means, ``ρ`` their correlation between base and tuned model, ``E[p(1-p)]`` the variance of one sample around its
    example's mean (Miller 2024). The defaults are typical of pass/fail graders; :func:`variance_parts` estimates
    the two variances from a baseline. Assumes that the tuned model's variances equal the base's.
    """
    if num_examples < 1 or num_samples < 1:
        raise ValueError(f"needs at least one example and one sample, got {num_examples=}, {num_samples=}")
    variance = _difference_variance(num_samples, rate_variance, noise_variance, correlation)
    return detectable_effect(variance, num_examples)


def examples_needed(
    effect: float,
    num_samples: float,
    *,
    rate_variance: float = 0.12,
    noise_variance: float = 0.12,
    correlation: float = 0.6,
) -> int:
    """How many examples it takes to find a true gain of ``effect`` in 80 % of cases.

    The inverse of :func:`minimum_detectable_effect`, with the same assumptions.
    """
    if num_samples < 1:
        raise ValueError(f"needs at least one sample, got {num_samples=}")
    return units_needed(effect, _difference_variance(num_samples, rate_variance, noise_variance, correlation))


def detectable_effect(variance: float, num_units: int) -> float:
    """The true mean difference that is found in 80 % of cases: ``(t_.975 + t_.8) · √(Var(d)/n)``, n-1 degrees."""
    degrees = num_units - 1
    return (student_quantile(degrees) + student_quantile(degrees, POWER)) * math.sqrt(variance / num_units)


def units_needed(effect: float, variance: float) -> int:
    """The smallest number of independent examples whose :func:`detectable_effect` is at most ``effect``; 2 at least."""
    if not effect > 0.0 or not math.isfinite(effect):
        raise ValueError(f"needs an effect above 0, got {effect}")
    low, high = 1, 2  # low is too few
    while detectable_effect(variance, high) > effect:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if detectable_effect(variance, middle) > effect else (low, middle)
    return high


def _difference_variance(num_samples: float, rate_variance: float, noise_variance: float, correlation: float) -> float:
    return 2.0 * rate_variance * (1.0 - correlation) + 2.0 * noise_variance / num_samples


def variance_parts(example_scores: Sequence[Sequence[float | None]]) -> tuple[float, float]:
    """Split the variance of a baseline's scores into (between examples, between samples of one example).

    One-way analysis of variance: the mean squared deviation within examples, and the variance of example means less the
    share of it that sampling explains, at least 0. Needs two examples with two graded samples each; raises otherwise.
    """
    rows = [[score for score in scores if score is not None] for scores in example_scores]
    rows = [row for row in rows if len(row) >= 2]
    if len(rows) < 2:
        raise ValueError("the two variances need at least two examples with two graded samples each")
    means = [math.fsum(row) / len(row) for row in rows]
    squares = math.fsum((score - mean) ** 2 for row, mean in zip(rows, means, strict=True) for score in row)
    within = squares / sum(len(row) - 1 for row in rows)
    center = math.fsum(means) / len(means)
    of_means = math.fsum((mean - center) ** 2 for mean in means) / (len(means) - 1)
    explained = within * math.fsum(1.0 / len(row) for row in rows) / len(rows)
    return max(0.0, of_means - explained), within


def student_quantile(degrees: int, probability: float = 0.975) -> float:
    """A quantile of Student's t, the two-sided 95 % one by default; one degree of freedom at least."""
    from scipy.special import stdtrit

    return float(stdtrit(max(1, degrees), probability))


def _wilson(mean: float, effective: float, z: float) -> Interval:
    denominator = 1.0 + z * z / effective
    center = (mean + z * z / (2.0 * effective)) / denominator
    half = z * math.sqrt(mean * (1.0 - mean) / effective + (z / effective) ** 2 / 4.0) / denominator
    # Rounding may leave 1e-17 beyond the ends.
    return Interval(max(0.0, center - half), min(1.0, center + half))


def _present(values: Sequence[float | None], clusters: Sequence[Hashable] | None) -> tuple[list[float], list[Hashable]]:
    """The values that are not missing, and the unit each belongs to: its cluster, or itself."""
    groups: Sequence[Hashable] = range(len(values)) if clusters is None else clusters
    if len(groups) != len(values):
        raise ValueError(f"clusters need one entry per example, got {len(groups)} for {len(values)}")
    kept = [(value, group) for value, group in zip(values, groups, strict=True) if value is not None]
    if not kept:
        raise ValueError("no example has a grade, so there is nothing to estimate")
    if not all(math.isfinite(value) for value, _ in kept):
        raise ValueError("scores must be finite numbers; a sample without a grade is None, not NaN")
    return [value for value, _ in kept], [group for _, group in kept]


def _scale(scores: Sequence[float]) -> float:
    """The width of the range that scores live in: 1 for scores in 0…1, else of the hull of that and what was seen."""
    low, high = min(0.0, *scores), max(1.0, *scores)
    return 1.0 if low >= -_TOLERANCE and high <= 1.0 + _TOLERANCE else high - low


def _units(groups: Sequence[Hashable]) -> tuple[int, float]:
    """How many units there are, and the sum of their squared weights: 1 / that is the number of equal units."""
    sizes: dict[Hashable, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    return len(sizes), sum(size * size for size in sizes.values()) / len(groups) ** 2


def _sum_by_group(values: Sequence[float], groups: Sequence[Hashable]) -> list[float]:
    sums: dict[Hashable, float] = defaultdict(float)
    for value, group in zip(values, groups, strict=True):
        sums[group] += value
    return list(sums.values())


def _variance_of_mean(deviations: Sequence[float], groups: Sequence[Hashable], pseudo_square: float) -> float:
    """Clustered variance of a mean; one pseudo-unit with ``pseudo_square`` per example guards against (near) zero."""
    sums = _sum_by_group(deviations, groups)
    num_units, n = len(sums), len(deviations)
    squares = math.fsum(value * value for value in sums)
    pseudo = pseudo_square * (n / num_units) ** 2
    if squares < pseudo:
        return (squares + pseudo) / n**2
    return squares * num_units / (num_units - 1) / n**2


def _sign_flip_p_value(differences: Sequence[float]) -> float:
    import numpy as np

    # A zero has no sign to flip; leaving it out changes no sum and keeps more cases exact.
    values = np.array([d for d in differences if abs(d) > _TOLERANCE], dtype=np.float64)
    if values.size == 0:
        return 1.0
    observed = abs(float(values.sum())) - _TOLERANCE * float(np.abs(values).sum())
    if values.size <= _EXACT_FLIPS:
        return float(np.mean(np.abs(_signed_sums(values)) >= observed))
    generator = np.random.default_rng(_FLIP_SEED)
    sums = np.zeros(_NUM_FLIPS)
    # Eight signs are one random byte whose sum is looked up, which spares a large matrix of signs.
    for start in range(0, values.size, 8):
        table = _signed_sums(values[start : start + 8])
        sums += table[generator.integers(0, len(table), size=_NUM_FLIPS, dtype=np.uint16)]
    return (int(np.count_nonzero(np.abs(sums) >= observed)) + 1) / (_NUM_FLIPS + 1)


def _signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of the values under every pattern of signs, 2^n of them."""
    import numpy as np

    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums
