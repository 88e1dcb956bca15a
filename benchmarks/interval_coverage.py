"""How often openrft's 95 % intervals hold what they promise, by simulation; the figures in docs/evaluation.md.

    python benchmarks/interval_coverage.py                          # some minutes of one core
    python benchmarks/interval_coverage.py --simulations 300        # a quick look
    python benchmarks/interval_coverage.py --tables null tries      # two of the tables

Every table is printed as Markdown. Seeds are fixed, so two runs print the same.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.evaluation.report import Report, build_report
from openrft.evaluation.selection import choose_checkpoint, expected_selection_optimism, select_evaluation
from openrft.evaluation.statistics import (
    Interval,
    examples_needed,
    max_at_k,
    mean_interval,
    paired_difference,
    student_quantile,
)

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Array]  # generator, n, K → mean score of each example

CEILING = 0.95 * 1.0 + 0.05 * 0.2


def binomial(rates: Callable[[np.random.Generator, int], Array]) -> Draw:
    """Pass/fail samples of examples with these rates."""
    return lambda rng, n, k: rng.binomial(k, rates(rng, n)) / k


def graded(rng: np.random.Generator, n: int, k: int) -> Array:
    """Graded scores: mostly near an example's own level, uniform in 0.2…0.8, give or take 0.1."""
    level = rng.uniform(0.2, 0.8, n)
    scores: Array = rng.uniform(level[:, None] - 0.1, level[:, None] + 0.1, (n, k)).mean(axis=1)
    return scores


KINDS: dict[str, tuple[Draw, float]] = {
    "rates Beta(0.5, 0.5)": (binomial(lambda rng, n: rng.beta(0.5, 0.5, n)), 0.5),
    "rates Beta(4, 1)": (binomial(lambda rng, n: rng.beta(4.0, 1.0, n)), 0.8),
    "95 % always right": (binomial(lambda rng, n: np.where(rng.random(n) < 0.95, 1.0, 0.2)), CEILING),
    "95 % always wrong": (binomial(lambda rng, n: np.where(rng.random(n) < 0.95, 0.0, 0.8)), 1.0 - CEILING),
    "graded scores": (graded, 0.5),
}


def t_interval(means: Sequence[float]) -> Interval:
    """The textbook interval over examples, for comparison."""
    n, mean = len(means), float(np.mean(means))
    half = student_quantile(n - 1) * float(np.std(means, ddof=1)) / math.sqrt(n)
    return Interval(mean - half, mean + half, "t")


def naive_interval(means: Sequence[float], num_samples: int) -> Interval:
    """Every sample taken as an independent trial, for comparison."""
    mean = float(np.mean(means))
    half = 1.96 * math.sqrt(mean * (1.0 - mean) / (len(means) * num_samples))
    return Interval(mean - half, mean + half)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def mean_table(simulations: int) -> None:
    """Coverage and width of the interval of one model's mean."""
    rows = []
    for n in (12, 48, 240):
        for k in (1, 4):
            for kind, (draw, truth) in KINDS.items():
                rng = np.random.default_rng(1)
                hits, widths = np.zeros(3), np.zeros(3)
                for _ in range(simulations):
                    means = draw(rng, n, k).tolist()
                    intervals = (mean_interval(means, k), t_interval(means), naive_interval(means, k))
                    hits += [interval.low <= truth <= interval.high for interval in intervals]
                    widths += [interval.high - interval.low for interval in intervals]
                cells = [
                    f"{hit:.3f} ({width:.2f})"
                    for hit, width in zip(hits / simulations, widths / simulations, strict=True)
                ]
                rows.append([str(n), str(k), kind, *cells])
    header = ("examples", "samples", "truth", "ours", "t over examples", "samples as trials")
    print_table("Mean of one model: coverage (width)", header, rows)


def paired_scores(rng: np.random.Generator, n: int, k: int, gain: float, spread: float) -> tuple[Array, Array]:
    """Base and tuned means of n examples; on each example the true gain differs by ``spread``."""
    rates = rng.beta(1.0, 1.5, n)
    tuned = np.clip(rates + rng.normal(gain, spread, n), 0.0, 1.0)
    return rng.binomial(k, rates) / k, rng.binomial(k, tuned) / k


def true_gain(gain: float, spread: float) -> float:
    """The mean true gain after clipping rates to 0…1."""
    rng = np.random.default_rng(0)
    rates = rng.beta(1.0, 1.5, 2_000_000)
    return float(np.mean(np.clip(rates + rng.normal(gain, spread, rates.size), 0.0, 1.0) - rates))


def paired_table(simulations: int) -> None:
    """What the verdict says when nothing changed, and when there is a gain."""
    rows = []
    for n in (12, 48, 240):
        for k in (1, 4):
            for gain, spread in ((0.0, 0.0), (0.1, 0.1), (0.2, 0.2)):
                rng = np.random.default_rng(2)
                truth = true_gain(gain, spread) if gain else 0.0
                counts = np.zeros(4)
                for _ in range(simulations):
                    base, tuned = paired_scores(rng, n, k, gain, spread)
                    paired = paired_difference(base.tolist(), tuned.tolist(), k)
                    low, high = paired.interval.low, paired.interval.high
                    counts += [low <= truth <= high, low > 0.0, high < 0.0, paired.p_value <= 0.05]
                rows.append([str(n), str(k), f"{truth:+.2f}", *(f"{count:.3f}" for count in counts / simulations)])
    header = ("examples", "samples", "true gain", "coverage", "says better", "says worse", "p ≤ 0.05")
    print_table("Paired difference", header, rows)


def optimism_table(simulations: int) -> None:
    """Real and estimated optimism of choosing among twelve checkpoints."""
    steps = np.arange(12)
    shapes = {
        "flat": np.full(12, 0.5),
        "rise, then plateau": np.minimum(0.35 + 0.05 * steps, 0.6),
        "rise, then fall": 0.6 - (steps - 6.0) ** 2 / 150.0,
        "rise": 0.3 + 0.03 * steps,
    }
    big = np.random.default_rng(0).normal(0.0, math.sqrt(0.1), 1_000_000)
    rows = []
    for n, k in ((48, 1), (48, 4), (240, 4)):
        for name, level in shapes.items():
            truth = np.array([float(np.clip(value + big, 0.0, 1.0).mean()) for value in level])
            for window in (1, 3):
                rng, real, estimated = np.random.default_rng(3), [], []
                for _ in range(simulations):
                    rates = np.clip(level + rng.normal(0, 0.3, (n, 1)) + rng.normal(0, 0.1, (n, 12)), 0.0, 1.0)
                    scores = rng.binomial(k, rates) / k
                    means = scores.mean(axis=0)
                    chosen = choose_checkpoint(means.tolist(), window)
                    real.append(float(means[chosen] - truth[chosen]))
                    guess = expected_selection_optimism(scores.T.tolist(), window=window, num_draws=400)
                    estimated.append(guess)
                rule = "highest" if window == 1 else "highest of 3-point average"
                figures = [f"{np.mean(real):+.3f}", f"{np.mean(estimated):+.3f}"]
                rows.append([str(n), str(k), name, rule, *figures])
    header = ("examples", "samples", "true curve", "rule", "real optimism", "our estimate, mean")
    print_table("Optimism of the chosen of 12 checkpoints", header, rows)


def sampled(rng: np.random.Generator, rates: Array, k: int, step: int) -> Evaluation:
    """What a model that passes the rows at these rates gives with k samples each."""
    rows = [
        EvaluationRow(
            example_id=str(index),
            index=index,
            line=index + 1,
            prompt_text="",
            scores=scores,
            outputs=[""] * k,
            errors=[None] * k,
            completion_tokens=[1] * k,
            truncated=[False] * k,
        )
        for index, scores in enumerate((rng.random((len(rates), k)) < rates[:, None]).astype(float).tolist())
    ]
    return Evaluation(name=f"step {step}", step=step, mode="sampled", num_samples=k, rows=rows)


def null_report(rng: np.random.Generator, n: int, k: int, per_cluster: int, chosen_on: str) -> Report:
    """A report on training that changed nothing, of which one of twelve checkpoints was chosen, or none.

    Rows come in clusters of ``per_cluster`` that share their level of difficulty.
    """
    levels = np.repeat(rng.beta(1.0, 1.5, n // per_cluster), per_cluster)
    rates = np.clip(levels + rng.normal(0.0, 0.1 * (per_cluster > 1), n), 0.0, 1.0)
    base, tuned, selection = sampled(rng, rates, k, 0), sampled(rng, rates, k, 120), None
    if chosen_on != "none":
        checkpoints = [sampled(rng, rates, k, 10 * number) for number in range(1, 13)]
        selection = select_evaluation(checkpoints)
        if chosen_on == "these rows":
            tuned = next(one for one in checkpoints if one.step == selection.chosen_step)
    return build_report(
        job={},
        base_sampled=base,
        tuned_sampled=tuned,
        clusters={str(index): index // per_cluster for index in range(n)},
        rows_kind="validation" if chosen_on == "these rows" else "test",
        selection=selection,
    )


def null_table(simulations: int) -> None:
    """Verdicts on models that did not change."""
    rows = [null_line(simulations, *line) for line in NULL_LINES]
    header = ("rows", "samples", "rows per cluster", "chosen on", "no significant gain", "better", "worse", "unshrunk")
    print_table("Reports on a model that did not change", header, rows)


NULL_LINES = (
    (48, 4, 1, "none"),
    (96, 2, 4, "none"),
    (48, 4, 1, "other rows"),
    (48, 4, 1, "these rows"),
    (100, 1, 1, "these rows"),
)


def null_line(simulations: int, n: int, k: int, per_cluster: int, chosen_on: str) -> list[str]:
    """How often a report has each verdict, and how often it would say better without shrinking."""
    rng = np.random.default_rng(4)
    reports = (null_report(rng, n, k, per_cluster, chosen_on) for _ in range(simulations))
    said = Counter(name for one in reports for name in (one.outcome, f"raw {one.primary.outcome}"))
    shares = [f"{said[name] / simulations:.3f}" for name in ("no change", "better", "worse", "raw better")]
    return [str(n), str(k), str(per_cluster), chosen_on, *shares]


def tries_table(simulations: int) -> None:
    """Coverage of pass@k with eight samples per row, and of its paired difference between equal models."""
    rows = []
    rates = np.random.default_rng(0).beta(1.0, 2.0, 1_000_000)
    for n in (24, 48, 240):
        for k in (1, 2, 4, 8):
            truth, rng, hits = float(np.mean(1.0 - (1.0 - rates) ** k)), np.random.default_rng(5), np.zeros(3)
            for _ in range(simulations):
                level = rng.beta(1.0, 2.0, n)
                arms = [(rng.random((n, 8)) < level[:, None]).astype(float).tolist() for _ in range(2)]
                base, tuned = ([max_at_k(scores, k) for scores in arm] for arm in arms)
                interval, plain = mean_interval(base, 8 / k), t_interval(base)
                difference = paired_difference(base, tuned, 8 / k).interval
                hits += [
                    interval.low <= truth <= interval.high,
                    plain.low <= truth <= plain.high,
                    difference.low <= 0.0 <= difference.high,
                ]
            rows.append([str(n), str(k), f"{truth:.2f}", *(f"{hit:.3f}" for hit in hits / simulations)])
    header = ("rows", "k", "true pass@k", "ours", "t over rows", "difference of equal models")
    print_table("pass@k from 8 samples: coverage", header, rows)


def power_table(simulations: int) -> None:
    """How often a gain is found with as many rows as are said to be needed for it."""
    rows = []
    for gain, k in ((0.2, 1), (0.2, 4), (0.1, 1), (0.1, 4), (0.1, 16), (0.05, 4)):
        spread = 0.1
        # Base rates 0.4 ± 0.1, gains ± 0.1: V of the base 0.01, 2 V (1 - ρ) = 0.01.
        noise = (0.24 - 0.01 + (0.4 + gain) * (0.6 - gain) - 0.02) / 2.0
        needed = examples_needed(gain, k, rate_variance=0.01, noise_variance=noise, correlation=0.5)
        rng, found = np.random.default_rng(6), 0
        for _ in range(simulations):
            base = 0.4 + rng.choice([-spread, spread], needed)
            tuned = base + gain + rng.choice([-spread, spread], needed)
            paired = paired_difference((rng.binomial(k, base) / k).tolist(), (rng.binomial(k, tuned) / k).tolist(), k)
            found += paired.interval.low > 0.0
        rows.append([f"+{gain:g}", str(k), str(needed), f"{found / simulations:.3f}"])
    print_table("Rows needed for a gain", ("gain", "samples", "rows needed", "found"), rows)


def main() -> None:
    """Print the tables."""
    tables = {
        "mean": (mean_table, 1),
        "paired": (paired_table, 1),
        "optimism": (optimism_table, 8),
        "null": (null_table, 4),
        "tries": (tries_table, 4),
        "power": (power_table, 2),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4_000, help="per line of the first two tables; others less")
    parser.add_argument("--tables", nargs="+", choices=tables, default=list(tables), help="which to print")
    asked = parser.parse_args()
    for name in asked.tables:
        table, fewer = tables[name]
        table(max(100, asked.simulations // fewer))


if __name__ == "__main__":
    main()
