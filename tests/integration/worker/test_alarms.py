"""What goes wrong while a job trains reaches people through the store: as an event, and as the job's alarms."""

import json

import worker_jobs as kit

NEVER = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "nobody says this", "operation": "eq"}


def test_an_alarm_is_an_event_with_its_evidence_and_stands_in_the_jobs_documents(store, home, project):
    job = kit.create_job(store, project.id, grader=NEVER, monitor=NEVER, num_steps=9, eval_interval=9)
    with kit.working(store, home):
        done = kit.ended(store, job)
    assert done.status == "succeeded"
    told = [event for event in store.events.tail(project.id, job.id) if "alarm" in event.data]
    assert [(event.level, event.data["alarm"]["code"], event.data["alarm"]["step"]) for event in told] == [
        ("error", "too_hard", 8)
    ]
    assert told[0].message.startswith("too_hard: hardly any answer")
    kept = json.loads(kit.read(store, f"jobs/{job.id}/documents/alarms.json"))["alarms"]
    assert kept == [told[0].data["alarm"]]
    shown = kept[0]["evidence"][0]
    rows = kit.read(
        store, next(key for key in store.artifacts.list(f"jobs/{job.id}") if "step-000008" in key and "rollouts" in key)
    )
    assert (shown["example"], shown["sample"]) in {
        (row["example"], row["sample"]) for row in map(json.loads, rows.splitlines())
    }
    report = json.loads(kit.read(store, f"jobs/{job.id}/documents/report.json"))
    assert report["noticed"][0]["code"] == "too_hard"
    assert report["monitor"]["base_mean"] == 0.0
