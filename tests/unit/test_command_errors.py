"""How the command tells an error: a sentence for people, OpenAI's envelope for programs, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import openrft.cli
from openrft.cli.grade import read_outputs
from openrft.cli.run import override
from openrft.config.job import Job
from openrft.errors import DatasetError, InvalidRequest, JobInterrupted, Problem

PROBLEM = Problem(file="a.jsonl", line=3, key="output", code="missing", expected="text", found="null", fix="Write it.")

CASES: list[tuple[BaseException, int, dict[str, Any]]] = [
    (
        InvalidRequest("wrong seed", param="seed"),
        1,
        {"message": "wrong seed", "type": "invalid_request_error", "param": "seed", "code": "invalid_value"},
    ),
    (
        JobInterrupted("saved at step 3"),
        3,
        {"message": "saved at step 3", "type": "server_error", "param": None, "code": "interrupted"},
    ),
    (
        PermissionError(13, "Permission denied", "/runs"),
        1,
        {
            "message": "[Errno 13] Permission denied: '/runs'",
            "type": "server_error",
            "param": None,
            "code": "os_error",
        },
    ),
    (
        KeyboardInterrupt(),
        130,
        {
            "message": "stopped at once; what was saved before is kept",
            "type": "server_error",
            "param": None,
            "code": "stopped",
        },
    ),
    (
        DatasetError([PROBLEM], param="outputs"),
        1,
        {
            "message": '1 problem in the data:\n  a.jsonl, line 3, key "output": expected text, found null. Write it.',
            "type": "invalid_request_error",
            "param": "outputs",
            "code": "invalid_training_file",
            "problems": [
                {
                    "file": "a.jsonl",
                    "line": 3,
                    "key": "output",
                    "code": "missing",
                    "expected": "text",
                    "found": "null",
                    "fix": "Write it.",
                }
            ],
        },
    ),
]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs ``openrft models``, in which the given error happens; its exit code."""

    def run(error: BaseException, *options: str) -> int:
        def fail() -> None:
            raise error

        monkeypatch.setattr("openrft.cli.models.bundled_models", fail)
        monkeypatch.setattr("sys.argv", ["openrft", "models", *options])
        with pytest.raises(SystemExit) as stopped:
            openrft.cli.main()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code

    return run


@pytest.mark.parametrize(("error", "code", "expected"), CASES, ids=lambda value: type(value).__name__)
def test_with_json_every_error_is_one_object_in_openais_envelope(
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    expected: dict[str, Any],
) -> None:
    assert command(error, "--json") == code
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"type": "error", "error": expected}
    assert printed.err == ""


@pytest.mark.parametrize(("error", "code", "expected"), CASES, ids=lambda value: type(value).__name__)
def test_without_json_every_error_is_a_sentence_on_stderr(
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    expected: dict[str, Any],
) -> None:
    assert command(error) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {expected['message']}\n"


def test_outputs_are_cut_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "outputs.jsonl"
    outputs = ["a\u2028b", "c\u0085d", "e\u2029f"]
    rows = [json.dumps({"item": {}, "output": output}, ensure_ascii=False) for output in outputs]
    path.write_bytes("\r\n".join([rows[0], "", *rows[1:]]).encode("utf-8"))
    assert read_outputs(path) == [(1, {}, "a\u2028b"), (3, {}, "c\u0085d"), (4, {}, "e\u2029f")]


def test_outputs_that_are_not_utf_8_or_not_json_are_told_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "outputs.jsonl"
    good = b'{"item": {}, "output": "x"}\n'
    path.write_bytes(good + b'{"item": {}, "output": "caf\xe9"}\n' + good + b"[" * 200_000 + b"\n")
    with pytest.raises(DatasetError) as caught:
        read_outputs(path)
    assert [(problem.line, problem.code, problem.found) for problem in caught.value.problems] == [
        (2, "invalid_encoding", "byte 0xe9 at byte 28 of the line"),
        (4, "invalid_output_row", "[" * 60),
    ]


def test_a_setting_of_the_command_line_is_one_of_the_job_s_own_method() -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}
    job = Job.model_validate({"model": "m", "training_file": "t", "method": method})
    changed = override(job, seed=7, model=None, settings=["batch_size=4", "n_epochs=auto"])
    hyperparameters = changed.method.options.hyperparameters
    assert (changed.seed, hyperparameters.batch_size, hyperparameters.n_epochs) == (7, 4, "auto")
    with pytest.raises(InvalidRequest, match=r"method\.supervised\.hyperparameters\.group_size: unknown key"):
        override(job, seed=None, model=None, settings=["group_size=4"])


def test_a_model_of_the_command_line_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "openrft-tiny"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    grader = {"type": "string_check", "input": "a", "reference": "a", "operation": "eq"}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    job = Job.model_validate({"model": "m", "training_file": "t", "validation_file": "v", "method": method})
    kept = {
        name: override(job, seed=None, model=name, settings=[]).model
        for name in ("mine", "openrft-tiny", "Qwen/Qwen3-0.6B")
    }
    assert kept == {
        "mine": str(tmp_path / "mine"),
        "openrft-tiny": "openrft-tiny",
        "Qwen/Qwen3-0.6B": "Qwen/Qwen3-0.6B",
    }
