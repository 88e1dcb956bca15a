"""Supervised jobs in the worker: what one makes, and that kills, pauses and other machines change nothing of it."""

import csv

import pytest

import worker_jobs as kit
from openrft import faults
from openrft.config.home import home_at
from openrft.store import open_store
from openrft.worker import exits
from openrft.worker.insist import Insist
from openrft.worker.validate import validate

LENGTH = {
    "type": "python",
    "name": "length",
    "source": "def grade(sample, item):\n    return len(sample['output_text']) / 100",
}

# Nothing is sampled, the policy does not collapse, and the folder is never rebuilt where it is.
NOT_PASSED = {"mirror.rollouts_written", "guard.gone_back", "restore.began", "restore.rebuilt"}


@pytest.fixture(scope="module")
def calm(one_thread_each, tmp_path_factory):
    """The outcome of the usual supervised job when nothing disturbs it."""
    home = home_at(tmp_path_factory.mktemp("calm"))
    with open_store(home.database_url, artifacts=home.artifacts) as store:
        job = kit.create_supervised_job(store, store.projects.create("calm").id)
        with kit.working(store, home):
            assert kit.ended(store, job).status == "succeeded"
        assert kit.unreferenced(store, job) == []
        return kit.outcome(store, job)


def events_of(outcome, kind):
    return [text for found, text in outcome["events"] if found == kind]


def table_of(store, job):
    [file_id] = job.result_files
    with store.files.open(job.project_id, file_id) as file:
        return list(csv.DictReader(file.read().decode().splitlines()))


def test_a_supervised_job_tells_its_losses_in_openais_words(calm):
    assert calm["job"][:3] == ("succeeded", 6, 6)
    told = events_of(calm, "metrics")
    assert len(told) == 7
    assert told[0].startswith("Step 0/6: validation loss=")
    assert told[1].startswith("Step 1/6: training loss=") and "validation" not in told[1]
    assert ", validation loss=" in told[2] and ", full validation loss=" in told[2]
    losses = [row["train/loss"] for row in calm["metrics"] if "train/loss" in row]
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert calm["metrics"][6]["valid/loss"] < calm["metrics"][0]["valid/loss"]
    assert calm["job"][4] == sum(row.get("train/tokens", 0) for row in calm["metrics"]) > 0  # trained_tokens


def test_its_checkpoints_carry_what_was_measured_and_nothing_was_sampled(calm):
    assert (calm["rollouts"], calm["evals"]) == ({}, [])
    assert {name.rpartition("-")[2] for name in calm["evaluations"]} == {"loss.json"}
    assert 1 <= len(calm["checkpoints"]) <= 4
    for (step, _), (_, metrics) in calm["checkpoints"].items():
        row = calm["metrics"][step]
        assert metrics["full_valid_loss"] == metrics["valid_loss"] == row["valid/loss"]
        assert metrics["full_valid_mean_token_accuracy"] == row["valid/token_accuracy"]
        assert metrics["train_loss"] == row["train/loss"]


@pytest.mark.slow
def test_a_kill_at_each_point_of_the_code_changes_nothing(tmp_path, calm):
    points = [point for point in faults.POINTS if point not in NOT_PASSED]
    database = f"sqlite:///{tmp_path}/openrft.db"
    with open_store(database, artifacts=tmp_path / "artifacts") as store:
        job = kit.create_supervised_job(store, store.projects.create("first").id)
        planned = [f"{point}:1" for point in points]
        told = kit.in_forks(store, job, database, str(tmp_path / "artifacts"), [tmp_path / "home"], faults=planned)
        assert [one["fault"] for one in told if one["code"] == -9] == planned
        assert kit.outcome(store, job) == calm


@pytest.mark.slow
def test_one_that_is_killed_ends_in_the_same_weights_here_and_on_another_machine(store, home, project, calm, tmp_path):
    job = kit.create_supervised_job(store, project.id)
    homes = [tmp_path / "this", tmp_path / "that", tmp_path / "that"]
    planned = ["mirror.checkpoint_recorded:2", "mirror.step_recorded:2"]
    told = kit.in_forks(store, job, home.database_url, home.artifacts, homes, faults=planned)
    assert [one["code"] for one in told] == [-9, -9, exits.DONE]
    assert "resumed after step 2 of 6" in kit.messages(store, job)
    assert kit.outcome(store, job) == calm


@pytest.mark.slow  # as one of reinforcement does in test_worker.py
def test_a_paused_one_goes_on_and_ends_like_one_that_was_left_alone(store, home, project, calm):
    job = kit.create_supervised_job(store, project.id)
    with kit.working(store, home):
        kit.at_step(store, job, 1)
        store.jobs.pause(project.id, job.id)
        now = kit.until(lambda: _unless_running(store, job), 30)
        if now.status == "paused":  # it may have been faster
            assert now.checkpoint_step == now.step
            store.jobs.resume(project.id, job.id)
        assert kit.ended(store, job).status == "succeeded"
    assert kit.outcome(store, job) == calm


def _unless_running(store, job):
    now = store.jobs.get(job.project_id, job.id)
    return None if now.status == "running" else now


def test_a_grader_makes_an_eval_of_the_validation_and_picks_the_checkpoints(store, home, project):
    job = kit.create_supervised_job(store, project.id, grader=LENGTH, num_steps=4)
    with kit.working(store, home):
        done = kit.ended(store, job)
    assert done.status == "succeeded", kit.messages(store, job)
    assert [run.name for run in kit.runs_of(store, job)] == ["Step 0", "Step 2", "Step 4"]
    [held] = [one for one in store.evals.list(project.id, limit=10).items if one.job_id == job.id]
    assert held.name == f"Supervised Fine Tuning validation runs for {job.id}"
    rows = table_of(store, done)
    assert [row["step"] for row in rows if row["full_valid_mean_reward"]] == ["0", "2", "4"]
    assert [row["step"] for row in rows if row["train_loss"]] == ["1", "2", "3", "4"]
    for point in store.checkpoints.list(project.id, job.id).items:
        assert isinstance(point.metrics["full_valid_mean_reward"], float)


@pytest.mark.slow
def test_one_without_a_validation_file_ships_its_last_step(store, home, project):
    job = kit.create_supervised_job(store, project.id, files={"training_file": kit.answered(12, 0)})
    with kit.working(store, home):
        done = kit.ended(store, job)
    assert done.status == "succeeded", kit.messages(store, job)
    points = store.checkpoints.list(project.id, job.id).items
    assert points[0].model_name == done.fine_tuned_model and points[0].step == 6
    assert [point.step for point in points[1:]] == [6]
    assert not any("valid_loss" in point.metrics for point in points)
    assert f"Validating training file: {job.training_file}" in kit.messages(store, job)
    assert all(row["valid_loss"] == "" for row in table_of(store, done))


@pytest.mark.parametrize(
    ("role", "data", "code", "parts"),
    [
        ("training_file", kit.rows(12, 0), "invalid_training_file", ["a reinforcement fine-tuning file", "method"]),
        ("validation_file", kit.rows(4, 0), "invalid_validation_file", ["a reinforcement fine-tuning file"]),
        ("training_file", kit.answered(7, 0), "invalid_n_examples", ["7 example(s), but must have at least 10"]),
        (
            "training_file",
            kit.answered(12, 0) + b'{"messages": [{"role": "assistant", "content": "a", "weight": 2}]}\n',
            "invalid_training_file",
            ['Line 13, key "messages[0].weight"', "0 or 1"],
        ),
    ],
    ids=["prompts only", "prompts only in validation", "too few", "weight"],
)
def test_wrong_files_fail_the_job_with_their_problem(store, project, tmp_path, role, data, code, parts):
    good = {"training_file": kit.answered(12, 0), "validation_file": kit.answered(4, 100)}
    job = kit.create_supervised_job(store, project.id, files={**good, role: data})
    validate(store, job, tmp_path, Insist(lambda: None))
    done = store.jobs.get(project.id, job.id)
    assert (done.status, done.error.code, done.error.param) == ("failed", code, role)
    assert [part for part in parts if part not in done.error.message] == []


def test_a_supervised_file_in_a_reinforcement_job_is_named(store, project, tmp_path):
    job = kit.create_job(store, project.id, train=kit.answered(12, 0))
    validate(store, job, tmp_path, Insist(lambda: None))
    error = store.jobs.get(project.id, job.id).error
    assert (error.code, error.param) == ("invalid_training_file", "training_file")
    assert "a supervised fine-tuning file" in error.message


@pytest.mark.parametrize("role", ["training_file", "validation_file"])
def test_a_grader_of_held_out_answers_is_checked_against_their_rows_only(store, project, tmp_path, role):
    reads = {**LENGTH, "type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.key}}"}
    grader = {**{name: reads[name] for name in ("type", "name", "input", "reference")}, "operation": "eq"}
    keyed = kit.answered(12, 0).replace(b'{"messages"', b'{"key": "1", "messages"')
    files = {"training_file": kit.answered(12, 0), "validation_file": keyed}
    if role == "validation_file":
        files = {"training_file": keyed, "validation_file": kit.answered(4, 100)}
    job = kit.create_supervised_job(store, project.id, grader=grader, files=files)
    validate(store, job, tmp_path, Insist(lambda: None))
    done = store.jobs.get(project.id, job.id)
    if role == "training_file":  # it lacks the key, and nothing of it is graded
        assert done.status == "queued", done.error
        return
    assert done.error.param == "method.supervised.grader.reference"
    assert f"validation file {job.validation_file}" in done.error.message
