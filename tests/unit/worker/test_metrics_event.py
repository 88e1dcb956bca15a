"""A step's metrics event: numbers worked out by hand on literal rows, and a real run's rows against its own metrics."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from documented_metrics import documented_metrics
from openrft.worker.metrics_event import metrics_event
from openrft.worker.result_file import result_csv

EXAMPLES = Path(__file__).parents[3] / "examples"
CHECK = {"type": "string_check", "name": "check", "input": "a", "reference": "b", "operation": "eq"}


def grade(score: float | None, *, error: str | None = None, **more: Any) -> dict[str, Any]:
    told = None if error is None else {"kind": error, "message": "it broke"}
    plain = {"grader": "g", "score": score, "error": told, "replaced": None, "explanation": "", "printed": "",
             "seconds": 0.5, "usage": {}, "unparsed": False, "sub_grades": {}}  # fmt: skip
    return {**plain, **more}


def rollout(whole: dict[str, Any], *, tokens: int = 4, answer: str = "yes", reasoning: int = 0) -> dict[str, Any]:
    row = {**whole, "grading_seconds": whole["seconds"], "grading_usage": whole["usage"], "reward": whole["score"]}
    del row["seconds"], row["usage"]
    return {**row, "answer": answer, "token_ids": [1] * tokens, "reasoning_tokens": reasoning}


def evaluation(*rows: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "rows": [
            {
                "scores": [one["score"] for one in row],
                "errors": [one["error"] and "kind: message" for one in row],
                "reasoning_tokens": [2] * len(row),
                "grades": [{name: value for name, value in one.items() if name != "seconds"} for one in row],
            }
            for row in rows
        ],
        "usage": usage or {},
    }


def keys_of(value: Any, before: str = "") -> set[str]:
    if isinstance(value, dict):
        return {path for key, inner in value.items() for path in {before + key, *keys_of(inner, f"{before}{key}.")}}
    if isinstance(value, list):
        return {path for inner in value for path in keys_of(inner, before[:-1] + "[].")}
    return set()


def test_every_key_of_the_guide_is_there_for_a_model_grader() -> None:
    grader = {"type": "score_model", "name": "judge", "model": "gpt-4.1", "input": []}
    spent = {"gpt-4.1": {"prompt_tokens": 241, "completion_tokens": 100, "cached_tokens": 7, "cost": 0.0}}
    rows = [rollout(grade(1.0, usage=spent), reasoning=3), rollout(grade(0.5, usage=spent), reasoning=0)]
    rows.append(rollout(grade(None, error="model_grader_server_error", seconds=2.0)))
    valid = evaluation([grade(0.25, usage=spent)], usage=spent)
    data = metrics_event(10, 20, {}, rows, valid, grader).data
    both = ("train", "valid")
    expected = {"step", "total_steps", "train_mean_reward", "full_valid_mean_reward", "full_valid_mean_parse_error",
                "reasoning_tokens_mean", "valid_reasoning_tokens_mean", "completion_tokens_mean",
                "mean_unresponsive_rewards", "model_graders_token_usage", "scores.train_reward_mean",
                "scores.valid_reward_mean"}  # fmt: skip
    expected |= {f"usage.samples.{side}_reasoning_tokens_{kind}" for side in both for kind in ("mean", "count")}
    expected |= {f"timing.step.{part}" for part in ("sampling", "training", "eval", "full_iteration")}
    expected |= {
        f"{part}.graders[].{key}" for part in ("usage", "errors", "scores", "timing") for key in ("name", "type")
    }
    expected |= {f"scores.graders[].{side}_reward_mean" for side in both}
    expected |= {f"timing.graders[].{side}_execution_latency_mean" for side in both}
    errors = ("other_error", "sample_parse_error", "invalid_variable_error", "model_grader_server_error")
    expected |= {f"errors.graders[].{s}_{error}_{k}" for s in both for error in errors for k in ("mean", "count")}
    tokens = ("prompt_tokens", "completion_tokens")
    expected |= {f"usage.graders[].{s}_{token}_{k}" for s in both for token in tokens for k in ("mean", "count")}
    assert expected <= keys_of(data)
    [usage] = data["usage"]["graders"]
    assert usage["model"] == "gpt-4.1"
    assert usage["train_prompt_tokens_count"] == 482.0
    assert type(usage["train_prompt_tokens_count"]) is float
    assert usage["train_prompt_tokens_mean"] == pytest.approx(482 / 3)
    assert data["model_graders_token_usage"] == {
        "gpt-4.1": {
            "train_prompt_tokens": 482, "train_completion_tokens": 200, "train_cached_tokens": 14,
            "eval_prompt_tokens": 241, "eval_completion_tokens": 100, "eval_cached_tokens": 7,
        }
    }  # fmt: skip
    [told] = data["errors"]["graders"]
    assert (told["train_model_grader_server_error_count"], told["train_other_error_count"]) == (1.0, 0.0)
    assert told["train_model_grader_server_error_mean"] == pytest.approx(1 / 3)
    # What could not be graded is counted, and is no zero.
    assert data["train_mean_reward"] == 0.75
    assert data["train_ungraded_count"] == 1.0
    assert data["scores"]["graders"] == [
        {"name": "judge", "type": "score_model", "train_reward_mean": 0.75, "valid_reward_mean": 0.25}
    ]
    assert data["reasoning_tokens_mean"] == 1.0
    assert data["usage"]["samples"]["train_reasoning_tokens_count"] == 3.0
    assert data["valid_reasoning_tokens_mean"] == 2.0
    assert data["timing"]["graders"][0]["train_execution_latency_mean"] == 1.0


def test_the_sentence_has_openais_stray_blank_and_its_validation_only_where_there_was_one() -> None:
    rows = [rollout(grade(0.42))]
    whole = metrics_event(10, 20, {}, rows, evaluation([grade(0.68)]), CHECK)
    assert whole.message == (
        "Step 10/20 , train mean reward=0.42, full validation mean reward=0.68, full validation mean parse error=0.00"
    )
    assert (whole.type, whole.level) == ("metrics", "info")
    assert metrics_event(11, 20, {}, rows, None, CHECK).message == "Step 11/20 , train mean reward=0.42"
    nothing = metrics_event(12, 20, {}, [rollout(grade(None, error="other_error"))], None, CHECK)
    assert nothing.message == "Step 12/20 , train mean reward=n/a"
    base = metrics_event(0, 20, {}, [], evaluation([grade(0.1)]), CHECK)
    assert base.message == "Step 0/20 , full validation mean reward=0.10, full validation mean parse error=0.00"
    assert base.data["train_mean_reward"] is None


def test_without_validation_every_key_of_it_is_null() -> None:
    data = metrics_event(1, 2, {"time/evaluation_seconds": 9.0}, [rollout(grade(1.0))], None, CHECK).data
    there = metrics_event(1, 2, {}, [rollout(grade(1.0))], evaluation([grade(1.0)]), CHECK).data
    assert keys_of(data) == keys_of(there)
    assert data["full_valid_mean_reward"] is data["full_valid_mean_parse_error"] is None
    assert data["timing"]["step"]["eval"] is None
    assert all(value is None for key, value in data["errors"]["graders"][0].items() if key.startswith("valid_"))


def test_a_multi_grader_has_an_entry_for_each_part_and_one_for_its_formula_when_that_fails() -> None:
    grader = {
        "type": "multi",
        "graders": {
            "style": {"type": "python", "source": "…"},
            "truth": {**CHECK, "name": "the truth"},
        },
        "calculate_output": "style / truth",
    }

    def multi(whole: float | None, style: dict[str, Any], truth: dict[str, Any], **more: Any) -> dict[str, Any]:
        return grade(whole, sub_grades={"style": style, "truth": truth}, **more)

    crashed = grade(None, error="python_grader_runtime_error")
    rows = [
        rollout(multi(0.5, grade(0.5), grade(1.0))),
        rollout(multi(None, crashed, grade(0.0), error="python_grader_runtime_error")),
        rollout(multi(None, grade(0.5), grade(0.0), error="other_error")),
        rollout(multi(0.0, grade(0.2), grade(0.0, unparsed=True))),
    ]
    data = metrics_event(1, 2, {}, rows, evaluation([multi(0.0, grade(0.0), grade(0.0, unparsed=True))]), grader).data
    style, truth = data["scores"]["graders"]
    assert (style["name"], style["type"]) == ("style", "python")
    assert (truth["name"], truth["type"]) == ("the truth", "string_check")
    assert style["train_reward_mean"] == pytest.approx(0.4)  # of 0.5, 0.5 and 0.2
    assert truth["train_reward_mean"] == 0.25
    assert data["train_mean_reward"] == 0.25  # of 0.5 and 0.0: two could not be graded
    assert data["train_ungraded_count"] == 2.0
    of_style, of_truth, of_formula = data["errors"]["graders"]
    assert of_style["train_python_grader_runtime_error_count"] == 1.0
    assert of_style["train_python_grader_runtime_error_mean"] == 0.25
    assert of_truth["train_sample_parse_error_count"] == 1.0
    assert (of_formula["name"], of_formula["train_other_error_count"]) == ("multi", 1.0)
    assert data["full_valid_mean_parse_error"] == 1.0


def test_a_failure_that_has_no_counter_of_its_own_is_an_other_error_also_when_it_was_replaced() -> None:
    replaced = grade(0.0, replaced={"kind": "truncated_observation_error", "message": "too long"})
    [told] = metrics_event(1, 2, {}, [rollout(replaced), rollout(grade(1.0))], None, CHECK).data["errors"]["graders"]
    assert told["train_other_error_mean"] == 0.5


def test_an_example_that_is_half_graded_weighs_as_much_as_any_other() -> None:
    valid = evaluation([grade(1.0), grade(None, error="other_error")], [grade(0.0), grade(0.5)])
    data = metrics_event(1, 2, {}, [rollout(grade(1.0))], valid, CHECK).data
    assert data["full_valid_mean_reward"] == data["scores"]["graders"][0]["valid_reward_mean"] == 0.625
    assert (data["valid_ungraded_count"], data["valid_ungraded_mean"]) == (1.0, 0.25)


def test_samples_that_are_not_of_the_response_format_did_not_parse() -> None:
    valid = {**evaluation([grade(1.0), grade(0.0)]), "parse_error_share": 0.5}
    assert metrics_event(1, 2, {}, [rollout(grade(1.0))], valid, CHECK).data["full_valid_mean_parse_error"] == 0.5


def test_a_rollout_that_answers_nothing_is_unresponsive() -> None:
    rows = [rollout(grade(0.0), answer=" \n"), rollout(grade(1.0)), rollout(grade(1.0)), rollout(grade(1.0))]
    assert metrics_event(1, 2, {}, rows, None, CHECK).data["mean_unresponsive_rewards"] == 0.25


def test_what_is_not_finite_becomes_null() -> None:
    data = metrics_event(1, 2, {"policy/loss": float("nan")}, [rollout(grade(1.0))], None, CHECK).data
    assert data["pg_loss_sum"] is None
    json.dumps(data, allow_nan=False)


def test_two_parts_of_one_name_are_told_apart_by_their_keys() -> None:
    grader = {"type": "multi", "graders": {"a": CHECK, "b": CHECK}, "calculate_output": "a + b"}
    row = rollout(grade(1.0, sub_grades={"a": grade(1.0), "b": grade(0.0)}))
    assert [one["name"] for one in metrics_event(1, 2, {}, [row], None, grader).data["scores"]["graders"]] == ["a", "b"]


@pytest.fixture(scope="module")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small steps of the bundled model on the policy example, with its multi grader."""
    from openrft.config.job import read_job
    from openrft.training.progress import Silence
    from openrft.training.run import start_run

    folder = tmp_path_factory.mktemp("job")
    example = EXAMPLES / "policy_review"
    for name, count in (("train", 4), ("valid", 3)):
        lines = (example / f"{name}.jsonl").read_text().splitlines()[:count]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    options = {"num_steps": 4, "batch_size": 2, "group_size": 2, "eval_interval": 2, "eval_samples": 2,
               "max_completion_tokens": 64}  # fmt: skip
    reinforcement = {"grader": json.loads((example / "grader.json").read_text()), "hyperparameters": options}
    job = {"model": "openrft-tiny", "training_file": "train.jsonl", "validation_file": "valid.jsonl",
           "method": {"type": "reinforcement", "reinforcement": reinforcement}}  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    start_run(read_job(folder / "job.json"), folder / "run", Silence())
    return folder / "run"


def events_of(run: Path) -> list[tuple[dict[str, Any], Any]]:
    grader = json.loads((run / "job.json").read_text())["method"]["reinforcement"]["grader"]
    found = []
    for line in (run / "metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        path = run / f"rollouts/step-{metrics['step']:06d}.jsonl"
        rows = [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []
        valid = run / f"evaluations/step-{metrics['step']:06d}-valid-sampled.json"
        measured = json.loads(valid.read_text()) if valid.exists() else None
        found.append((metrics, metrics_event(metrics["step"], 4, metrics, rows, measured, grader)))
    return found


def test_a_real_run_records_nothing_that_the_docs_do_not_tell(real_run: Path, repository: Path) -> None:
    plain, patterns = documented_metrics(repository)
    recorded = {name for metrics, _ in events_of(real_run) for name in metrics} - {"step"}
    unknown = {name for name in recorded - plain if not any(pattern.fullmatch(name) for pattern in patterns)}
    assert unknown == set()
    assert {"rollout/total", "policy/chi2_to_sampler", "optimizer/relative_update"} <= recorded


def test_a_real_run_tells_the_same_numbers_in_both_languages(real_run: Path) -> None:
    events = events_of(real_run)
    assert [event.data["full_valid_mean_reward"] is not None for _, event in events] == [True, False, True, False, True]
    for metrics, event in events[1:]:
        data = event.data
        assert data["train_mean_reward"] == metrics["reward/mean"]
        assert data["completion_tokens_mean"] == metrics["rollout/completion_tokens_mean"]
        for part in data["scores"]["graders"]:
            assert part["train_reward_mean"] == pytest.approx(metrics[f"grade/{part['name']}/mean"])
        timing = data["timing"]["step"]
        assert timing["full_iteration"] >= metrics["time/step_seconds"]
        assert timing["sampling"] + timing["training"] == pytest.approx(
            metrics["time/step_seconds"] - metrics["time/other_seconds"]
        )
    metrics, event = events[-1]
    parts = {part["name"]: part["valid_reward_mean"] for part in event.data["scores"]["graders"]}
    assert 0.5 * parts["compliant"] + 0.5 * parts["explanation"] == pytest.approx(metrics["valid/reward_mean"])
    assert all(part["valid_execution_latency_mean"] > 0 for part in event.data["timing"]["graders"])


def test_the_result_file_has_a_row_for_each_step_and_blanks_where_nothing_was_measured(real_run: Path) -> None:
    datas = [event.data for _, event in events_of(real_run)]
    text = result_csv(list(reversed(datas)))
    assert text.startswith(
        "step,train_mean_reward,full_valid_mean_reward,completion_tokens_mean,reasoning_tokens_mean,"
        "mean_unresponsive_rewards,sampling_duration,training_duration,eval_duration,total_duration,"
        "pg_loss_sum,total_loss_sum,entropy_loss_sum,scores/graders/string_check/compliant/train_reward_mean,"
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[0]["train_mean_reward"] == rows[1]["full_valid_mean_reward"] == rows[3]["eval_duration"] == ""
    assert float(rows[4]["full_valid_mean_reward"]) == datas[4]["full_valid_mean_reward"]
    assert rows[1]["errors/graders/text_similarity/explanation/errors/train_sample_parse_error_mean"] == "0.0"
    assert rows[2]["scores/graders/text_similarity/explanation/valid_reward_mean"] != ""
