"""``openrft run --track``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openrft.cli import app
from openrft.cli.run import add_trackers
from openrft.config.integrations import TensorBoard
from openrft.config.job import read_job
from openrft.errors import InvalidRequest
from small_job import small_job


def test_trackers_of_the_command_line_come_beside_those_of_the_job(repository: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    job = add_trackers(small_job(repository), ["tensorboard", "tensorboard"])
    assert [one.type for one in job.integrations or ()] == ["tensorboard"]
    assert [one.type for one in add_trackers(job, ["mlflow", "tensorboard"]).integrations or ()] == [
        "tensorboard",
        "mlflow",
    ]
    assert add_trackers(small_job(repository), []).integrations is None


def test_a_tracker_that_there_is_not_is_refused_with_those_that_there_are(repository: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        add_trackers(small_job(repository), ["comet"])
    assert caught.value.message == (
        "--track comet: there is no such tracker; known are tensorboard, wandb, trackio, mlflow"
    )


def test_a_resumed_run_keeps_its_trackers(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", "--resume", str(tmp_path), "--track", "tensorboard"])
    assert isinstance(result.exception, InvalidRequest)
    assert "--track" in result.exception.message


def test_a_folder_of_the_job_is_relative_to_it(tmp_path: Path, repository: Path) -> None:
    document = {key: it for key, it in small_job(repository).model_dump(mode="json").items() if it is not None}
    document["integrations"] = [{"type": "tensorboard", "tensorboard": {"folder": "tb"}}]
    (tmp_path / "job.json").write_text(json.dumps(document))
    [integration] = read_job(tmp_path / "job.json").integrations or ()
    assert integration.model_dump()["tensorboard"] == TensorBoard(folder=str(tmp_path / "tb")).model_dump()
