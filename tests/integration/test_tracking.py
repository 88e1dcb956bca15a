"""Real jobs with a tracker: killed and resumed, and with one that never works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openrft.training.progress import Silence
from openrft.training.run import start_run
from small_job import read_metrics, small_job

DRIVER = Path(__file__).with_name("kill_driver.py")


def rewards(folder: Path) -> list[tuple[int, float]]:
    """What TensorBoard shows of a run's training rewards."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        (event.step, value.tensor.float_val[0])
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == "reward/mean"
    ]


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_has_each_step_once_in_its_tracker(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("tensorboard")
    job = small_job(repository, num_steps=6, checkpoint_interval=1).model_dump(mode="json")
    job["integrations"] = [{"type": "tensorboard"}]
    (tmp_path / "job.json").write_text(json.dumps({key: value for key, value in job.items() if value is not None}))
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path / "job.json"), str(tmp_path / "run"), "2.5", "4.5"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (done.returncode, done.stdout.split()[-1]) == (0, "2"), done.stderr
    recorded = [(row["step"], row["reward/mean"]) for row in read_metrics(tmp_path / "run") if row["step"]]
    assert rewards(tmp_path / "run" / "tensorboard") == [(step, pytest.approx(mean)) for step, mean in recorded]


class Listening(Silence):
    """Keeps what people are told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def note(self, message: str, level: str = "info", data: object = None) -> None:
        if level == "warn":
            self.warnings.append(message)


@pytest.mark.slow
def test_a_tracker_that_never_works_is_one_warning_and_the_run_succeeds(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("mlflow")
    document = small_job(repository, num_steps=1, batch_size=2, group_size=2).model_dump(mode="json")
    document["integrations"] = [{"type": "mlflow", "mlflow": {"tracking_uri": "nowhere://at/all"}}]
    listening = Listening()
    start_run(type(small_job(repository)).model_validate(document), tmp_path / "run", listening)
    assert json.loads((tmp_path / "run" / "status.json").read_text()) == {"status": "succeeded"}
    [warning] = [one for one in listening.warnings if "MLflow" in one]
    assert warning.startswith("MLflow gets nothing more of this run, which goes on: ")
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert [event["level"] for event in events if event["message"] == warning] == ["warn"]
