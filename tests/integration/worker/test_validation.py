"""The files of a new job are read by a process of its own, before the job is queued."""

import json
import os
import signal

import pytest

import worker_jobs as kit
from openrft.worker.insist import Insist
from openrft.worker.validate import validate
from openrft.worker.validators import MOST_TRIES, Validators

GOOD = kit.rows(12, 0)


def bad(*lines):
    return GOOD + b"".join(line + b"\n" for line in lines)


@pytest.mark.parametrize(
    ("train", "code", "parts"),
    [
        (
            bad(b"{not json"),
            "invalid_file_format",
            ["a file format error in the training file", "Line 13", "one JSON object"],
        ),
        (bad(b'{"messages": []}'), "invalid_training_file", ["an invalid training file", 'Line 13, key "messages"']),
        (
            bad(b'{"messages": [{"role": "user", "content": 7}], "n": 1}', b"[1]"),
            "invalid_training_file",
            ['Line 13, key "messages[0].content"', "the number 7", "Line 14"],
        ),
        (b"\n", "invalid_n_examples", ["Training file has", "at least 1 example"]),
        (
            b'{"prompt": "a", "completion": "b"}\n' * 3,
            "invalid_training_file",
            ["a file of prompt/completion pairs"],
        ),
    ],
    ids=["json", "row", "rows", "empty", "other format"],
)
def test_wrong_files_fail_the_job_and_the_line_is_named(store, project, tmp_path, train, code, parts):
    job = kit.create_job(store, project.id, train=train)
    validate(store, job, tmp_path, Insist(lambda: None))
    done = store.jobs.get(project.id, job.id)
    assert (done.status, done.error.code, done.error.param) == ("failed", code, "training_file")
    assert [part for part in parts if part not in done.error.message] == []
    assert str(tmp_path) not in done.error.message
    assert kit.messages(store, job)[1:] == [
        f"Validating training file: {job.training_file} and validation file: {job.validation_file}",
        done.error.message,
    ]


def test_a_grader_that_asks_for_what_rows_do_not_have_fails_the_job(store, project, tmp_path):
    grader = {
        "type": "string_check", "name": "g", "operation": "eq", "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
    }  # fmt: skip
    job = kit.create_job(store, project.id, grader=grader)
    validate(store, job, tmp_path, Insist(lambda: None))
    error = store.jobs.get(project.id, job.id).error
    assert error.param == "method.reinforcement.grader.reference"
    assert f"training file {job.training_file}" in error.message and "first in line 1" in error.message


def test_a_monitor_grader_is_checked_against_the_rows_that_it_grades(store, project, tmp_path):
    monitor = {
        "type": "string_check", "name": "g", "operation": "eq", "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
    }  # fmt: skip
    job = kit.create_job(store, project.id, monitor=monitor)
    validate(store, job, tmp_path, Insist(lambda: None))
    error = store.jobs.get(project.id, job.id).error
    assert error.param == "method.reinforcement.monitor_grader.reference"
    assert f"validation file {job.validation_file}" in error.message


def test_what_deserves_a_word_is_an_event_and_the_job_is_queued(store, project, tmp_path):
    job = kit.create_job(store, project.id, train=GOOD + kit.rows(1, 100))
    for _ in range(2):  # done again by another worker, it says nothing twice
        validate(store, job, tmp_path, Insist(lambda: None))
    assert store.jobs.get(project.id, job.id).status == "queued"
    told = store.events.tail(project.id, job.id)
    assert [event.level for event in told] == ["info", "info", "warn", "info"]
    assert f"validation file {job.validation_file}, line 1" in told[2].message
    assert f"training file {job.training_file}: line 1 (there 13)" in told[2].message
    assert told[3].message == "Files validated, moving job to queued state"


def test_a_file_that_was_deleted_meanwhile_fails_the_job(store, project, tmp_path):
    job = kit.create_job(store, project.id)
    store.files.delete(project.id, job.training_file)
    validate(store, job, tmp_path, Insist(lambda: None))
    assert "No such File object" in store.jobs.get(project.id, job.id).error.message


def test_a_validator_that_is_killed_is_run_again(store, home, project):
    job = kit.create_job(store, project.id)
    validators = kit.validators_of(store, home)
    try:
        validators.look()
        pid = json.loads((home.jobs / job.id / "validate.pid").read_bytes())["pid"]
        os.kill(pid, signal.SIGKILL)
        kit.until(lambda: validators.look() or store.jobs.get(project.id, job.id).status == "queued", 30)
    finally:
        validators.stop()
    assert kit.messages(store, job).count("Files validated, moving job to queued state") == 1


def test_files_that_kill_every_validator_fail_their_job_and_no_other(store, home, project):
    job = kit.create_job(store, project.id)
    validators = kit.validators_of(store, home)
    validators._pause_seconds = 0.0
    try:
        for _ in range(MOST_TRIES):
            validators.look()
            os.kill(json.loads((home.jobs / job.id / "validate.pid").read_bytes())["pid"], signal.SIGKILL)
            kit.until(lambda: validators._child.poll() is not None)
        other = kit.create_job(store, project.id)
        kit.until(lambda: validators.look() or store.jobs.get(project.id, other.id).status == "queued", 30)
    finally:
        validators.stop()
    done = store.jobs.get(project.id, job.id)
    assert (done.status, done.error.code) == ("failed", "validation_failed")
    assert isinstance(validators, Validators)
