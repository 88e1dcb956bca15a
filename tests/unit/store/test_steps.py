"""Steps, events and checkpoints of a running job."""

import math
import threading

import pytest

from openrft.errors import InvalidRequest, NotFound
from openrft.store.artifacts import step_artifact
from openrft.store.rows import NewEvent


def test_a_step_recorded_twice_is_there_once(store, project, claim):
    job_id = claim.job.id
    key = step_artifact(job_id, 3, claim.lease.epoch)
    said = [NewEvent(message="Step 3/9", type="metrics", data={"step": 3}), NewEvent(message="beside it")]
    for _ in range(2):
        store.steps.record(claim.lease, 3, {"reward/mean": 0.5}, total_steps=9, events=said, rollouts=key)
    (row,) = store.steps.list(project.id, job_id)
    assert (row.step, row.epoch, row.metrics, row.rollouts) == (3, 1, {"reward/mean": 0.5}, key)
    assert row == store.steps.get(project.id, job_id, 3)
    events = store.events.tail(project.id, job_id)
    assert [event.message for event in events][-2:] == ["Step 3/9", "beside it"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    job = store.jobs.get(project.id, job_id)
    assert (job.step, job.total_steps) == (3, 9)


def test_the_next_attempt_records_the_same_steps_in_their_place(store, project, claim):
    for step in (1, 2, 3):
        store.steps.record(claim.lease, step, {"a": 1}, total_steps=4, events=[NewEvent(message=f"Step {step}")])
    before = [(event.id, event.sequence) for event in store.events.tail(project.id, claim.job.id)]
    store.queue.release(claim.lease, "shutdown")
    lease = store.queue.claim("next").lease
    for step in (2, 3, 4):
        store.steps.record(lease, step, {"a": 2}, total_steps=4, events=[NewEvent(message=f"Step {step}!")])
    rows = store.steps.list(project.id, claim.job.id)
    assert [(row.step, row.epoch, row.metrics["a"]) for row in rows] == [(1, 1, 1), (2, 2, 2), (3, 2, 2), (4, 2, 2)]
    events = store.events.tail(project.id, claim.job.id)
    assert [(event.id, event.sequence) for event in events][: len(before)] == before
    told = [event.message for event in events if event.message.startswith("Step")]
    assert told == ["Step 1", "Step 2!", "Step 3!", "Step 4!"]


def test_a_number_that_is_not_finite_is_none(store, project, claim):
    store.steps.record(claim.lease, 1, {"a": math.nan, "b": math.inf, "c": -0.5, "d": None}, total_steps=1)
    assert store.steps.get(project.id, claim.job.id, 1).metrics == {"a": None, "b": None, "c": -0.5, "d": None}


def test_a_step_that_was_not_recorded_is_not_found(store, project, claim):
    with pytest.raises(NotFound):
        store.steps.get(project.id, claim.job.id, 1)


def test_steps_are_listed_from_one_on(store, project, claim):
    for step in range(6):
        store.steps.record(claim.lease, step, {}, total_steps=6)
    assert [row.step for row in store.steps.list(project.id, claim.job.id, after=2, limit=2)] == [3, 4]


def test_a_key_that_leaves_its_folder_is_refused(store, claim):
    with pytest.raises(InvalidRequest, match="key of an artifact"):
        store.steps.record(claim.lease, 1, {}, total_steps=1, rollouts="../etc/passwd")


def test_events_are_listed_newest_first_and_followed_oldest_first(store, project, claim):
    for number in range(7):
        store.events.append(claim.lease, NewEvent(message=f"{number}"))
    seen, after = [], None
    while True:
        page = store.events.list(project.id, claim.job.id, limit=2, after=after)
        seen += page.items
        if not page.has_more:
            break
        after = seen[-1].id
    followed = store.events.tail(project.id, claim.job.id)
    assert seen[::-1] == followed
    assert store.events.tail(project.id, claim.job.id, after=followed[-3].sequence) == followed[-2:]


def test_whoever_follows_events_misses_none_that_several_write(store, project, claim):
    def write(name):
        for number in range(15):
            store.events.append(claim.lease, NewEvent(message=f"{name}-{number}"))

    writers = [threading.Thread(target=write, args=[name]) for name in "abcd"]
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers) or len(seen) < 60 + 3:
        seen += store.events.tail(project.id, claim.job.id, after=seen[-1].sequence if seen else 0, limit=5)
    assert [event.sequence for event in seen] == list(range(1, 64))


def test_an_event_may_quote_anything(store, project, claim):
    store.events.append(claim.lease, NewEvent(message="a\x00b\ud83dc", data={"text": "a\x00b\ud83dc"}))
    event = store.events.list(project.id, claim.job.id).items[0]
    assert (event.message, event.data) == ("a\ufffdb\ufffdc", {"text": "a\x00b\ud83dc"})


def test_checkpoints_are_listed_and_found_by_name(store, project, claim):
    for step in (5, 10):
        metrics = {"full_valid_mean_reward": 0.5}
        artifact = f"jobs/{claim.job.id}/checkpoints/{step}"
        store.checkpoints.record(
            claim.lease, step, model_name=f"ft:m:ckpt-step-{step}", artifact=artifact, metrics=metrics
        )
    store.checkpoints.record(claim.lease, 10, model_name="ft:m", artifact="c/final", metrics={})
    page = store.checkpoints.list(project.id, claim.job.id, limit=2)
    assert ([point.model_name for point in page.items], page.has_more) == (["ft:m", "ft:m:ckpt-step-10"], True)
    rest = store.checkpoints.list(project.id, claim.job.id, after=page.items[-1].id)
    assert ([point.step for point in rest.items], rest.has_more) == ([5], False)
    assert store.checkpoints.get_by_name(project.id, "ft:m").artifact == "c/final"
    assert store.jobs.get(project.id, claim.job.id).checkpoint_step == 10


def test_a_checkpoint_recorded_twice_is_there_once_with_its_id(store, project, claim):
    first, second = (
        store.checkpoints.record(claim.lease, 5, model_name="ft:m", artifact=f"c/{number}", metrics={})
        for number in range(2)
    )
    assert (first.id, second.artifact) == (second.id, "c/1")
    assert store.checkpoints.list(project.id, claim.job.id).items == [second]


def test_a_forgotten_checkpoint_is_not_found_and_attempts_start_before_it(store, project, claim):
    points = [
        store.checkpoints.record(claim.lease, step, model_name=f"ft:{step}", artifact=f"c/{step}", metrics={})
        for step in (5, 10)
    ]
    store.checkpoints.forget(claim.lease, points[1].id)
    assert store.checkpoints.list_of(claim.lease) == points[:1]
    assert store.checkpoints.list(project.id, claim.job.id, after=points[1].id).items == points[:1]
    assert store.jobs.get(project.id, claim.job.id).checkpoint_step == 5
    with pytest.raises(NotFound):
        store.checkpoints.get_by_name(project.id, "ft:10")


NAMES = ["reward/mean", "grader/my one/score_mean", 'odd "quoted" name', "größe", "$.reward", "back\\slash"]


@pytest.mark.parametrize("name", NAMES)
def test_a_series_has_the_steps_at_which_it_was_measured(store, project, claim, name):
    measured = [{name: 0.25, "other": 1.0}, {"other": 2.0}, {name: math.nan}, {name: 1e-7}]
    for step, metrics in enumerate(measured):
        store.steps.record(claim.lease, step, metrics, total_steps=4)
    expected = [(0, 0.25), (2, None), (3, 1e-7)]
    assert store.steps.series(project.id, claim.job.id, [name, "nothing"]) == (3, {name: expected})
    assert store.steps.series(project.id, claim.job.id)[1][name] == expected
    assert store.steps.series(project.id, claim.job.id, [name], after=2) == (3, {name: expected[2:]})
    assert store.steps.series(project.id, claim.job.id, ["other"], after=2) == (3, {})
    assert store.steps.series(project.id, claim.job.id, [name], after=3) == (None, {})
