"""A job of the server with a tracker: it follows whatever attempt is at work, and outlives the job's own folder."""

import pytest

import worker_jobs as kit


def test_a_jobs_event_files_stay_in_the_servers_home(store, home, project):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    job = kit.create_job(store, project.id, integrations=[{"type": "tensorboard"}])
    with kit.working(store, home):
        done = kit.ended(store, job)
    assert done.status == "succeeded"
    [path] = (home.path / "tensorboard" / job.id).iterdir()
    assert path.name.endswith(f".openrft-{job.id}")
    events = list(EventFileLoader(str(path)).Load())
    steps = [event.step for event in events for value in event.summary.value if value.tag == "reward/mean"]
    assert steps == [1, 2, 3, 4, 5, 6]
    [config] = [value for event in events for value in event.summary.value if value.tag == "config"]
    assert str(home.path).encode() not in config.tensor.string_val[0]
