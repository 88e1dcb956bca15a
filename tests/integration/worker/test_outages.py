"""A store that is locked, away or full, and artifacts out of reach: the job waits, and ends as if nothing had been."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import worker_jobs as kit
from openrft.config.home import home_at
from openrft.store import open_store
from openrft.worker import exits
from openrft.worker.supervisor import Pace


def weights_of(outcome):
    return {key: value for key, (value, _) in outcome["checkpoints"].items()}


@pytest.mark.slow
def test_a_locked_database_is_waited_for(store, home, project, calm):
    job = kit.create_job(store, project.id)
    with kit.working(store, home, pace=Pace(lease=30, beat=0.3, tick=0.05, look=0.1)):
        kit.at_step(store, job, 1)
        done = threading.Event()
        holder = threading.Thread(target=store.database.write, args=[lambda _: done.wait(12)])
        holder.start()  # longer than a write waits for its turn
        holder.join()
        assert kit.ended(store, job).attempts == 1
    assert kit.outcome(store, job) == calm


def on_postgres(postgres, tmp_path):
    name = postgres.create_database()
    return home_at(tmp_path / "home", database_url=postgres.url(name))


def test_a_database_that_is_away_for_a_moment_costs_that_moment(postgres, tmp_path, calm):
    home = on_postgres(postgres, tmp_path)
    with open_store(home.database_url, artifacts=home.artifacts) as store:
        job = kit.create_job(store, store.projects.create("first").id)
        with kit.working(store, home, pace=Pace(lease=15, beat=0.3, tick=0.05, look=0.1)):
            kit.at_step(store, job, 1)
            postgres.halt()
            time.sleep(3)
            postgres.go_on()
            assert kit.ended(store, job).attempts == 1
        assert kit.outcome(store, job) == calm


@pytest.mark.slow
def test_a_worker_that_cannot_renew_its_lease_ends_the_attempt_before_the_lease_ends(postgres, tmp_path, calm):
    home = on_postgres(postgres, tmp_path)
    with open_store(home.database_url, artifacts=home.artifacts) as store:
        job = kit.create_job(store, store.projects.create("first").id)
        with kit.working(store, home, pace=Pace(lease=6, beat=0.3, tick=0.05, look=0.1)):
            kit.at_step(store, job, 1)
            child = json.loads((home.jobs / job.id / "attempt.pid").read_bytes())["pid"]
            postgres.halt()
            halted = time.monotonic()
            kit.until(lambda: not kit.is_running(child), 10)
            assert time.monotonic() - halted < 6
            time.sleep(max(0.0, 7 - (time.monotonic() - halted)))
            postgres.go_on()
            done = kit.ended(store, job)
        assert (done.status, done.attempts, done.crash_count) == ("succeeded", 2, 0)
        assert kit.outcome(store, job) == calm


@pytest.mark.parametrize(
    "scheme", [pytest.param("", marks=pytest.mark.slow), "local://"], ids=["folder", "object store"]
)
def test_artifacts_out_of_reach_are_waited_for(tmp_path, calm, scheme):
    place = tmp_path / "artifacts"
    home = home_at(tmp_path / "home", artifacts=f"{scheme}{place}")
    with open_store(home.database_url, artifacts=home.artifacts) as store:
        project = store.projects.create("first")
        job = kit.create_job(store, project.id)
        with kit.working(store, home):
            kit.at_step(store, job, 1)
            place.rename(tmp_path / "away")
            place.write_text("no folder")
            time.sleep(4)
            stands = store.jobs.get(project.id, job.id)
            assert (stands.status, stands.attempts) == ("running", 1)
            place.unlink()
            (tmp_path / "away").rename(place)
            assert kit.ended(store, job).attempts == 1
        assert kit.outcome(store, job) == calm
        assert any("did not take a write" in text for text in kit.messages(store, job))


@pytest.mark.parametrize(
    "point",
    [
        "checkpoint.files_written",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("run.rollouts_written", "attempt.files_ready")),
    ],
)
def test_a_full_disk_ends_the_attempt_and_not_the_job(store, home, project, calm, tmp_path, point):
    job = kit.create_job(store, project.id)
    told = kit.in_forks(store, job, home.database_url, home.artifacts, [tmp_path / "m"], faults=[f"{point}:1=full"])
    assert [one["code"] for one in told] == [exits.FULL, exits.DONE]
    assert kit.outcome(store, job) == calm


def test_a_run_folder_on_a_full_disk_is_no_end_and_no_crash(store, home, project, calm, tmp_path):
    small = home_at(tmp_path / "small", database_url=home.database_url, artifacts=home.artifacts)
    before = on_a_disk_of(100, small.path)
    if before is None:
        pytest.skip("this machine lets us mount no small disk")
    job = kit.create_job(store, project.id)
    with kit.processes() as start:
        worker = start(small, before=before, reserve=20_000_000)
        kit.at_step(store, job, 1)
        seen = Path(f"/proc/{worker.process.pid}/root{small.path}")  # its mounts are its own
        fill(seen / "ballast", leave=4_000_000)
        kit.until(lambda: any("disk is full" in text for text in kit.messages(store, job)), 30)
        kit.until(lambda: any(text.startswith("The job waits") for text in kit.messages(store, job)), 30)
        stands = store.jobs.get(project.id, job.id)
        assert (stands.status, stands.crash_count, stands.lost_count) == ("queued", 0, 0)
        (seen / "ballast").unlink()
        assert kit.ended(store, job).status == "succeeded"
    assert kit.outcome(store, job) == calm


def on_a_disk_of(megabytes, folder):
    """The beginning of a command that sees ``folder`` as a small disk, in mounts of its own; None if not allowed."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None or os.geteuid() != 0:
        return None
    script = f'mount -t tmpfs -o size={megabytes}m tmpfs "{folder}" && exec "$@"'
    before = ("unshare", "-m", "sh", "-c", script, "sh")
    return before if subprocess.run([*before, "true"], capture_output=True, check=False).returncode == 0 else None


def fill(path, *, leave):
    """Write until nothing fits any more, then give ``leave`` bytes back: others write meanwhile."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"x" * 1_000_000):
                pass
        file.truncate(file.tell() - leave)


def test_no_job_is_begun_on_a_disk_that_is_nearly_full_and_it_begins_by_itself_later(store, home, project):
    free = shutil.disk_usage(home.path).free
    job = kit.create_job(store, project.id)
    with kit.working(store, home, reserve_bytes=2 * free) as worker:
        said = kit.until(lambda: [text for text in kit.messages(store, job) if text.startswith("The job waits")])
        time.sleep(1)
        # Told once, with what is free now.
        assert len([text for text in kit.messages(store, job) if text.startswith("The job waits")]) == len(said) == 1
        assert store.jobs.get(project.id, job.id).status == "queued"
        worker._reserve = kit.ROOMY
        kit.until(lambda: store.jobs.get(project.id, job.id).status == "running", 10)
        store.jobs.cancel(project.id, job.id)
        assert kit.ended(store, job).status == "cancelled"
