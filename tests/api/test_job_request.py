"""Creating a job: what is taken, how it is kept, and what is refused by its name."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import ReinforcementHyperparameters, ReinforcementMethod
from openai.types.graders import StringCheckGrader

from openrft.config.settings import ServedModel, ServerSettings, Settings
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import GRADER, body, method, run_by_hand, supervised, upload

HYPER = "method.reinforcement.hyperparameters"
GRADER_PATH = "method.reinforcement.grader"


@pytest.fixture
def settings() -> Settings:
    return Settings(
        aliases={"o4-mini": "openrft-tiny", "o4-mini-2025-04-16": "o4-mini", "elsewhere": "vllm"},
        served_models={"vllm": ServedModel(base_url="http://127.0.0.1:1/v1")},
        server=ServerSettings(),
    )


def refused(client: openai.OpenAI, **changes: Any) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(**body(client, **changes))
    return caught.value


def test_typed_objects_of_the_client_make_the_job_of_openais_reference(client, store: Store, project: Project) -> None:
    grader = StringCheckGrader(
        input="{{sample.output_text}}", name="Example string check grader", operation="eq",
        reference="{{item.label}}", type="string_check",
    )  # fmt: skip
    typed = ReinforcementMethod(grader=grader, hyperparameters=ReinforcementHyperparameters(reasoning_effort="medium"))
    asked = body(client, model="o4-mini", seed=42, method={"type": "reinforcement", "reinforcement": typed})
    job = client.fine_tuning.jobs.create(**asked)
    assert job.to_dict() == {
        "object": "fine_tuning.job", "id": job.id, "model": "o4-mini", "created_at": job.created_at,
        "finished_at": None, "fine_tuned_model": None, "organization_id": "org-openrft", "result_files": [],
        "status": "validating_files", "validation_file": asked["validation_file"],
        "training_file": asked["training_file"], "trained_tokens": None, "error": {}, "user_provided_suffix": None,
        "seed": 42, "estimated_finish": None, "integrations": [],
        "method": {"type": "reinforcement", "reinforcement": {
            "hyperparameters": {
                "batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto", "eval_interval": "auto",
                "eval_samples": "auto", "compute_multiplier": "auto", "reasoning_effort": "medium",
            },
            "grader": grader.to_dict(), "response_format": None,
        }},
        "metadata": None, "usage_metrics": None, "shared_with_openai": False, "eval_id": None,
    }  # fmt: skip
    assert abs(job.created_at - time.time()) < 60
    assert job.hyperparameters is None
    spec = store.jobs.get(project.id, job.id).spec
    assert spec["base_model"] == spec["document"]["model"] == "openrft-tiny"
    assert spec["document"]["training_file"] == asked["training_file"]
    assert spec["document"]["seed"] == 42


def test_nulls_are_the_same_as_nothing_and_a_seed_is_drawn_and_told(client) -> None:
    hyperparameters = {
        "n_epochs": 5,
        "compute_multiplier": 1,
        "eval_samples": 3,
        "eval_interval": 5,
        "batch_size": None,
    }
    asked = method(hyperparameters=hyperparameters, response_format=None, tools=None, max_episode_steps=None)
    made = body(client, method={**asked, "dpo": None}, suffix=None, seed=None, metadata=None, integrations=None)
    first = client.fine_tuning.jobs.create(**made)
    second = client.fine_tuning.jobs.create(**made)
    assert 0 <= first.seed < 2**31 and 0 <= second.seed < 2**31
    assert first.seed != second.seed  # one time in two thousand million they are equal
    shown = first.method.reinforcement.hyperparameters
    assert (shown.n_epochs, shown.batch_size, shown.eval_samples, shown.eval_interval) == (5, "auto", 3, 5)
    assert first.method.reinforcement.response_format is None


def test_our_own_options_and_a_test_file_are_kept_and_echoed(client, store: Store, project: Project) -> None:
    test_file = upload(client)
    options = {"algorithm": "grpo", "num_steps": 7, "test_file": test_file}
    asked = body(client, method=method(hyperparameters=options), suffix="sums", metadata={"team": "a"})
    job = client.fine_tuning.jobs.create(**asked)
    shown = job.method.reinforcement.hyperparameters.to_dict()
    assert (shown["algorithm"], shown["num_steps"], shown["test_file"]) == ("grpo", 7, test_file)
    assert (job.user_provided_suffix, job.metadata) == ("sums", {"team": "a"})
    document = store.jobs.get(project.id, job.id).spec["document"]
    assert document["test_file"] == test_file
    assert document["method"]["reinforcement"]["hyperparameters"]["num_steps"] == 7


def test_the_response_format_is_echoed_and_run(client, store: Store, project: Project) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
              "additionalProperties": False}  # fmt: skip
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    job = client.fine_tuning.jobs.create(**body(client, method=method(response_format=shape)))
    assert job.method.reinforcement.response_format == shape
    kept = store.jobs.get(project.id, job.id).spec["document"]["method"]["reinforcement"]["response_format"]
    assert kept["json_schema"]["schema"] == schema


def test_a_job_without_a_method_is_a_supervised_one(client, store: Store, project: Project) -> None:
    training_file = upload(client)
    job = client.fine_tuning.jobs.create(model="openrft-tiny", training_file=training_file)
    auto = {"batch_size": "auto", "learning_rate_multiplier": "auto", "n_epochs": "auto"}
    shown = job.to_dict()
    assert shown["method"] == {"type": "supervised", "supervised": {"hyperparameters": auto}}
    assert shown["hyperparameters"] == auto
    assert (job.validation_file, job.status) == (None, "validating_files")
    document = store.jobs.get(project.id, job.id).spec["document"]
    assert (document["method"]["type"], document["validation_file"]) == ("supervised", None)


@pytest.mark.parametrize(
    "asked",
    [
        {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": None}}}},
        {"method": {"type": "supervised", "supervised": None}, "hyperparameters": {"n_epochs": 2}},
        {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}},
    ],
    ids=["in the method", "at the top", "without a method"],
)
def test_hyperparameters_of_a_supervised_job_are_taken_and_shown_in_both_places(client, asked: dict[str, Any]) -> None:
    job = client.fine_tuning.jobs.create(model="openrft-tiny", training_file=upload(client), **asked)
    for shown in (job.hyperparameters, job.method.supervised.hyperparameters):
        assert (shown.n_epochs, shown.batch_size, shown.learning_rate_multiplier) == (2, "auto", "auto")


def test_a_supervised_job_shows_numbers_once_the_worker_has_chosen_them(client, store: Store, project: Project) -> None:
    job = client.fine_tuning.jobs.create(model="openrft-tiny", training_file=upload(client))
    lease = run_by_hand(store, project.id, job.id)
    chosen = {"n_epochs": 3.0, "batch_size": 4, "learning_rate": 0.001}
    store.queue.set_resolved(lease, {"hyperparameters": chosen, "reasons": {}})
    now = client.fine_tuning.jobs.retrieve(job.id).hyperparameters
    assert (now.n_epochs, now.batch_size, now.learning_rate_multiplier) == (3, 4, 1.0)


def test_a_grader_and_a_test_file_of_a_supervised_job_are_kept_and_echoed(
    client, store: Store, project: Project
) -> None:
    test_file = upload(client)
    asked = supervised(test_file=test_file, num_steps=7)
    asked["supervised"]["grader"] = GRADER
    job = client.fine_tuning.jobs.create(**body(client, method=asked))
    shown = job.method.supervised.to_dict()
    assert (shown["grader"], shown["hyperparameters"]["test_file"]) == (GRADER, test_file)
    document = store.jobs.get(project.id, job.id).spec["document"]
    assert document["test_file"] == test_file
    assert document["method"]["supervised"]["hyperparameters"]["num_steps"] == 7


def test_a_monitor_grader_is_kept_and_echoed_with_its_headers_masked(client, store: Store, project: Project) -> None:
    monitor = {"type": "endpoint", "url": "https://grade.example/x", "headers": {"X-Key": "very secret"}}
    job = client.fine_tuning.jobs.create(**body(client, method=method(monitor_grader=monitor)))
    assert job.method.reinforcement.to_dict()["monitor_grader"]["headers"] == {"X-Key": "**********"}
    kept = store.jobs.get(project.id, job.id).spec["document"]["method"]["reinforcement"]["monitor_grader"]
    assert kept["headers"] == {"X-Key": "very secret"}


def test_azures_training_type_is_ignored(client) -> None:
    job = client.fine_tuning.jobs.create(**body(client), extra_body={"trainingType": "GlobalStandard"})
    assert job.status == "validating_files"


def test_headers_of_an_endpoint_grader_are_never_shown_but_kept(client, store: Store, project: Project) -> None:
    endpoint = {"type": "endpoint", "url": "https://grade.example/x", "headers": {"X-Key": "very secret"}}
    multi = {"type": "multi", "graders": {"a": endpoint}, "calculate_output": "a"}
    job = client.fine_tuning.jobs.create(
        **body(client, method={"type": "reinforcement", "reinforcement": {"grader": multi}})
    )
    for shown in (job, client.fine_tuning.jobs.retrieve(job.id), client.fine_tuning.jobs.list().data[0]):
        assert shown.method.reinforcement.grader.graders["a"]["headers"] == {"X-Key": "**********"}
        assert "very secret" not in repr(shown)
    kept = store.jobs.get(project.id, job.id).spec["document"]["method"]["reinforcement"]["grader"]
    assert kept["graders"]["a"]["headers"] == {"X-Key": "very secret"}


def test_a_fine_tuned_model_can_be_trained_on(client, store: Store, project: Project) -> None:
    first = client.fine_tuning.jobs.create(**body(client))
    lease = run_by_hand(store, project.id, first.id)
    name = "ft:openrft-tiny:openrft::AbCd1234"
    store.checkpoints.record(lease, 10, model_name=name, artifact=f"jobs/{first.id}/model", metrics={})
    second = client.fine_tuning.jobs.create(**body(client, model=name))
    assert second.model == name
    assert store.jobs.get(project.id, second.id).spec["base_model"] == name


def test_an_unknown_model_is_a_400_that_says_how_to_map_it(client) -> None:
    error = refused(client, model="gpt-9")
    assert (error.param, error.code) == ("model", "model_not_found")
    assert "openrft serve --alias gpt-9=openrft-tiny" in error.message
    assert "[aliases]" in error.message and '"gpt-9" = "openrft-tiny"' in error.message
    assert refused(client, model="ft:openrft-tiny:openrft::zzzzzzzz").param == "model"


def test_a_model_that_another_server_answers_for_cannot_be_trained(client) -> None:
    assert "served elsewhere" in refused(client, model="elsewhere").message


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"method": {"type": "dpo", "dpo": {}}}, "method.type", "'dpo' fine-tuning is not available yet"),
        ({"method": {"type": "magic"}}, "method.type", "Supported values are: 'reinforcement' and 'supervised'"),
        ({"method": {"type": "reinforcement"}}, "method.reinforcement", "Missing required parameter"),
        ({"method": {**method(), "supervised": {}}}, "method.supervised", "leave it out"),
        ({"validation_file": None}, "validation_file", "Missing required parameter: 'validation_file'. A"),
        ({"training_file": "file-nothing"}, "training_file", "there is no file 'file-nothing' in this project"),
        ({"training_file": 3}, "training_file", "expected a string, but got an integer"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"seed": True}, "seed", "expected an integer, but got a boolean"),
        ({"suffix": ""}, "suffix", "at least 1 character"),
        ({"suffix": "x" * 65}, "suffix", "at most 64 characters"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "at most 16"),
        ({"metadata": {"k" * 65: "v"}}, None, "at most 64 characters"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "at most 512 characters"),
        ({"metadata": {"k": 1}}, "metadata.k", "expected a string"),
        ({"hyperparameters": {"n_epochs": 3}}, "hyperparameters", f"write them into '{HYPER}'"),
        ({"method": method(tools=[{"name": "t"}])}, "method.reinforcement.tools", "not available yet"),
        ({"method": method(max_episode_steps=10)}, "method.reinforcement.max_episode_steps", "not available yet"),
        ({"method": method(hyperparameters={"n_epoch": 1})}, HYPER + ".n_epoch", "Unknown"),
        ({"method": method(hyperparameters={"n_epochs": 0})}, HYPER + ".n_epochs", "greater"),
        ({"method": method(hyperparameters=3)}, HYPER, "expected an object"),
        ({"method": method(hyperparameters={"test_file": 3})}, HYPER + ".test_file", "string"),
        ({"method": method(gradr={})}, "method.reinforcement.gradr", "Unknown parameter"),
        (
            {"method": method(monitor_grader={**GRADER, "input": "{{sample.no}}"})},
            "method.reinforcement.monitor_grader.input",
            "no",
        ),
        ({"method": {"type": "supervised", "reinforcement": {}}}, "method.reinforcement", "type is 'supervised'"),
        ({"method": supervised(n_epoch=1)}, "method.supervised.hyperparameters.n_epoch", "Unknown"),
        ({"method": supervised(group_size=4)}, "method.supervised.hyperparameters.group_size", "Unknown"),
        ({"method": supervised(test_file=3)}, "method.supervised.hyperparameters.test_file", "string"),
        ({"method": supervised(test_file="file-no")}, "method.supervised.hyperparameters.test_file", "no file"),
        (
            {"method": supervised(n_epochs=1), "hyperparameters": {"n_epochs": 2}},
            "hyperparameters",
            "at the top and in 'method.supervised.hyperparameters'",
        ),
        (
            {"method": {"type": "supervised", "supervised": {"grader": GRADER}}, "validation_file": None},
            "validation_file",
            "'method.supervised.grader' grades answers to its prompts",
        ),
        ({"method": None, "hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "greater"),
        (
            {"method": {"type": "supervised", "supervised": {"grader": {**GRADER, "operation": "is"}}}},
            "method.supervised.grader.operation",
            "'eq'",
        ),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method.reinforcement.grader", "Missing"),
        ({"method": method(grader="exact")}, "method.reinforcement.grader", "expected an object, but got a string"),
        ({"method": method(grader={**GRADER, "operation": "is"})}, GRADER_PATH + ".operation", "'eq'"),
        ({"method": method(grader={**GRADER, "input": "{{sample.nothing}}"})}, GRADER_PATH + ".input", "nothing"),
        (
            {"method": method(grader={"type": "multi", "graders": {"a": GRADER}, "calculate_output": "a +"})},
            GRADER_PATH + ".calculate_output",
            "a +",
        ),
        (
            {"method": method(grader={"type": "python", "source": "def grade(sample): pass"})},
            GRADER_PATH + ".source",
            "two",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_path(client, changes: dict[str, Any], param: str | None, words: str) -> None:
    error = refused(client, **changes)
    assert words in error.message
    if param is not None:
        assert error.param == param
    assert client.fine_tuning.jobs.list().data == []


@pytest.mark.parametrize("name", ["test_file", "etest_samples"])
def test_unknown_parameters_at_the_top_are_named(client, name: str) -> None:
    with pytest.raises(openai.BadRequestError, match=f"Unknown parameter: '{name}'") as caught:
        client.fine_tuning.jobs.create(**body(client), extra_body={name: "file-x"})
    assert (caught.value.param, caught.value.code) == (name, "unknown_parameter")


def test_a_file_of_another_purpose_or_project_is_refused(client, other_client) -> None:
    error = refused(client, validation_file=upload(client, "evals"))
    assert error.param == "validation_file"
    assert "has the purpose 'evals'" in error.message
    assert "no file" in refused(client, training_file=upload(other_client)).message


def test_a_job_is_created_at_once(client) -> None:
    asked = body(client)
    started = time.perf_counter()
    client.fine_tuning.jobs.create(**asked)
    assert time.perf_counter() - started < 2
