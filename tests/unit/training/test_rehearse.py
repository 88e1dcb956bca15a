"""A rehearsal on the bundled model, with graders that are functions: each fault is planted and found."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from openrft.config.graders import parse_grader
from openrft.config.job import Job, read_job
from openrft.config.spec import Spec
from openrft.graders import ScriptedGrader, build_grader
from openrft.training.prepare import PreparedReinforcement, prepare
from openrft.training.progress import Silence
from openrft.training.rehearsal_numbers import job_size
from openrft.training.rehearse import (
    Rehearsed,
    answers_as_json,
    as_json,
    choose_rows,
    grader_kinds,
    item_keys,
    json_reading,
    rehearse_prepared,
)
from openrft.types import Grade, GradingRequest, TokenUsage


class JudgeSpec(Spec):
    """Stands for a grader that is a model."""

    type: Literal["score_model"] = "score_model"


@pytest.fixture(scope="module")
def prepared() -> PreparedReinforcement:
    repository = Path(__file__).resolve().parents[3]
    return prepare(read_job(repository / "examples" / "arithmetic" / "job.json"), Silence())


def rehearse(prepared: PreparedReinforcement, function: Callable[[GradingRequest], float], **options: int) -> Rehearsed:
    return rehearse_prepared(replace(prepared, grader=ScriptedGrader(function)), Silence(), **options)


def is_right(request: GradingRequest) -> float:
    return float(request.sample.output_text == request.item["answer"])


def with_grader(job: Job, spec: Spec) -> Job:
    reinforcement = job.method.reinforcement.model_copy(update={"grader": spec})
    return job.model_copy(update={"method": job.method.model_copy(update={"reinforcement": reinforcement})})


def test_the_exact_grader_can_teach_and_nothing_beats_it(prepared: PreparedReinforcement) -> None:
    rehearsed = rehearse_prepared(prepared, Silence())
    assert rehearsed.verdict.code == "can_learn"
    assert rehearsed.findings == []
    numbers = rehearsed.rehearsal
    assert (numbers.num_rows, numbers.num_samples, numbers.coverage.num_graded) == (20, 8, 160)
    assert sum(bar.count for bar in numbers.histogram) == 160
    assert numbers.signal is not None and 0.3 < numbers.signal.value < 0.9
    assert not any(attack.is_exploit for attack in numbers.attacks)
    assert numbers.repeats is not None and numbers.repeats.num_changed == 0
    assert numbers.latency.num_grades == 160


def test_a_rehearsal_with_the_same_seed_samples_the_same(prepared: PreparedReinforcement) -> None:
    first, second = (answers_as_json(rehearse(prepared, is_right, num_rows=3)) for _ in range(2))
    assert [row["answer"] for row in first["answers"]] == [row["answer"] for row in second["answers"]]


def test_a_grader_that_pays_for_length_is_found(prepared: PreparedReinforcement) -> None:
    rehearsed = rehearse(prepared, lambda request: min(1.0, len(request.sample.output_text) / 50))
    assert rehearsed.verdict.code == "exploitable"
    paid = {attack.name for attack in rehearsed.rehearsal.attacks if attack.is_exploit}
    assert "the same answer 20 times over" in paid
    assert "empty answer" not in paid


def test_a_grader_that_looks_for_the_reference_anywhere_is_beaten_by_listing_all(
    prepared: PreparedReinforcement,
) -> None:
    rehearsed = rehearse(prepared, lambda request: float(request.item["answer"] in request.sample.output_text))
    assert rehearsed.verdict.code == "exploitable"
    paid = {attack.name for attack in rehearsed.rehearsal.attacks if attack.is_exploit}
    assert paid == {"the answers of all rows, listed"}


def test_a_grader_with_chance_in_it_is_found_with_an_example(prepared: PreparedReinforcement) -> None:
    count = itertools.count()
    rehearsed = rehearse(prepared, lambda request: (next(count) * 7919 % 101) / 101)
    assert rehearsed.verdict.code == "grader_noisy"
    example = rehearsed.rehearsal.repeat_example
    assert example is not None
    assert example.repeated_scores != [example.score]


def test_a_grader_that_always_fails_is_broken_and_nothing_more_is_tried(prepared: PreparedReinforcement) -> None:
    rehearsed = rehearse(prepared, lambda request: float(request.item["gene"]), num_rows=2)  # type: ignore[arg-type]
    assert rehearsed.verdict.code == "grader_broken"
    assert "KeyError: 'gene'" in rehearsed.verdict.sentence
    assert (rehearsed.rehearsal.attacks, rehearsed.rehearsal.repeats) == ([], None)
    assert rehearsed.rehearsal.signal is None


@pytest.mark.parametrize(("score", "code"), [(0.0, "too_hard"), (1.0, "too_easy"), (0.5, "no_signal")])
def test_one_score_for_everything_teaches_nothing(prepared: PreparedReinforcement, score: float, code: str) -> None:
    assert rehearse(prepared, lambda request: score, num_rows=4).verdict.code == code


def test_answers_that_are_cut_off_are_the_reason_given(prepared: PreparedReinforcement) -> None:
    short = replace(prepared, settings=prepared.settings.model_copy(update={"max_completion_tokens": 2}))
    assert rehearse(short, is_right, num_rows=4).verdict.code == "truncated"


def test_where_all_answers_are_cut_off_and_left_out_of_training_that_is_the_reason(
    prepared: PreparedReinforcement,
) -> None:
    left_out = prepared.settings.model_copy(update={"max_completion_tokens": 2, "train_truncated": False})
    rehearsed = rehearse(replace(prepared, settings=left_out), is_right, num_rows=4)
    assert rehearsed.verdict.code == "truncated"
    assert rehearsed.rehearsal.signal is None


def test_more_samples_than_a_group_are_extrapolated_down_and_fewer_are_a_bound(prepared: PreparedReinforcement) -> None:
    small = replace(prepared, settings=prepared.settings.model_copy(update={"group_size": 2}))
    few = rehearse(small, is_right, num_rows=10, num_samples=16).rehearsal
    many = rehearse(prepared, is_right, num_rows=10, num_samples=16).rehearsal
    assert few.signal is not None and many.signal is not None
    assert few.signal.value < many.signal.value  # a pair is silent more often than eight
    assert not many.is_signal_lower_bound
    assert rehearse(prepared, is_right, num_rows=2, num_samples=4).rehearsal.is_signal_lower_bound


class Judge:
    """A grader that is a model: it costs tokens, and answers about the same each time."""

    name, is_inline = "judge", False

    def __init__(self) -> None:
        self.requests: list[GradingRequest] = []

    def grade(self, requests: list[GradingRequest]) -> list[Grade]:
        self.requests += requests
        usage = {"judge-1": TokenUsage(prompt_tokens=100, completion_tokens=10, cost=0.01)}
        return [
            Grade(grader="judge", score=0.9 * is_right(one) + 0.01 * one.repeat, usage=usage, seconds=0.1)
            for one in requests
        ]

    def close(self) -> None:
        pass


def test_a_model_that_grades_is_asked_thrice_about_some_answers_and_its_cost_is_projected(
    prepared: PreparedReinforcement,
) -> None:
    judge = Judge()
    paid = replace(prepared, grader=judge, job=with_grader(prepared.job, JudgeSpec()))
    rehearsal = rehearse_prepared(paid, Silence()).rehearsal
    assert rehearsal.repeats is not None
    assert (rehearsal.repeats.num_opinions, rehearsal.is_deterministic_kind) == (3, False)
    assert rehearsal.repeats.num_answers <= 24
    assert {request.repeat for request in judge.requests} == {0, 1, 2}
    assert {attack.num_rows for attack in rehearsal.attacks} == {4}
    assert "instructions to the grader" in {attack.name for attack in rehearsal.attacks}
    (spent,) = rehearsal.spending
    assert spent.job_cost == pytest.approx(0.01 * rehearsal.size.num_answers)
    assert spent.rehearsal_tokens == 110 * len(judge.requests)
    assert spent.rehearsal_cost == pytest.approx(0.01 * len(judge.requests))


def test_a_part_that_the_formula_does_not_read_is_found_and_every_part_can_be_read(
    prepared: PreparedReinforcement,
) -> None:
    check = {"type": "string_check", "input": "{{sample.output_text}}", "operation": "eq"}
    spec = parse_grader(
        {
            "type": "multi",
            "graders": {"right": {**check, "reference": "{{item.answer}}"}, "style": {**check, "reference": "x"}},
            "calculate_output": "right",
        }
    )
    grader = build_grader(spec)
    try:
        several = replace(prepared, grader=grader, job=with_grader(prepared.job, spec))
        rehearsed = rehearse_prepared(several, Silence(), num_rows=8, num_samples=4)
    finally:
        grader.close()
    assert rehearsed.rehearsal.unused_parts == ["style"]
    assert "unused_part" in [finding.code for finding in rehearsed.findings]
    document = answers_as_json(rehearsed)
    assert document["answers"][0]["sub_grades"]["style"]["explanation"]
    assert document["attack_answers"][0]["sub_grades"].keys() == {"right", "style"}


def test_prices_are_known_from_the_settings_though_nothing_was_spent(
    prepared: PreparedReinforcement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remembering(Judge):
        def grade(self, requests: list[GradingRequest]) -> list[Grade]:
            return [replace(one, usage={"judge-1": TokenUsage()}) for one in super().grade(requests)]

    settings = tmp_path / "openrft.toml"
    settings.write_text('[grader_models.judge-1]\nbase_url = "http://127.0.0.1:9/v1"\noutput_price = 2.0\n')
    monkeypatch.setenv("OPENRFT_CONFIG", str(settings))
    paid = replace(prepared, grader=Remembering(), job=with_grader(prepared.job, JudgeSpec()))
    (spent,) = rehearse_prepared(paid, Silence(), num_rows=2).rehearsal.spending
    assert (spent.job_cost, spent.rehearsal_cost) == (0.0, 0.0)


def test_the_size_of_a_job_is_what_a_run_samples(prepared: PreparedReinforcement) -> None:
    size = job_size(prepared)
    # 48 steps of 64; 11 validations (step 0, nine at 5, 10, …, 45, and the last) of 48 rows x 4; the report: 240 rows,
    # base and tuned, each 4 sampled and 1 greedy.
    assert (size.num_steps, size.answers_per_step) == (48, 64)
    assert size.evaluation_answers == 11 * 48 * 4 + 2 * 240 * 5


def test_rows_are_chosen_by_chance_and_keep_their_order(prepared: PreparedReinforcement) -> None:
    lines = [prompt.example.line for prompt in choose_rows(prepared.train, 10, seed=0)]
    assert lines == sorted(lines)
    assert lines != list(range(1, 11))
    assert len(choose_rows(prepared.train, 1000, seed=0)) == 64


READS = """
def grade(sample, item):
    return len(item['x']) + len(item["y"]) + item.get('z', 0)
"""


def test_what_a_grader_reads_is_found_in_its_definition() -> None:
    spec = parse_grader(
        {
            "type": "multi",
            "graders": {
                "a": {
                    "type": "string_check",
                    "input": "{{sample.output_json.verdict}}",
                    "reference": "{{ item.compliant }}",
                    "operation": "eq",
                },
                "b": {"type": "python", "source": READS},
            },
            "calculate_output": "a + b",
        }
    )
    assert grader_kinds(spec) == {"multi", "string_check", "python"}
    assert json_reading(spec) == (True, ["verdict"])
    assert {"compliant", "x", "y", "z"} <= set(item_keys(spec))


def test_a_broken_python_grader_is_quoted_and_every_answer_can_be_read(prepared: PreparedReinforcement) -> None:
    source = "def grade(sample, item):\n    return 1 / (len(sample['output_text']) - 3)\n"
    grader = build_grader(parse_grader({"type": "python", "source": source}))
    try:
        rehearsed = rehearse_prepared(replace(prepared, grader=grader), Silence(), num_rows=4, num_samples=4)
    finally:
        grader.close()
    assert rehearsed.verdict.code == "grader_broken"
    document = {**as_json(rehearsed), **answers_as_json(rehearsed)}
    assert "ZeroDivisionError" in document["coverage"]["errors"][0]["message"]
    assert "line 2, in grade" in document["coverage"]["errors"][0]["message"]
    assert len(document["answers"]) == 16
    assert document["findings"][0]["code"] == document["verdict"] == "grader_broken"
