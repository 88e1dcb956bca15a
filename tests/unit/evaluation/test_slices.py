import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from openrft.errors import InvalidRequest
from openrft.evaluation.evaluation import Evaluation, scalar_fields
from openrft.evaluation.render import to_markdown
from openrft.evaluation.report import Report, build_report
from openrft.evaluation.slices import slice_keys
from openrft.evaluation.statistics import holm

MakeEvaluation = Callable[..., Evaluation]


def with_fields(evaluation: Evaluation, fields: Sequence[Mapping[str, str]]) -> Evaluation:
    rows = [replace(row, fields=dict(one)) for row, one in zip(evaluation.rows, fields, strict=True)]
    return replace(evaluation, rows=rows)


@pytest.fixture
def sliced(make_evaluation: MakeEvaluation) -> Callable[..., Report]:
    def build(fields: Sequence[Mapping[str, str]], tuned: Sequence[float], **more: Any) -> Report:
        base = with_fields(make_evaluation([[0.0]] * len(fields)), fields)
        other = with_fields(make_evaluation([[score] for score in tuned], name="tuned", step=9), fields)
        return build_report(job={}, base_sampled=base, tuned_sampled=other, **more)

    return build


TOPICS = [{"topic": "sums"}] * 10 + [{"topic": "words"}] * 6


def test_each_slice_is_the_primary_comparison_on_its_rows(sliced: Callable[..., Report]) -> None:
    report = sliced(TOPICS, [1.0] * 8 + [0.0] * 8)
    sums, words = report.slices
    assert [(one.key, one.value, one.num_rows) for one in (sums, words)] == [
        ("topic", "sums", 10),
        ("topic", "words", 6),
    ]
    assert (sums.comparison.tuned_mean, words.comparison.tuned_mean) == (0.8, 0.0)
    # Eight equal signs: p = 2/2^8, and of two tests the smallest is doubled. No change has p = 1.
    assert [sums.p_value_holm, words.p_value_holm] == pytest.approx([4 / 256, 1.0])
    assert sums.comparison.paired is not None and sums.comparison.paired.interval.low > 0.0


def test_holm_worked_by_hand() -> None:
    # 0.01 · 4 = 0.04; 0.02 · 3 = 0.06; 0.03 · 2 = 0.06; 0.9.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.4, 0.4, 0.4]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


def test_among_many_slices_without_a_change_one_is_remarkable_in_one_of_twenty_families() -> None:
    rng = np.random.default_rng(5)
    families = [min(holm(rng.random(8).tolist())) <= 0.05 for _ in range(4_000)]
    assert 0.04 <= np.mean(families) <= 0.06


def rows_with(make_evaluation: MakeEvaluation, fields: Sequence[Mapping[str, str]]) -> Evaluation:
    return with_fields(make_evaluation([[0.0]] * len(fields)), fields)


def test_keys_with_too_many_values_or_too_few_rows_are_no_slices(make_evaluation: MakeEvaluation) -> None:
    fields = [
        {"id": str(n), "constant": "x", "rare": "a" if n < 4 else "b", "twelve": str(n % 12), "thirteen": str(n % 13)}
        for n in range(78)
    ]
    assert slice_keys(rows_with(make_evaluation, fields).rows) == ["twelve"]


def test_what_the_grader_reads_and_what_follows_from_it_is_no_slice(make_evaluation: MakeEvaluation) -> None:
    fields = [
        {
            "topic": "abc"[n % 3],
            "compliant": "yes" if n % 2 else "no",
            "label": str(n % 2),
            "difficulty": str(n % 5 > 1),
        }
        for n in range(60)
    ]
    rows = rows_with(make_evaluation, fields).rows
    template = {
        "type": "string_check",
        "name": "topic",
        "input": "{{sample.output_text}}",
        "reference": "{{item.compliant}}",
    }
    code = {"type": "multi", "graders": {"one": {"type": "python", "source": "item.get('compliant') == sample"}}}
    for grader in (template, code):
        assert slice_keys(rows, grader) == ["topic", "difficulty"]
    assert slice_keys(rows) == ["topic", "compliant", "label", "difficulty"]


def test_a_key_that_is_named_is_shown_although_the_grader_reads_it(sliced: Callable[..., Report]) -> None:
    grader = {"reference": "{{item.topic}}"}
    assert sliced(TOPICS, [0.0] * 16, grader=grader).slices == []
    assert len(sliced(TOPICS, [0.0] * 16, grader=grader, slice_keys=["topic"]).slices) == 2


def test_a_named_key_that_cannot_be_sliced_by_is_refused_with_those_that_can(sliced: Callable[..., Report]) -> None:
    with pytest.raises(InvalidRequest, match=r"slice 'topics': no row has such a key.* by: topic"):
        sliced(TOPICS, [0.0] * 16, slice_keys=["topics"])
    with pytest.raises(InvalidRequest, match="slice 'n': 60 different values, at most 50"):
        sliced([{"n": str(n)} for n in range(60)], [0.0] * 60, slice_keys=["n"])


def test_rows_without_the_key_are_in_no_slice(sliced: Callable[..., Report]) -> None:
    report = sliced([*TOPICS, {}, {}], [0.0] * 18)
    assert [one.num_rows for one in report.slices] == [10, 6]


def test_texts_numbers_and_truth_values_of_a_row_are_its_fields() -> None:
    item = {"messages": [], "topic": "sums", "n": 3, "x": 0.5, "ok": True, "none": None, "list": [1], "long": "a" * 81}
    assert scalar_fields(item) == {"topic": "sums", "n": "3", "x": "0.5", "ok": "true"}


def test_evaluations_keep_their_fields_and_older_files_have_none(make_evaluation: MakeEvaluation) -> None:
    evaluation = rows_with(make_evaluation, TOPICS)
    data = json.loads(json.dumps(evaluation.to_json()))
    assert Evaluation.from_json(data) == evaluation
    for row in data["rows"]:
        del row["fields"]
    assert [row.fields for row in Evaluation.from_json(data).rows] == [{}] * 16


def test_slices_survive_json_and_are_labelled_exploratory_in_markdown(sliced: Callable[..., Report]) -> None:
    fields = [{"topic": "a|b"}] * 5 + [{"topic": "*c*"}] * 5
    report = sliced(fields, [1.0] * 10)
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report
    markdown = to_markdown(report)
    assert "## By kind of row (exploratory)" in markdown and "Holm" in markdown
    assert r"| topic: a\|b | 5 |" in markdown and r"| topic: \*c\* | 5 |" in markdown
