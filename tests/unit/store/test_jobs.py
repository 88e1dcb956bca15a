"""Jobs as people see them: statuses, wishes, lists."""

import pytest

from openrft.errors import InvalidRequest, NotFound
from openrft.store.ids import is_id
from openrft.store.rows import JobError


def test_a_new_job_is_what_was_asked_for(store, project, new_job):
    spec = {"method": {"type": "reinforcement", "text": "naïve \x00 \ud83d"}}
    job = store.jobs.create(project.id, new_job(spec=spec, metadata={"k": "v"}, suffix="mine"))
    assert is_id(job.id, "job")
    assert job == store.jobs.get(project.id, job.id)
    assert (job.status, job.spec, job.metadata, job.suffix, job.seed) == (
        "validating_files",
        spec,
        {"k": "v"},
        "mine",
        7,
    )
    assert [event.message for event in store.events.list(project.id, job.id).items] == [
        f"Created fine-tuning job: {job.id}"
    ]


def test_an_unknown_project_gets_no_job(store, new_job):
    with pytest.raises(NotFound, match="no project"):
        store.jobs.create("proj_none", new_job())


def test_a_name_that_no_database_can_hold_is_refused(store, project, new_job):
    with pytest.raises(InvalidRequest, match="suffix: holds"):
        store.jobs.create(project.id, new_job(suffix="a\x00b"))


def test_files_are_accepted_or_rejected_once(store, project, new_job):
    good, bad = (store.jobs.create(project.id, new_job()) for _ in range(2))
    assert [job.id for job in store.jobs.list_unvalidated()] == [good.id, bad.id]
    assert store.jobs.accept(project.id, good.id).status == "queued"
    error = JobError(code="invalid_training_file", message="line 3", param="training_file")
    rejected = store.jobs.reject(project.id, bad.id, error)
    assert (rejected.status, rejected.error) == ("failed", error)
    assert store.jobs.accept(project.id, bad.id) == rejected
    assert store.jobs.list_unvalidated() == []


# status → what cancel, pause and resume make of it; None: refused with a 400
TRANSITIONS = {
    "validating_files": ("cancelled", None, None),
    "queued": ("cancelled", "paused", None),
    "running": ("running", "running", None),
    "paused": ("cancelled", "paused", "queued"),
    "succeeded": (None, None, None),
    "failed": (None, None, None),
    "cancelled": ("cancelled", None, None),
}


@pytest.mark.parametrize("number, wish", [(0, "cancel"), (1, "pause"), (2, "resume")])
@pytest.mark.parametrize("status", TRANSITIONS)
def test_a_wish_changes_the_status_as_the_contract_says(store, project, new_job, status, number, wish):
    job = store.jobs.create(project.id, new_job())
    if status != "validating_files":
        store.jobs.accept(project.id, job.id)
    if status not in ("validating_files", "queued"):
        lease = store.queue.claim("a").lease
        if status != "running":
            error = JobError(code="c", message="m") if status == "failed" else None
            store.queue.finish(lease, status, message="ended", error=error)
    expected = TRANSITIONS[status][number]
    act = getattr(store.jobs, wish)
    if expected is None:
        with pytest.raises(InvalidRequest) as caught:
            act(project.id, job.id)
        assert caught.value.http_status == 400
        assert store.jobs.get(project.id, job.id).status == status
    else:
        after = act(project.id, job.id)
        assert after.status == expected
        if status == "running":
            assert (after.cancel_requested, after.pause_requested) == (wish == "cancel", wish == "pause")
        assert act(project.id, job.id) == after if wish != "resume" else True


def test_a_wish_to_pause_can_be_taken_back(store, project, claim):
    store.jobs.pause(project.id, claim.job.id)
    assert store.jobs.resume(project.id, claim.job.id).pause_requested is False


def test_a_resumed_job_starts_with_a_clean_slate(store, project, claim):
    store.queue.release(claim.lease, "crash", JobError(code="c", message="m"))
    store.jobs.pause(project.id, claim.job.id)
    after = store.jobs.resume(project.id, claim.job.id)
    assert (after.status, after.crash_count, after.not_before) == ("queued", 0, None)


def test_pages_are_complete_and_stable_while_jobs_are_added(store, project, new_job):
    there = [store.jobs.create(project.id, new_job()).id for _ in range(23)]
    seen, after = [], None
    while True:
        page = store.jobs.list(project.id, limit=5, after=after)
        seen += [job.id for job in page.items]
        store.jobs.create(project.id, new_job())
        if not page.has_more:
            break
        after = seen[-1]
    assert seen == there[::-1]


def test_a_page_of_exactly_all_has_no_more(store, project, new_job):
    for _ in range(3):
        store.jobs.create(project.id, new_job())
    assert store.jobs.list(project.id, limit=3).has_more is False
    assert store.jobs.list(project.id, limit=2).has_more is True
    assert len(store.jobs.list(project.id, limit=10**9).items) == 3


def test_a_senseless_page_is_refused(store, project):
    with pytest.raises(InvalidRequest, match="limit is 0"):
        store.jobs.list(project.id, limit=0)
    with pytest.raises(InvalidRequest, match="after"):
        store.jobs.list(project.id, after="ftjob-none")


def test_jobs_are_found_by_metadata(store, project, new_job):
    both = store.jobs.create(project.id, new_job(metadata={"a": "1", 'b"$.': "2"})).id
    one = store.jobs.create(project.id, new_job(metadata={"a": "1"})).id
    none = store.jobs.create(project.id, new_job()).id

    def found(**options):
        return [job.id for job in store.jobs.list(project.id, **options).items]

    assert found(metadata={"a": "1"}) == [one, both]
    assert found(metadata={"a": "1", 'b"$.': "2"}) == [both]
    assert found(metadata={"a": "2"}) == []
    assert found(metadata={"a\x00": "1"}) == []
    assert found(without_metadata=True) == [none]
    assert found(statuses=["queued"]) == []
