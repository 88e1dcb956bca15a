"""Two samples of one and the same model, through the code that writes reports: chance is rarely called a gain.

Tolerances are binomial: of 1,000 reports whose true rate is 0.025, fewer than 40 have the verdict but for one in a
thousand such tests.
"""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.evaluation.report import Report, RowsKind, build_report
from openrft.evaluation.selection import SelectionFacts, select_evaluation

NUM_REPORTS = 1_000
MOST_IN_ONE_TAIL = 40
FEWEST_UNCHANGED, MOST_UNCHANGED = 927, 973


def sampled(rng: np.random.Generator, rates: NDArray[np.float64], num_samples: int, step: int) -> Evaluation:
    """What a model with these pass rates of its rows gives."""
    scores = (rng.random((len(rates), num_samples)) < rates[:, None]).astype(float).tolist()
    rows = [
        EvaluationRow(
            example_id=f"e{index}",
            index=index,
            line=index + 1,
            prompt_text="",
            scores=row,
            outputs=[""] * num_samples,
            errors=[None] * num_samples,
            completion_tokens=[1] * num_samples,
            truncated=[False] * num_samples,
        )
        for index, row in enumerate(scores)
    ]
    return Evaluation(name=f"step {step}", step=step, mode="sampled", num_samples=num_samples, rows=rows)


def clustered_rates(rng: np.random.Generator, num_rows: int, rows_per_cluster: int) -> NDArray[np.float64]:
    """Pass rates as hard as the sources that rows share, give or take."""
    levels = np.repeat(rng.beta(1.0, 1.5, num_rows // rows_per_cluster), rows_per_cluster)
    return np.clip(levels + rng.normal(0.0, 0.1 * (rows_per_cluster > 1), num_rows), 0.0, 1.0)


def report_of_nothing(rng: np.random.Generator, num_rows: int, num_samples: int, rows_per_cluster: int = 1) -> Report:
    """A report on a model that did not change at all."""
    rates = clustered_rates(rng, num_rows, rows_per_cluster)
    base, tuned = (sampled(rng, rates, num_samples, step) for step in (0, 40))
    clusters = {f"e{index}": index // rows_per_cluster for index in range(num_rows)}
    return build_report(job={}, base_sampled=base, tuned_sampled=tuned, clusters=clusters)


def report_of_a_choice(rng: np.random.Generator, num_rows: int, num_samples: int, rows_kind: RowsKind) -> Report:
    """A report on the chosen of twelve checkpoints, none of which differs from the base on average."""
    rates = clustered_rates(rng, num_rows, 1)
    checkpoints = [sampled(rng, rates, num_samples, 10 * number) for number in range(1, 13)]
    selection: SelectionFacts = select_evaluation(checkpoints)
    if rows_kind == "test":
        rates = clustered_rates(rng, num_rows, 1)
        tuned = sampled(rng, rates, num_samples, selection.chosen_step)
    else:
        tuned = next(one for one in checkpoints if one.step == selection.chosen_step)
    base = sampled(rng, rates, num_samples, 0)
    return build_report(job={}, base_sampled=base, tuned_sampled=tuned, rows_kind=rows_kind, selection=selection)


@pytest.mark.slow
@pytest.mark.parametrize(("num_rows", "num_samples", "rows_per_cluster"), [(48, 4, 1), (96, 2, 4), (200, 1, 1)])
def test_an_unchanged_model_has_no_significant_gain_in_95_of_100_reports(
    num_rows: int, num_samples: int, rows_per_cluster: int
) -> None:
    rng = np.random.default_rng(11)
    outcomes = Counter(
        report_of_nothing(rng, num_rows, num_samples, rows_per_cluster).outcome for _ in range(NUM_REPORTS)
    )
    assert FEWEST_UNCHANGED <= outcomes["no change"] <= MOST_UNCHANGED
    assert max(outcomes["better"], outcomes["worse"]) <= MOST_IN_ONE_TAIL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_rows", "num_samples", "rows_kind"), [(48, 4, "validation"), (100, 1, "validation"), (48, 4, "test")]
)
def test_the_best_of_twelve_unchanged_checkpoints_is_rarely_called_better(
    num_rows: int, num_samples: int, rows_kind: RowsKind
) -> None:
    rng = np.random.default_rng(12)
    outcomes = Counter(report_of_a_choice(rng, num_rows, num_samples, rows_kind).outcome for _ in range(NUM_REPORTS))
    assert outcomes["better"] <= MOST_IN_ONE_TAIL
    assert outcomes["worse"] <= MOST_IN_ONE_TAIL


def test_a_few_reports_on_unchanged_models_are_nearly_all_without_a_gain() -> None:
    rng = np.random.default_rng(13)
    reports = [report_of_nothing(rng, 48, 4) for _ in range(100)]
    reports += [report_of_a_choice(rng, 48, 4, "validation") for _ in range(100)]
    outcomes = Counter(report.outcome for report in reports)
    # At a rate of 0.025 more than 14 of 200 happen once in a thousand times.
    assert max(outcomes["better"], outcomes["worse"]) <= 14
    assert outcomes["no change"] >= 175
