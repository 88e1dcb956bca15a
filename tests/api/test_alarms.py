"""What was noticed of a job, over the wire."""

from __future__ import annotations

import json

from openrft.diagnosis.watch.alarm import Alarm, Reference
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import body, run_by_hand


def test_the_alarms_of_a_job_are_listed_as_the_worker_keeps_them(client, http, store: Store, project: Project) -> None:
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    path = f"/v1/fine_tuning/jobs/{lease.job_id}/alarms"
    assert http.get(path).json() == {"object": "list", "data": [], "has_more": False}
    shown = Reference(source="rollouts", step=9, example="e1", line=2, sample=3)
    alarm = Alarm(code="truncation", severity="warn", sentence="cut", advice="raise it", step=9, evidence=(shown,))
    text = json.dumps({"alarms": [alarm.to_json()]})
    store.artifacts.write(f"jobs/{lease.job_id}/documents/alarms.json", [text.encode()])
    assert http.get(path).json()["data"] == [
        {
            "object": "fine_tuning.job.alarm", "code": "truncation", "severity": "warn", "sentence": "cut",
            "advice": "raise it", "step": 9, "ended_step": None,
            "evidence": [{"source": "rollouts", "step": 9, "example": "e1", "line": 2, "sample": 3}],
        }
    ]  # fmt: skip
    assert http.get("/v1/fine_tuning/jobs/ftjob-none/alarms").status_code == 404
