import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.report import Report
from openrft.evaluation.statistics import max_at_k, mean_interval, paired_difference, pass_at_k

MakeReport = Callable[..., Report]


def test_the_best_of_two_worked_by_hand() -> None:
    # Pairs of 0.1, 0.4, 0.4, 1.0: three hold the 1, two of the rest a pair (0.1, 0.4), one (0.4, 0.4).
    assert max_at_k([0.4, 1.0, 0.1, 0.4], 2) == pytest.approx((3 * 1.0 + 3 * 0.4) / 6)
    assert max_at_k([0.4, 1.0, 0.1, 0.4], 1) == pytest.approx(1.9 / 4)
    assert max_at_k([0.4, 1.0, 0.1, 0.4], 4) == 1.0
    assert max_at_k([-2.0, -1.0], 2) == -1.0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_the_best_of_k_is_the_mean_over_all_subsets(n: int) -> None:
    rng = random.Random(n)
    scores = [rng.choice([0.0, 0.25, rng.gauss(0.0, 1.0)]) for _ in range(n)]
    for k in range(1, n + 1):
        subsets = [max(subset) for subset in itertools.combinations(scores, k)]
        assert max_at_k(scores, k) == pytest.approx(sum(subsets) / len(subsets))


@pytest.mark.parametrize(("n", "c"), [(4, 0), (4, 1), (6, 3), (8, 8)])
def test_pass_at_k_is_the_best_of_k_of_zeros_and_ones(n: int, c: int) -> None:
    for k in range(1, n + 1):
        assert max_at_k([1.0] * c + [0.0] * (n - c), k) == pytest.approx(pass_at_k(n, c, k))


def test_more_tries_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="max@k needs"):
        max_at_k([0.5], 2)


def test_the_best_of_k_is_unbiased_although_it_is_taken_from_n_samples() -> None:
    rng = np.random.default_rng(3)
    estimates = [max_at_k(rng.random(6).tolist(), 3) for _ in range(4_000)]
    assert np.mean(estimates) == pytest.approx(3 / 4, abs=0.01)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_intervals_of_pass_at_k_cover_the_truth(k: int) -> None:
    rng = np.random.default_rng(4)
    truth = float(np.mean(1.0 - (1.0 - rng.beta(1.0, 2.0, 1_000_000)) ** k))
    covered = paired_covered = 0
    for _ in range(600):
        rates = rng.beta(1.0, 2.0, 48)
        base, tuned = ([max_at_k(row, k) for row in (rng.random((48, 8)) < rates[:, None]).tolist()] for _ in range(2))
        interval = mean_interval(base, 8 / k)
        covered += int(interval.low <= truth <= interval.high)
        difference = paired_difference(base, tuned, 8 / k).interval
        paired_covered += int(difference.low <= 0.0 <= difference.high)
    assert covered >= 550 and 550 <= paired_covered <= 590


def test_a_report_has_pass_at_k_for_powers_of_two_up_to_the_samples(make_report: MakeReport) -> None:
    report = make_report([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 9, [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]] * 9)
    assert [(one.comparison.metric, one.k) for one in report.tries] == [("pass@k", 1), ("pass@k", 2), ("pass@k", 4)]
    # 1 - C(5, k)/C(6, k) and 1 - C(3, k)/C(6, k)
    assert [one.comparison.base_mean for one in report.tries] == pytest.approx([1 / 6, 1 / 3, 2 / 3])
    assert [one.comparison.tuned_mean for one in report.tries] == pytest.approx([1 / 2, 1 - 3 / 15, 1.0])
    assert Report.from_json(report.to_json()) == report


def test_graded_scores_also_get_the_best_of_k(make_report: MakeReport) -> None:
    report = make_report([[0.2, 0.6]] * 6, [[0.4, 1.0]] * 6)
    best = [one for one in report.tries if one.comparison.metric == "best of k"]
    assert [one.k for one in best] == [1, 2]
    assert [one.comparison.base_mean for one in best] == pytest.approx([0.4, 0.6])
    assert [one.comparison.tuned_mean for one in best] == pytest.approx([0.7, 1.0])


def test_rows_with_too_few_graded_samples_leave_that_k(make_report: MakeReport) -> None:
    report = make_report([[0.0, 0.0], [1.0, None]], [[1.0, 1.0], [1.0, 1.0]])
    counts = {one.k: one.comparison.paired for one in report.tries}
    assert counts[1] is not None and counts[1].num_examples == 2
    assert counts[2] is not None and (counts[2].num_examples, counts[2].num_dropped) == (1, 1)


def test_one_sample_per_row_has_no_tries(make_report: MakeReport) -> None:
    assert make_report([[0.0]] * 4, [[1.0]] * 4).tries == []


def test_a_model_that_lost_its_diversity_is_told_by_many_tries(make_report: MakeReport) -> None:
    # One try: 0.25 → 0.5. Four tries: always → in half of the rows.
    report = make_report([[1.0, 0.0, 0.0, 0.0]] * 60, [[1.0] * 4, [0.0] * 4] * 30)
    assert any(note.startswith("Of 4 tries one succeeds less often than before (pass@4 -0.50") for note in report.notes)


def test_rows_of_one_source_widen_the_interval_of_tries(
    make_report: MakeReport, make_evaluation: Callable[..., Evaluation]
) -> None:
    base, tuned = [[0.0, 0.0]] * 24, [[1.0, 0.0]] * 12 + [[0.0, 0.0]] * 12
    sources = {f"e{index}": index // 6 for index in range(24)}
    alone, shared = (
        make_report(base, tuned, clusters=clusters).tries[-1].comparison.paired for clusters in (None, sources)
    )
    assert alone is not None and shared is not None
    assert shared.interval.low < alone.interval.low
