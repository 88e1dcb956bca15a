"""What is beneath a job: its metrics, rollouts, evaluations, report and files."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx2
import openai
import pytest

from openrft.api.series import series_of, thinned
from openrft.evaluation.losses import LossEvaluation, LossRow
from openrft.store import Store
from openrft.store.rows import Lease, Project
from wire_jobs import body, record_step, rollout_row, run_by_hand, supervised


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A running job."""
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


@pytest.fixture
def get(http: httpx2.Client, lease: Lease) -> Any:
    """Asks for something beneath the job."""

    def ask(path: str, status: int = 200, **options: Any) -> httpx2.Response:
        answer = http.get(f"/v1/fine_tuning/jobs/{lease.job_id}/{path}", **options)
        assert answer.status_code == status, answer.text
        return answer

    return ask


def put(store: Store, lease: Lease, name: str, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    store.artifacts.write(f"jobs/{lease.job_id}/{name}", [text.encode()])


# Metrics


def test_metrics_come_as_series_with_the_steps_at_which_each_was_measured(get, store: Store, lease: Lease) -> None:
    for step in (1, 2, 3):
        record_step(store, lease, step, [], **({"valid/reward_mean": 0.25} if step == 2 else {}), loss=float("nan"))
    answer = get("metrics").json()
    assert answer["series"] == {
        "reward/mean": {"steps": [1, 2, 3], "values": [0.5, 0.5, 0.5]},
        "loss": {"steps": [1, 2, 3], "values": [None, None, None]},
        "valid/reward_mean": {"steps": [2], "values": [0.25]},
    }
    assert answer["last_step"] == 3
    later = get("metrics?names=reward/mean,nothing&after_step=2").json()
    assert later["series"] == {"reward/mean": {"steps": [3], "values": [0.5]}}
    assert get("metrics?after_step=3").json() == {**later, "last_step": None, "series": {}}


def test_metrics_as_csv_have_a_line_for_each_step(get, store: Store, lease: Lease) -> None:
    for step in (1, 2):
        record_step(store, lease, step, [], **({"valid/reward_mean": 0.25} if step == 2 else {}))
    for answer in (get("metrics?format=csv"), get("metrics", headers={"Accept": "text/csv"})):
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"].startswith("attachment")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [(row["step"], row["reward/mean"], row["valid/reward_mean"]) for row in rows] == [
            ("1", "0.5", ""),
            ("2", "0.5", "0.25"),
        ]


def test_thinning_keeps_ends_and_peaks() -> None:
    points: list[tuple[int, float | None]] = [(step, 0.0) for step in range(1_000)]
    points[123], points[777], points[999] = (123, 9.0), (777, -9.0), (999, 1.0)
    few = thinned(points, 20)
    assert len(few) <= 20
    assert few == sorted(few)
    assert few[0] == (0, 0.0) and few[-1] == (999, 1.0)
    assert (123, 9.0) in few and (777, -9.0) in few
    assert thinned(points[:20], 20) == points[:20]
    gaps = [(step, None if step % 2 else 1.0) for step in range(20)]
    assert thinned(gaps, 12) == [point for point in gaps if point[1] is not None]


def test_max_points_thins_every_series_and_needs_room_for_a_peak(get, store: Store, lease: Lease) -> None:
    for step in range(1, 41):
        record_step(store, lease, step, [], value=float(step % 7))
    series = get("metrics?max_points=10").json()["series"]
    assert all(len(one["steps"]) <= 10 for one in series.values())
    assert get("metrics?max_points=3", status=400).json()["error"]["param"] == "max_points"


def test_bands_say_the_mean_the_lowest_and_the_highest_of_stretches_of_steps(get, store: Store, lease: Lease) -> None:
    for step, value in enumerate((1.0, 3.0, float("nan"), 2.0, 2.0, 6.0, 0.0, 3.0, 4.0), start=1):
        record_step(store, lease, step, [], value=value)
    expected = {"steps": [2, 5, 8, 9], "values": [2.0, 2.0, 3.0, 4.0], "min": [1.0, 2.0, 0.0, 4.0],
                "max": [3.0, 2.0, 6.0, 4.0]}  # fmt: skip
    assert get("metrics?names=value&max_points=4&bands=true").json()["series"] == {"value": expected}
    whole = get("metrics?names=value&bands=true&after_step=7").json()["series"]["value"]
    assert whole == {"steps": [8, 9], "values": [3.0, 4.0], "min": [3.0, 4.0], "max": [3.0, 4.0]}
    assert get("metrics?bands=true&max_points=3", status=400).json()["error"]["param"] == "max_points"


def test_bands_leave_the_newest_steps_as_they_are() -> None:
    points: list[tuple[int, float | None]] = [(step, float(step)) for step in range(5_000)]
    few = series_of({"value": points}, [], most_points=2_000, bands=True)["value"]
    assert len(few["steps"]) == 2_000
    assert few["steps"] == sorted(set(few["steps"]))
    assert few["steps"][-16:] == few["values"][-16:] == few["min"][-16:] == few["max"][-16:] == [*range(4_984, 5_000)]
    assert few["min"][0] == 0 and few["min"][-17] < few["max"][-17] == 4_983


# Evaluations and the report


def test_evaluations_are_listed_and_read_in_pages(get, store: Store, lease: Lease) -> None:
    rows = [
        {"example_id": f"e{n}", "index": n, "line": n + 1, "prompt_text": "p", "scores": [1.0, None if n == 0 else 0.0],
         "outputs": ["a", "b"], "errors": [None, None], "completion_tokens": [3, 5], "truncated": [False, True],
         "reasoning_tokens": [0, 0], "grades": [{"score": 1.0}, {"score": 0.0}]}
        for n in range(3)
    ]  # fmt: skip
    evaluation = {"name": "step 5", "step": 5, "mode": "sampled", "num_samples": 2, "rows": rows, "usage": {}}
    put(store, lease, "evaluations/step-000005-valid-sampled.json", evaluation)
    put(store, lease, "evaluations/step-000000-test-greedy.json", {**evaluation, "rows": []})
    listed = get("evaluations").json()["data"]
    assert [(one["id"], one["step"], one["dataset"], one["mode"]) for one in listed] == [
        ("step-000000-test-greedy", 0, "test", "greedy"),
        ("step-000005-valid-sampled", 5, "valid", "sampled"),
    ]
    one = get("evaluations/step-000005-valid-sampled?limit=2").json()
    assert (one["num_rows"], one["num_ungraded"], one["num_samples"]) == (3, 1, 2)
    assert one["mean"] == pytest.approx(2 / 3)  # of 1, 1/2 and 1/2
    assert (one["completion_tokens_mean"], one["truncated_share"]) == (4.0, 0.5)
    assert [row["example_id"] for row in one["rows"]] == ["e0", "e1"]
    assert one["rows"][0]["grades"] == [{"score": 1.0}, {"score": 0.0}]
    assert (one["has_more"], one["last_index"]) == (True, 1)
    rest = get("evaluations/step-000005-valid-sampled?after=1").json()
    assert ([row["index"] for row in rest["rows"]], rest["has_more"]) == ([2], False)
    assert get("evaluations/step-000000-test-greedy").json()["mean"] is None
    get("evaluations/step-000009-valid-sampled", status=404)


def test_a_pass_of_a_supervised_job_has_losses_in_place_of_scores(get, store: Store, lease: Lease) -> None:
    rows = [
        LossRow(
            example_id=f"e{n}", index=n, line=n + 1, prompt_text="p", answer="a", tokens=n + 1, loss=loss, hits=n
        )
        for n, loss in enumerate((0.9, 0.3))
    ]  # fmt: skip
    passed = LossEvaluation(name="step 5", step=5, rows=rows)
    put(store, lease, "evaluations/step-000005-valid-loss.json", passed.to_json())
    [listed] = get("evaluations").json()["data"]
    assert (listed["id"], listed["dataset"], listed["mode"]) == ("step-000005-valid-loss", "valid", "loss")
    one = get("evaluations/step-000005-valid-loss?limit=1").json()
    assert (one["num_rows"], one["tokens"], one["has_more"]) == (2, 3, True)
    assert one["loss"] == pytest.approx((0.9 * 1 + 0.3 * 2) / 3)
    assert one["token_accuracy"] == pytest.approx(1 / 3)
    assert [row["loss"] for row in one["rows"]] == [0.9]


def test_a_supervised_job_has_series_and_no_rollouts(client, http: httpx2.Client, store, project: Project) -> None:
    job = client.fine_tuning.jobs.create(**body(client, method=supervised()))
    lease = run_by_hand(store, project.id, job.id)
    store.steps.record(lease, 0, {"valid/loss": 2.0}, total_steps=3)
    store.steps.record(lease, 1, {"train/loss": 1.0}, total_steps=3)
    beneath = f"/v1/fine_tuning/jobs/{job.id}"
    series = http.get(f"{beneath}/metrics").json()["series"]
    assert series == {
        "valid/loss": {"steps": [0], "values": [2.0]},
        "train/loss": {"steps": [1], "values": [1.0]},
    }
    for path in ("rollouts", "rollouts/steps/1", "rollouts?sort=best"):
        answer = http.get(f"{beneath}/{path}")
        assert (answer.status_code, answer.json()["data"], answer.json()["has_more"]) == (200, [], False), path


def test_the_report_is_there_for_programs_and_for_people(get, store: Store, lease: Lease) -> None:
    assert "once training is over" in get("report", status=404).json()["error"]["message"]
    put(store, lease, "documents/report.json", {"sentence": "better"})
    put(store, lease, "documents/report.md", "# better ×")
    assert get("report").json() == {"sentence": "better"}
    for answer in (get("report?format=md"), get("report", headers={"Accept": "text/markdown"})):
        assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
        assert answer.text == "# better ×"


# Files


def test_files_are_listed_and_only_those_are_handed_out_as_attachments(get, store: Store, lease: Lease) -> None:
    put(store, lease, "model/model.safetensors", "weights")
    put(store, lease, "documents/curve.svg", "<svg/>")
    put(store, lease, "documents/report.md", "# better")
    assert [one["id"] for one in get("run_files").json()["data"]] == [
        "documents/curve.svg",
        "documents/report.md",
        "model/model.safetensors",
    ]
    answer = get("run_files/documents/curve.svg")
    assert answer.content == b"<svg/>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="curve.svg"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    store.artifacts.write("jobs/secret", [b"of another"])
    for name in (
        "documents",
        "../secret",
        "..%2Fsecret",
        "documents/../../secret",
        "nothing",
        "%2e%2e/secret",
        "a%5Cb",
    ):
        get(f"run_files/{name}", status=404)


def test_the_jobs_document_leaves_without_the_headers_of_its_grader(get, store: Store, lease: Lease) -> None:
    document = {"method": {"grader": {"graders": {"a": {"type": "endpoint", "headers": {"X-Key": "very secret"}}}}}}
    put(store, lease, "documents/job.json", document)
    put(store, lease, "checkpoints/step-000001-e1/run.json", document)
    shown = get("run_files/documents/job.json").json()
    assert shown["method"]["grader"]["graders"]["a"]["headers"] == {"X-Key": "**********"}
    get("run_files/checkpoints/step-000001-e1/run.json", status=404)  # a worker's, with the folders of its machine


@pytest.mark.parametrize(
    "path",
    ["metrics", "rollouts", "rollouts/steps/1", "rollouts/steps/1/groups", "rollouts/examples/a",
     "rollouts/histogram", "rollouts/rollout_1_0", "evaluations",
     "evaluations/x", "report", "run_files", "run_files/documents/job.json", "stream"],
)  # fmt: skip
def test_another_project_sees_nothing_of_it(path: str, server, other_key: str, store: Store, lease: Lease) -> None:
    record_step(store, lease, 1, [rollout_row(1, 0)])
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {other_key}"}) as other:
        answer = other.get(f"/v1/fine_tuning/jobs/{lease.job_id}/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Could not find fine-tuning job {lease.job_id}"
