"""A job document is read strictly, with the field named when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openrft.config.job import Job, absolute_model, read_job
from openrft.config.reinforcement import ReinforcementHyperparameters
from openrft.errors import InvalidRequest

GRADER = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "yes", "operation": "eq"}


def document(**changes: Any) -> dict[str, Any]:
    reinforcement = {"grader": GRADER, "hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}
    plain = {
        "model": "openrft-tiny",
        "training_file": "train.jsonl",
        "validation_file": "valid.jsonl",
        "method": {"type": "reinforcement", "reinforcement": reinforcement},
    }
    return {**plain, **changes}


def read(tmp_path: Path, data: Any) -> Job:
    path = tmp_path / "job.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return read_job(path)


def test_files_are_taken_relative_to_the_job_and_survive_being_written_and_read_again(tmp_path: Path) -> None:
    job = read(tmp_path, document(test_file="sub/test.jsonl"))
    assert job.training_file == str(tmp_path / "train.jsonl")
    assert job.test_file == str(tmp_path / "sub" / "test.jsonl")
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_a_model_is_ours_first_then_a_folder_beside_the_job_then_a_name_on_the_hub(tmp_path: Path) -> None:
    for folder in ("openrft-tiny", "mine", "Qwen/local"):
        (tmp_path / folder).mkdir(parents=True)
    found = {
        name: read(tmp_path, document(model=name)).model
        for name in ("openrft-tiny", "./openrft-tiny", "mine", "Qwen/local", "Qwen/Qwen3-0.6B", "./nowhere")
    }
    assert found == {
        "openrft-tiny": "openrft-tiny",
        "./openrft-tiny": str(tmp_path / "openrft-tiny"),
        "mine": str(tmp_path / "mine"),
        "Qwen/local": str(tmp_path / "Qwen" / "local"),
        "Qwen/Qwen3-0.6B": "Qwen/Qwen3-0.6B",
        "./nowhere": "./nowhere",
    }


def test_a_folder_below_one_of_a_bundled_models_name_is_still_a_folder(tmp_path: Path) -> None:
    (tmp_path / "openrft-runs" / "model").mkdir(parents=True)
    assert absolute_model("openrft-runs/model", tmp_path) == str(tmp_path / "openrft-runs" / "model")


def test_a_model_below_the_home_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert absolute_model("~/mine", Path("elsewhere")) == str(tmp_path / "mine")


def test_an_empty_model_is_refused_and_not_taken_for_the_folder_of_the_job(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^model: String should have at least 1 character"):
        read(tmp_path, document(model=""))


def test_a_grader_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "grader.json").write_text(json.dumps(GRADER))
    method = {"type": "reinforcement", "reinforcement": {"grader": "grader.json"}}
    assert read(tmp_path, document(method=method)).method.reinforcement.grader.operation == "eq"


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"n_epoch": 3}, "method.reinforcement.hyperparameters.n_epoch: unknown key"),
        ({"batch_size": 0}, "method.reinforcement.hyperparameters.batch_size"),
        ({"algorithm": "ppo"}, "method.reinforcement.hyperparameters.algorithm"),
        ({"n_epochs": 2, "num_steps": 5}, "give one and leave the other auto"),
        ({"n_epochs": "many"}, r"^method\.reinforcement\.hyperparameters\.n_epochs: .*, or 'auto' \(found 'many'\)$"),
    ],
)
def test_a_wrong_hyperparameter_is_named_with_its_path(
    tmp_path: Path, hyperparameters: dict[str, Any], message: str
) -> None:
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": hyperparameters}}
    with pytest.raises(InvalidRequest, match=message):
        read(tmp_path, document(method=method))


SUPERVISED = {"type": "supervised", "supervised": {}}


def test_a_reinforcement_job_needs_a_validation_file_and_a_supervised_one_does_not(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^validation_file: missing") as caught:
        read(tmp_path, {key: value for key, value in document().items() if key != "validation_file"})
    assert caught.value.param == "validation_file"
    supervised = {"model": "m", "training_file": "t.jsonl", "method": SUPERVISED}
    assert read(tmp_path, supervised).validation_file is None


def test_a_supervised_job_may_have_a_grader_also_by_its_file(tmp_path: Path) -> None:
    assert read(tmp_path, document(method=SUPERVISED)).method.options.grader is None
    (tmp_path / "grader.json").write_text(json.dumps(GRADER))
    method = {"type": "supervised", "supervised": {"grader": "grader.json"}}
    job = read(tmp_path, document(method=method))
    assert job.method.options.grader.operation == "eq"
    assert Job.model_validate(job.model_dump(mode="json")) == job
    wrong = {"type": "supervised", "supervised": {"grader": {**GRADER, "operation": "equals"}}}
    with pytest.raises(InvalidRequest, match=r"method\.supervised\.grader\.operation"):
        read(tmp_path, document(method=wrong))


def test_a_supervised_job_has_no_hyperparameters_of_sampling_groups(tmp_path: Path) -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"group_size": 8}}}
    with pytest.raises(InvalidRequest, match=r"method\.supervised\.hyperparameters\.group_size: unknown key"):
        read(tmp_path, document(method=method))


def test_preference_jobs_are_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"dpo.*not available yet.*supervised"):
        read(tmp_path, document(method={"type": "dpo", "dpo": {}}))


def test_a_wrong_grader_is_named_with_its_path(tmp_path: Path) -> None:
    method = {"type": "reinforcement", "reinforcement": {"grader": {**GRADER, "operation": "equals"}}}
    with pytest.raises(InvalidRequest, match=r"method\.reinforcement\.grader\.operation"):
        read(tmp_path, document(method=method))


@pytest.mark.parametrize("later", ["tools", "max_episode_steps"])
def test_what_openai_knows_and_this_release_does_not_is_refused_by_name(tmp_path: Path, later: str) -> None:
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER, later: {"x": 1}}}
    with pytest.raises(InvalidRequest, match=f"method.reinforcement.{later} is not available yet"):
        read(tmp_path, document(method=method))


def test_a_file_that_is_not_json_is_told_with_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"job\.json is not JSON: .* at line 2, column 1"):
        read(tmp_path, '{"model": "x",\n}')


def test_the_table_of_hyperparameters_in_the_docs_names_every_one(repository: Path) -> None:
    text = (repository / "docs" / "training.md").read_text(encoding="utf-8")
    missing = [name for name in ReinforcementHyperparameters.model_fields if f"`{name}`" not in text]
    assert missing == []


@pytest.mark.parametrize("key", ["model", "training_file", "test_file"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{key}: holds a NUL") as refusal:
        read(tmp_path, document(**{key: "~some\0one"}))
    assert refusal.value.param == key


def test_a_file_without_a_name_is_missing_and_not_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="training_file"):
        read(tmp_path, document(training_file=""))
