"""The command line as a user meets it: real processes, real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from model_server import ModelServer
from random_models import write_random_model

GRADER = {
    "type": "string_check",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "like",
}


def openrft(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "openrft", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A user's own folder: data, grader, job, and no model yet."""
    for name, count in (("train", 8), ("valid", 4)):
        rows = [{"messages": [{"role": "user", "content": f"{name} {i}"}], "answer": "e"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "grader.json").write_text(json.dumps(GRADER))
    write_job(tmp_path, model="model")
    return tmp_path


def write_job(folder: Path, *, model: str, **more: object) -> None:
    hyperparameters = {"num_steps": 2, "batch_size": 2, "group_size": 4, "max_completion_tokens": 8}
    job = {
        "model": model,
        "training_file": "train.jsonl",
        "validation_file": "valid.jsonl",
        "method": {
            "type": "reinforcement",
            "reinforcement": {"grader": "grader.json", "hyperparameters": hyperparameters},
        },
        **more,
    }
    (folder / "job.json").write_text(json.dumps(job))


@pytest.mark.parametrize("kind", ["llama", pytest.param("gemma2", marks=pytest.mark.slow)])
def test_a_users_own_model_data_and_grader_run_from_start_to_export(task: Path, kind: str) -> None:
    write_random_model(task / "model", kind, chat_template=kind == "llama")
    done = openrft("run", task / "job.json", "--dir", task / "run", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["step"] for line in lines if line["type"] == "step"] == [0, 1, 2]
    assert lines[-1]["type"] == "report"
    assert lines[-1]["report"]["rows_kind"] == "validation"  # there was no test file, and the report says so
    assert "correction" in lines[-1]["report"]["selection"]
    assert lines[-1]["report"]["leakage"] == {"rows": [], "is_complete": True, "without": None}
    assert any("no chat template" in line.get("message", "") for line in lines) == (kind != "llama")
    AutoModelForCausalLM.from_pretrained(task / "run" / "model")
    exported = json.loads(openrft("export", task / "run", "--to", task / "out", "--step", 2, "--json").stdout)
    assert exported["step"] == 2
    answers = json.loads(openrft("chat", task / "out", "-p", "hello", "-n", 2, "--max-tokens", 4, "--json").stdout)
    assert len(answers["answers"]) == 2
    report = json.loads(
        openrft(
            "eval", "--model", task / "out", "--base", task / "model", "--data", task / "valid.jsonl",
            "--grader", task / "grader.json", "--samples", 2, "--max-tokens", 8, "--slice", "answer", "--json",
        ).stdout.splitlines()[-1]
    )["report"]  # fmt: skip
    assert {comparison["mode"] for comparison in report["comparisons"]} == {"greedy", "sampled"}
    assert [(one["key"], one["value"], one["num_rows"]) for one in report["slices"]] == [("answer", "e", 4)]


def test_rows_that_are_trained_on_are_told_before_and_after_training(task: Path) -> None:
    write_random_model(task / "model", "qwen3")
    rows = [{"messages": [{"role": "user", "content": text}], "answer": "e"} for text in ("TRAIN 3?", "valid 1")]
    (task / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = openrft("data", "validate", task / "train.jsonl", task / "valid.jsonl")
    assert "1 of 2 rows with nearly the prompt of a row of" in done.stdout
    done = openrft("run", task / "job.json", "--dir", task / "run", "--json")
    assert "1 of 2 rows with nearly the prompt of a row of" in done.stdout
    leakage = json.loads((task / "run" / "report.json").read_text())["leakage"]
    assert [(row["line"], row["train_line"], row["is_same"]) for row in leakage["rows"]] == [(1, 4, False)]
    assert leakage["without"]["paired"]["num_examples"] == 1
    assert "line 1: nearly the same as training line 4" in (task / "run" / "report.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base", "openrft-tiny", "--slice", "topic"], "slice 'topic': no row has such a key"),
        (["--slice", "answer"], "--slice compares two models"),
    ],
)
def test_slices_that_cannot_be_are_refused_before_anything_is_sampled(
    task: Path, options: list[str], message: str
) -> None:
    files = ("--data", task / "valid.jsonl", "--grader", task / "grader.json")
    assert message in openrft("eval", "--model", "openrft-tiny", *files, *options, code=1).stderr


def test_plain_output_is_readable_lines_and_says_where_things_are(task: Path) -> None:
    write_random_model(task / "model", "qwen3")
    done = openrft("run", task / "job.json", "--dir", task / "run", "--set", "algorithm=grpo", "--seed", 3)
    assert "step    2/2  reward" in done.stdout
    assert "valid 0." in done.stdout
    assert str(task / "run" / "report.md") in done.stdout.replace("\n", "")
    config = json.loads((task / "run" / "config.json").read_text())
    assert (config["seed"], config["hyperparameters"]["algorithm"]) == (3, "grpo")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "no-such-model"}, "unknown model 'no-such-model'; use a bundled model"),
        ({"model": "./nowhere"}, "does not exist"),
        ({"training_file": "nothing.jsonl"}, "nothing.jsonl"),
        ({"trainig_file": "x"}, "trainig_file: unknown key"),
        ({"method": {"type": "dpo", "dpo": {}}}, "not available yet"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_job_is_an_error_that_names_what_is_wrong_and_nothing_is_left_behind(
    task: Path, change: dict[str, object], message: str
) -> None:
    write_job(task, **{"model": "model", **change})  # type: ignore[arg-type]
    write_random_model(task / "model", "llama")
    done = openrft("run", task / "job.json", "--dir", task / "run", code=1)
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (task / "run").exists()


def test_with_json_an_error_has_the_shape_of_the_api(task: Path) -> None:
    write_job(task, model="no-such-model")
    done = openrft("run", task / "job.json", "--json", "--dir", task / "run", code=1)
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "model_not_found")


def test_with_json_a_file_of_bad_rows_is_one_object_that_lists_every_problem(task: Path) -> None:
    (task / "outputs.jsonl").write_bytes(b'{"item": {}}\n{"item": {}, "output": "caf\xe9"}\n')
    done = openrft("grade", task / "grader.json", task / "outputs.jsonl", "--json", code=1)
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert answer["type"] == "error"
    assert [(problem["line"], problem["code"]) for problem in answer["error"]["problems"]] == [
        (1, "invalid_output_row"),
        (2, "invalid_encoding"),
    ]


def test_with_json_a_folder_that_cannot_be_made_has_the_shape_of_the_api_too(task: Path) -> None:
    write_random_model(task / "model", "llama")
    (task / "file").write_text("")
    done = openrft("run", task / "job.json", "--dir", task / "file" / "run", "--json", code=1)
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert (error["type"], error["code"]) == ("server_error", "os_error")
    assert "file/run" in error["message"]


@pytest.mark.slow
def test_a_relative_model_of_the_command_line_is_kept_so_that_resume_works_from_anywhere(task: Path) -> None:
    write_random_model(task / "other", "llama")
    write_job(task, model="openrft-tiny")
    openrft("run", "job.json", "--dir", "run", "--model", "other", cwd=task)
    assert json.loads((task / "run" / "job.json").read_text())["model"] == str(task / "other")
    (task / "elsewhere").mkdir()
    openrft("run", "--resume", task / "run", cwd=task / "elsewhere")


def test_the_folder_of_a_run_in_place_of_a_model_is_an_error_that_names_the_model(task: Path) -> None:
    write_random_model(task / "run" / "model", "llama")
    for name in ("job.json", "config.json"):
        (task / "run" / name).write_text("{}")
    done = openrft("chat", task / "run", "-p", "hello", code=1)
    assert done.stderr == f"error: {task}/run is the folder of a run; its model is {task}/run/model\n"


def test_every_bad_row_is_listed_with_its_line(task: Path) -> None:
    train = task / "train.jsonl"
    rows = train.read_text().splitlines()
    rows[2], rows[5] = '{"messages": []}', "not json"
    train.write_text("\n".join(rows) + "\n")
    done = openrft("data", "validate", train, code=1)
    assert "line 3" in done.stdout
    assert "line 6" in done.stdout


def test_grade_explains_scores_and_exits_with_1_when_one_failed(task: Path) -> None:
    outputs = task / "outputs.jsonl"
    outputs.write_text('{"item": {"answer": "e"}, "output": "yes"}\n{"item": {}, "output": "x"}\n')
    done = openrft("grade", task / "grader.json", outputs, "--json", code=1)
    first, second, summary = map(json.loads, done.stdout.splitlines())
    assert (first["type"], second["type"], summary["type"]) == ("grade", "grade", "summary")
    assert first["score"] == 1.0
    assert second["score"] is None
    assert second["error"]["kind"] == "invalid_variable_error"
    assert (summary["graded"], summary["replaced"], summary["failed"], summary["mean"]) == (1, 0, 1, 1.0)
    assert openrft("grade", task / "grader.json", "--item", '{"answer": "z"}', "--output", "y").returncode == 0


def test_grade_counts_a_failure_that_invalid_grade_stands_in_for_as_failed(task: Path) -> None:
    (task / "grader.json").write_text(json.dumps({**GRADER, "invalid_grade": 0.5}))
    outputs = task / "outputs.jsonl"
    outputs.write_text('{"item": {"answer": "e"}, "output": "yes"}\n{"item": {}, "output": "x"}\n')
    done = openrft("grade", task / "grader.json", outputs, code=1)
    _, second, summary = done.stdout.splitlines()
    assert second.startswith("    2    0.5000 (failed)  string_check: invalid_grade 0.5 was given because")
    assert summary == "2 graded, 1 of them by invalid_grade after a failure, mean 0.750, 0 failed"
    done = openrft("grade", task / "grader.json", outputs, "--json", code=1)
    _, second, summary = map(json.loads, done.stdout.splitlines())
    assert (second["score"], second["replaced"]["kind"]) == (0.5, "invalid_variable_error")
    assert (summary["graded"], summary["replaced"], summary["failed"]) == (2, 1, 0)


def test_grade_says_what_a_model_spent(task: Path) -> None:
    judge = {"type": "score_model", "model": "judge", "input": [{"role": "user", "content": "{{sample.output_text}}"}]}
    (task / "grader.json").write_text(json.dumps(judge))
    (task / "outputs.jsonl").write_text("".join(f'{{"item": {{}}, "output": "{text}"}}\n' for text in "abc"))
    with ModelServer() as server:  # 100 + 10 tokens for each
        table = f'[grader_models.judge]\nbase_url = "{server.base_url}"\ninput_price = 1.0\noutput_price = 2.0\n'
        (task / "openrft.toml").write_text(table)
        plain = openrft("grade", "grader.json", "outputs.jsonl", cwd=task)
        lines = openrft("grade", "grader.json", "outputs.jsonl", "--json", cwd=task).stdout.splitlines()
    assert plain.stdout.splitlines()[-1] == "judge: 300 + 30 tokens (0 cached), cost 0.000360"
    first, *_, summary = map(json.loads, lines)
    assert first["usage"]["judge"]["prompt_tokens"] == 100
    assert summary["usage"]["judge"] == {
        "prompt_tokens": 300,
        "completion_tokens": 30,
        "cached_tokens": 0,
        "cost": pytest.approx(0.00036),
    }


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(task: Path) -> None:
    write_random_model(task / "model", "llama")
    (task / "file").write_text("")
    done = openrft("run", task / "job.json", "--dir", task / "file" / "run", code=1)
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_models_lists_the_bundled_ones() -> None:
    names = [model["name"] for model in json.loads(openrft("models", "--json").stdout)]
    assert names == ["openrft-tiny", "openrft-small"]


def test_a_profile_holds_every_step_and_the_operators_of_some_and_the_run_says_where_its_time_went(task: Path) -> None:
    write_job(task, model="openrft-tiny")
    done = openrft(
        "run", task / "job.json", "--dir", task / "run", "--set", "num_steps=3", "--profile", "--profile-steps", 1
    )
    profile = task / "run" / "profile"
    names = {"trace.json", "steps.svg", "operators.txt", "operators-step-000002.json"}
    assert {path.name for path in profile.iterdir()} == names
    events = json.loads((profile / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert [span["name"] for span in spans if span["cat"] == "steps"] == ["step 1", "step 2", "step 3"]
    assert {"sampling", "grading", "update", "evaluation", "record", "checkpoint", "report"} <= {
        span["cat"] for span in spans
    }
    # Of three steps, of four validations and test passes: every answer was graded in a span.
    assert sum(span["args"]["answers"] for span in spans if span["cat"] == "grading") >= 3 * 8 + 4 * 4
    operators = json.loads((profile / "operators-step-000002.json").read_text())["traceEvents"]
    assert any(event["name"].startswith("aten::") and event["dur"] > 0 for event in operators if event["ph"] == "X")
    assert "aten::" in (profile / "operators.txt").read_text()
    steps = [json.loads(line) for line in (task / "run" / "metrics.jsonl").read_text().splitlines()][1:]
    for metrics in steps:
        parts = ("sampling", "grading", "waiting", "update", "other")
        assert sum(metrics[f"time/{part}_seconds"] for part in parts) == pytest.approx(metrics["time/step_seconds"])
    report = json.loads((task / "run" / "report.json").read_text())
    phases = {phase["name"]: phase["seconds"] for phase in report["time_spent"]["phases"]}
    assert phases["sampling"] == pytest.approx(sum(metrics["time/sampling_seconds"] for metrics in steps))
    assert phases["grading in the loop"] > 0  # string_check grades in the loop
    assert sum(phases.values()) == pytest.approx(report["time_spent"]["seconds"])
    assert "## Where the time went" in (task / "run" / "report.md").read_text()
    told = done.stdout.partition("phase ")[2]
    assert "sampling" in told
    assert "100.0%" in told
    assert str(profile) in done.stdout.replace("\n", "")


def test_profile_steps_without_a_profile_are_refused(task: Path) -> None:
    done = openrft("run", task / "job.json", "--profile-steps", 1, code=1)
    assert "--profile-steps belongs to --profile" in done.stderr
