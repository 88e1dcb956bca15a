"""A worker over real jobs: what it makes, and what people ask of it while it works."""

import csv
import signal
import time

import pytest

import worker_jobs as kit
from openrft.config.settings import Settings
from openrft.errors import InvalidRequest, UngradedError
from openrft.worker import exits
from openrft.worker.attempt import _Attempt
from openrft.worker.pulse import Pulse
from openrft.worker.supervisor import Supervisor

# More steps than a test waits for.
LONG = {"num_steps": 60, "eval_interval": 20}


def weights_of(outcome):
    return {key: value for key, (value, _) in outcome["checkpoints"].items()}


@pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
def test_a_job_ends_with_its_model_events_checkpoints_and_results(store, home, project):
    job = kit.create_job(store, project.id)
    with kit.working(store, home) as worker:
        done = kit.ended(store, job)
        assert [row.owner for row in store.workers.list_alive()] == [worker.owner]
        logs = {"attempt.log", "validate.log"}
        kit.until(lambda: {path.name for path in (home.jobs / job.id).iterdir()} == logs, 10)
    assert store.workers.list_alive() == []
    told = kit.messages(store, job)
    names = [row.model_name for row in store.checkpoints.list(project.id, job.id, limit=20).items]
    assert done.status == "succeeded"
    assert done.fine_tuned_model.startswith("ft:openrft-tiny:openrft:mine:")
    assert done.fine_tuned_model == names[0]
    assert {name.rpartition(":")[2] for name in names[1:]} == {"ckpt-step-2", "ckpt-step-4", "ckpt-step-6"}
    assert told[:4] == [
        f"Created fine-tuning job: {job.id}",
        f"Validating training file: {job.training_file} and validation file: {job.validation_file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    assert told[-2:] == [
        f"New fine-tuned model created: {done.fine_tuned_model}",
        "The job has successfully completed",
    ]
    assert f"Checkpoint created at step 2 with Snapshot ID: {names[3]}" in told
    assert [step.step for step in store.steps.list(project.id, job.id)] == list(range(7))
    assert done.resolved["hyperparameters"]["num_steps"] == 6
    results = store.files.get(project.id, done.result_files[0])
    assert results.purpose == "fine-tune-results"
    with store.files.open(project.id, results.id) as file:
        table = list(csv.DictReader(file.read().decode().splitlines()))
    assert [int(row["step"]) for row in table] == list(range(7))
    documents = store.artifacts.list(f"jobs/{job.id}/documents")
    assert {key.rpartition("/")[2] for key in documents} >= {"job.json", "config.json", "report.md", "report.json"}
    assert not any(str(home.path).encode() in kit.read(store, key) for key in documents)
    assert kit.unreferenced(store, job) == []


def test_the_base_is_evaluated_once_for_a_projects_jobs_on_the_same_rows(store, home, project):
    others = store.projects.create("second")
    short = {"num_steps": 1, "eval_interval": 1}
    jobs = [
        kit.create_job(store, project.id, **short),
        kit.create_job(store, project.id, **short, learning_rate=0.001),
        kit.create_job(store, others.id, **short),
    ]
    with kit.working(store, home):
        assert [kit.ended(store, job).status for job in jobs] == ["succeeded"] * 3
    told = [[text for text in kit.messages(store, job) if text.startswith("base evaluation of")] for job in jobs]
    assert [len(said) for said in told] == [0, 3, 0]  # whether somebody evaluated these rows is no other project's
    assert told[1][0].startswith("base evaluation of 4 valid rows (sampled) reused from ")
    outcomes = [kit.outcome(store, job) for job in jobs]
    bases = [
        {name: content for name, content in outcome["evaluations"].items() if name.startswith("step-000000")}
        for outcome in outcomes
    ]
    assert len(bases[0]) == 3
    assert bases[0] == bases[1] == bases[2]
    assert outcomes[0]["metrics"][0] == outcomes[1]["metrics"][0]


def test_a_paused_job_is_resumed_and_ends_like_one_that_was_left_alone(store, home, project, calm):
    job = kit.create_job(store, project.id)
    with kit.working(store, home):
        kit.at_step(store, job, 2)
        store.jobs.pause(project.id, job.id)
        kit.until(lambda: store.jobs.get(project.id, job.id).status == "paused", 20)
        paused = store.jobs.get(project.id, job.id)
        assert paused.checkpoint_step == paused.step  # nothing that was computed is lost
        store.jobs.resume(project.id, job.id)
        assert kit.ended(store, job).status == "succeeded"
    assert weights_of(kit.outcome(store, job)) == weights_of(calm)
    assert kit.outcome(store, job)["rollouts"] == calm["rollouts"]
    assert "The job was paused" in kit.messages(store, job)


@pytest.mark.parametrize("phase", ["queued", "loading", "training", "pausing"])
def test_a_cancelled_job_is_over_within_ten_seconds(home, project, store, phase):
    job = kit.create_job(store, project.id, **LONG)
    if phase == "queued":
        store.jobs.accept(project.id, job.id)
        assert store.jobs.cancel(project.id, job.id).status == "cancelled"
        return
    with kit.working(store, home):
        if phase == "loading":
            kit.until(lambda: store.jobs.get(project.id, job.id).status == "running")
        else:
            kit.at_step(store, job, 2)
        if phase == "pausing":
            store.jobs.pause(project.id, job.id)
        began = time.monotonic()
        store.jobs.cancel(project.id, job.id)
        kit.until(lambda: store.jobs.get(project.id, job.id).status == "cancelled", 10)
        assert time.monotonic() - began < 10
        kit.until(lambda: not (home.jobs / job.id / "run").exists(), 10)
    kept = store.checkpoints.list(project.id, job.id).items
    assert all(kit.weights(store, row.artifact) for row in kept)
    assert phase == "loading" or kept
    assert kit.messages(store, job)[-1] == "The job was cancelled"


def test_a_worker_that_is_told_to_end_gives_its_job_back_and_the_next_one_ends_it(store, home, project, calm):
    job = kit.create_job(store, project.id)
    with kit.processes() as start:
        worker = start(home)
        kit.at_step(store, job, 1)
        child = worker.child(job)
        assert worker.end(signal.SIGTERM) == 0
        assert not kit.is_running(child)
        between = store.jobs.get(project.id, job.id)
        assert (between.status, between.crash_count, between.lost_count) == ("queued", 0, 0)
        assert between.checkpoint_step == between.step
        start(home)
        assert kit.ended(store, job).attempts == 2
    assert weights_of(kit.outcome(store, job)) == weights_of(calm)


def test_a_second_worker_in_the_same_folder_is_refused(store, home):
    with kit.working(store, home) as worker:
        kit.until(store.workers.list_alive)
        second = Supervisor(store, home, worker._settings)
        with pytest.raises(InvalidRequest, match="another openrft worker"):
            second.run(None)


def test_a_job_that_kills_its_process_has_failed_after_three_attempts_and_says_why(store, home, project, monkeypatch):
    monkeypatch.setenv("OPENRFT_FAULTS", "attempt.files_ready:1")
    job = kit.create_job(store, project.id)
    with kit.working(store, home):
        done = kit.ended(store, job)
    assert (done.status, done.attempts, done.error.code) == ("failed", 3, "worker_killed")
    assert "ended by SIGKILL" in done.error.message
    assert kit.messages(store, job)[-1] == done.error.message


def test_a_job_whose_grader_stays_away_is_paused_and_one_whose_grader_is_wrong_has_failed(store, home, project):
    for is_outage, status in [(True, "paused"), (False, "failed")]:
        job = kit.create_job(store, project.id)
        store.jobs.accept(project.id, job.id)
        epoch = store.queue.claim("worker").lease.epoch
        brief = Supervisor(store, home, Settings())._brief(project.id, job.id, epoch)
        error = UngradedError("all of 12 rollouts could not be graded", is_outage=is_outage)
        assert _Attempt(brief, store, Pulse(None))._failed(error) == exits.DONE
        assert store.jobs.get(project.id, job.id).status == status
        assert "all of 12 rollouts could not be graded" in kit.messages(store, job)[-1]
        assert "--resume" not in kit.messages(store, job)[-1]


def test_a_job_that_cannot_be_done_has_failed_at_once(store, home, project):
    job = kit.create_job(store, project.id, max_completion_tokens=100_000)
    with kit.working(store, home):
        done = kit.ended(store, job)
    assert (done.status, done.attempts) == ("failed", 1)
    assert done.error.param == "method.reinforcement.hyperparameters.max_completion_tokens"
    assert kit.messages(store, job)[-1] == done.error.message
