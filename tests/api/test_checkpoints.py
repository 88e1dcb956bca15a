"""A job's checkpoints over the wire."""

from __future__ import annotations

from openrft.store import Store
from openrft.store.rows import NewEvent, Project
from wire_jobs import body, run_by_hand


def test_checkpoints_are_newest_first_with_the_final_model_as_one_of_them(
    client, http, store: Store, project: Project
) -> None:
    job = client.fine_tuning.jobs.create(**body(client))
    lease = run_by_hand(store, project.id, job.id)
    for step in (5, 10):
        store.checkpoints.record(
            lease,
            step,
            model_name=f"ft:openrft-tiny:openrft::Step{step:04d}:ckpt-step-{step}",
            artifact=f"jobs/{job.id}/checkpoints/step-{step:06d}-e1",
            metrics={"step": step, "train_mean_reward": 0.5, "full_valid_mean_reward": None},
        )
    store.checkpoints.record(
        lease, 10, model_name="ft:openrft-tiny:openrft::AbCd1234", artifact=f"jobs/{job.id}/model", metrics={}
    )
    found = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert [one.step_number for one in found.data] == [10, 10, 5]
    assert found.data[0].fine_tuned_model_checkpoint == "ft:openrft-tiny:openrft::AbCd1234"
    last = found.data[-1].to_dict()
    assert last == {
        "object": "fine_tuning.job.checkpoint", "id": last["id"], "created_at": last["created_at"],
        "fine_tuned_model_checkpoint": "ft:openrft-tiny:openrft::Step0005:ckpt-step-5",
        "fine_tuning_job_id": job.id, "step_number": 5, "metrics": {"step": 5, "train_mean_reward": 0.5},
        "valid": None, "graders": {}, "bytes": 0, "is_best": False, "is_final": False,
    }  # fmt: skip
    assert last["id"].startswith("ftckpt_")
    wire = http.get(f"/v1/fine_tuning/jobs/{job.id}/checkpoints?limit=2").json()
    assert (wire["first_id"], wire["last_id"]) == (found.data[0].id, found.data[1].id)
    assert wire["has_more"] is True
    assert [one.id for one in client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)] == [
        one.id for one in found.data
    ]


def test_ten_checkpoints_are_a_page(client, store: Store, project: Project) -> None:
    job = client.fine_tuning.jobs.create(**body(client))
    lease = run_by_hand(store, project.id, job.id)
    for step in range(1, 12):
        store.checkpoints.record(lease, step, model_name=f"ft:a:b::c:ckpt-step-{step}", artifact="jobs/x", metrics={})
    page = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert (len(page.data), page.has_more, page.data[0].step_number) == (10, True, 11)


def test_a_checkpoint_has_its_validation_its_size_and_its_place_beside_openai_s_keys(
    client, store: Store, project: Project
) -> None:
    job = client.fine_tuning.jobs.create(**body(client))
    lease = run_by_hand(store, project.id, job.id)
    for step, mean in ((1, 0.75), (2, 0.5)):
        scores = [{"name": "exact", "valid_reward_mean": mean}, {"name": "style", "valid_reward_mean": None}]
        told = NewEvent(message="m", type="metrics", data={"step": step, "scores": {"graders": scores}})
        metrics = {"valid/reward_mean": mean, "valid/reward_low": mean - 0.25, "valid/reward_high": mean + 0.25}
        store.steps.record(lease, step, metrics, total_steps=2, events=[told])
    for step, mean, name in ((1, 0.75, ":ckpt-step-1"), (2, 0.75, ":ckpt-step-2"), (1, 0.75, "")):
        artifact = f"jobs/{job.id}/checkpoints/{step}{len(name)}"
        store.artifacts.write(f"{artifact}/weights", [b"1234"])
        store.artifacts.write(f"{artifact}/state", [b"567"])
        metrics = {"step": step, "full_valid_mean_reward": mean}
        store.checkpoints.record(lease, step, model_name=f"ft:a:b::c{name}", artifact=artifact, metrics=metrics)
    final, second, first = (one.to_dict() for one in client.fine_tuning.jobs.checkpoints.list(job.id).data)
    assert first["valid"] == {"mean": 0.75, "low": 0.5, "high": 1.0}
    assert (first["graders"], first["bytes"], first["is_best"], first["is_final"]) == ({"exact": 0.75}, 7, True, False)
    assert (final["graders"], final["is_best"], final["is_final"]) == ({"exact": 0.75}, True, True)
    # Training went back to step 1 there: what step 2 measured is not about these weights.
    assert second["valid"] == {"mean": 0.75, "low": None, "high": None}
    assert (second["graders"], second["is_best"]) == ({}, False)


def test_the_best_of_losses_is_the_lowest(client, store: Store, project: Project) -> None:
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    for step, loss in ((1, 0.5), (2, 0.25), (3, 0.75)):
        metrics = {"full_valid_loss": loss}
        store.checkpoints.record(lease, step, model_name=f"ft:{step}", artifact="jobs/x", metrics=metrics)
    found = [one.to_dict() for one in client.fine_tuning.jobs.checkpoints.list(lease.job_id)]
    assert [(one["step_number"], one["is_best"]) for one in found] == [(3, False), (2, True), (1, False)]
    assert found[1]["valid"] == {"mean": 0.25, "low": None, "high": None}
