"""A job that its budget has paused: what its events say of that to a later attempt."""

import worker_jobs as kit
from openrft.config.settings import Settings
from openrft.errors import BudgetSpent
from openrft.training.budget import Grant, Spent
from openrft.worker import exits
from openrft.worker.attempt import _Attempt
from openrft.worker.grants import last_grant
from openrft.worker.insist import Insist
from openrft.worker.pulse import Pulse
from openrft.worker.supervisor import Supervisor


def attempt(store, home, job) -> _Attempt:
    epoch = store.queue.claim("worker").lease.epoch
    return _Attempt(Supervisor(store, home, Settings())._brief(job.project_id, job.id, epoch), store, Pulse(None))


def test_a_pause_by_the_budget_is_a_grant_to_whoever_goes_on_and_one_by_people_is_none(store, home, project):
    insist = Insist(lambda: None)
    job = kit.create_job(store, project.id, budget_tokens=100)
    store.jobs.accept(project.id, job.id)
    assert last_grant(store, job, insist) is None
    spent = {"minutes": 0.5, "tokens": 90, "grader_cost": 0.0}
    error = BudgetSpent("paused before step 3 of 9: 90 of 100 tokens are spent", step=2, spent=spent)
    assert attempt(store, home, job)._paused(error) == exits.DONE
    assert store.jobs.get(project.id, job.id).status == "paused"
    assert kit.messages(store, job)[-1] == "The job was paused before step 3 of 9: 90 of 100 tokens are spent"
    granted = Grant(step=2, spent=Spent(minutes=0.5, tokens=90))
    store.jobs.resume(project.id, job.id)
    attempt(store, home, job)  # lost: it has told nothing
    assert last_grant(store, job, insist) == granted
    store.jobs.pause(project.id, job.id)
    store.jobs.resume(project.id, job.id)
    assert last_grant(store, job, insist) == granted


def test_a_job_without_a_budget_has_no_grants(store, home, project):
    assert last_grant(store, kit.create_job(store, project.id), Insist(lambda: None)) is None
