"""A job whose attempts are killed ends like one that was left alone: nothing is lost, and nothing is there twice."""

import random

import pytest

import worker_jobs as kit
from openrft import faults
from openrft.store import open_store
from openrft.store.sweep import sweep_orphans
from worker_kills import KillLoop

# A run folder is rebuilt when the job has a checkpoint and comes to a machine that did not make the attempt before.
REBUILDING = ["restore.began", "restore.rebuilt"]
# What this healthy job never passes; tests/integration/test_collapse.py kills a run there.
NOT_PASSED = ["guard.gone_back"]


def each_point_once(store, project, database, artifacts, homes, calm, points):
    job = kit.create_job(store, project.id)
    # Once more after the last checkpoint, when no later one tidies up.
    points = [again for point in points for again in [point] * (1 + (point == "mirror.checkpoint_forgotten"))]
    planned = [f"{point}:1" for point in points]
    told = kit.in_forks(store, job, database, artifacts, homes, faults=planned)
    assert [one["fault"] for one in told if one["code"] == -9] == planned
    assert kit.outcome(store, job) == calm
    # What the killed attempts left behind is told apart from what counts, and removed.
    assert kit.unreferenced(store, job) != []
    assert sweep_orphans(store) != []
    assert kit.unreferenced(store, job) == []
    assert kit.outcome(store, job) == calm


def test_a_kill_at_each_point_of_the_code_changes_nothing(tmp_path, calm):
    points = [point for point in faults.POINTS if point not in (*REBUILDING, *NOT_PASSED)]
    database = f"sqlite:///{tmp_path}/openrft.db"
    with open_store(database, artifacts=tmp_path / "artifacts") as store:
        project = store.projects.create("first")
        each_point_once(store, project, database, str(tmp_path / "artifacts"), [tmp_path / "home"], calm, points)


@pytest.mark.slow  # as above, on PostgreSQL
def test_so_does_one_after_which_another_machine_goes_on(tmp_path, calm, postgres):
    points = [point for point in faults.POINTS if point not in (*REBUILDING, *NOT_PASSED)]
    after = points.index("mirror.checkpoint_recorded") + 1
    points[after:after] = REBUILDING
    database = postgres.url(postgres.create_database())
    with open_store(database, artifacts=tmp_path / "artifacts") as store:
        project = store.projects.create("first")
        homes = [tmp_path / "this", tmp_path / "that"]
        each_point_once(store, project, database, str(tmp_path / "artifacts"), homes, calm, points)


def test_workers_that_are_killed_at_random_lose_nothing_and_double_nothing(tmp_path):
    found = KillLoop(tmp_path, f"sqlite:///{tmp_path}/openrft.db", seed=1, num_steps=6).run(6)
    assert sum(found["kills"].values()) == 6


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("weights", ["full", "lora"])
@pytest.mark.parametrize("machines", [1, 2])
def test_kills_at_random_moments_change_nothing(store, home, project, tmp_path, machines, weights):
    delays = [random.Random(f"{machines} {weights}").uniform(0.1, 3.0) for _ in range(25)]
    ends = []
    for planned in ([], delays):
        job = kit.create_job(store, project.id, weights=weights)
        homes = [tmp_path / f"{len(ends)}-{number}" for number in range(machines)]
        kit.in_forks(store, job, home.database_url, home.artifacts, homes, delays=planned)
        ends.append(kit.outcome(store, job))
    assert ends[0] == ends[1]
