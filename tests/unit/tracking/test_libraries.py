"""Each tracker with its real library, read back from what that has written; two attempts, every step once."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openrft.config.integrations import (
    Mlflow,
    MlflowIntegration,
    TensorBoard,
    TensorBoardIntegration,
    Trackio,
    TrackioIntegration,
    Wandb,
    WandbIntegration,
)
from tracked_run import SENTENCE, RunFolder, follow_to_end

FIGURES = {
    "report/base": 0.25,
    "report/tuned": 0.5,
    "report/gain": 0.3,
    "report/gain_low": 0.21,
    "report/gain_high": 0.39,
}


def two_attempts(run: RunFolder, integration: Any) -> None:
    """Killed after step 3, resumed after step 1 of a checkpoint, done after step 4."""
    run.steps(3)
    run.event("careful", "warn")
    assert follow_to_end(run, integration) == []
    run.forget("metrics.jsonl")
    run.steps(4)
    run.succeed()
    assert follow_to_end(run, integration) == []


def test_tensorboard_has_every_step_once_and_the_verdict(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    run = RunFolder(tmp_path / "run")
    folder = tmp_path / "all" / "my-run"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1.host.1.0.openrft-another").write_bytes(b"")
    two_attempts(run, TensorBoardIntegration(type="tensorboard", tensorboard=TensorBoard(folder=str(tmp_path / "all"))))
    another, ours = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
    assert another.name.endswith("another")
    events = list(EventFileLoader(str(ours)).Load())
    numbers = [
        (event.step, value.tag, value.tensor.float_val[0])
        for event in events
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "scalars"
    ]
    assert numbers[:5] == [(0, "valid/reward_mean", 0.25), *((step, "reward/mean", step / 8) for step in range(1, 5))]
    assert {tag: value for _, tag, value in numbers[5:]} == pytest.approx(FIGURES)
    texts = {
        value.tag: value.tensor.string_val[0].decode()
        for event in events
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "text"
    }
    assert texts["events"] == "**warn**: careful"
    assert texts["report"] == SENTENCE
    assert '"learning_rate": 0.001' in texts["config"]


def wandb_records(path: Path) -> Iterator[Any]:
    """What is in a .wandb file: LevelDB's log format behind seven bytes of a header."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # the end of a block, too short for another header
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def test_wandb_offline_has_every_step_once_under_the_runs_own_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    run = RunFolder(tmp_path / "run")
    options = Wandb(project="genes", entity="us", name="first", tags=("mine",))
    two_attempts(run, WandbIntegration(type="wandb", wandb=options))
    *_, last = sorted((run.path / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    records = list(wandb_records(last))
    [begun] = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (begun.run_id, begun.project, begun.entity, begun.display_name) == ("rft-1", "genes", "us", "first")
    assert list(begun.tags) == ["openrft/finetune", "openrft/openrft-tiny", "openrft/rft-1", "mine"]
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["hyperparameters"] == {"num_steps": 2, "learning_rate": 0.001}
    rows = [
        (
            record.history.step.num,
            {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item},
        )
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    assert [step for step, _ in rows] == [0, 1, 2, 3, 4]
    assert [row.get("reward/mean") for _, row in rows] == [None, 0.125, 0.25, 0.375, 0.5]
    summary = {
        ".".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in records
        if record.WhichOneof("record_type") == "summary"
        for item in record.summary.update
    }
    assert {name: summary[name] for name in FIGURES} == pytest.approx(FIGURES)
    assert summary["verdict"] == SENTENCE
    assert {path.name for path in last.parent.glob("files/*")} >= {"report.md", "curve.svg"}


@pytest.mark.slow
def test_mlflow_has_every_step_once_and_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)  # where MLflow keeps the files of a database's runs
    run = RunFolder(tmp_path / "run")
    options = Mlflow(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="genes")
    two_attempts(run, MlflowIntegration(type="mlflow", mlflow=options))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT name, status FROM runs").fetchall() == [("my-run", "FINISHED")]
        rewards = database.execute("SELECT step, value FROM metrics WHERE key = 'reward/mean' ORDER BY step").fetchall()
        assert rewards == [(1, 0.125), (2, 0.25), (3, 0.375), (4, 0.5)]
        figures = dict(database.execute("SELECT key, value FROM metrics WHERE key LIKE 'report/%'").fetchall())
        assert figures == pytest.approx(FIGURES)
        tags = dict(database.execute("SELECT key, value FROM tags").fetchall())
        assert tags["openrft.run"] == "rft-1"
        assert tags["openrft.verdict"] == SENTENCE
        assert tags["openrft.last_warn"] == "after step 3: careful"
        params = dict(database.execute("SELECT key, value FROM params").fetchall())
        assert params["hyperparameters.learning_rate"] == "0.001"
    assert {path.name for path in tmp_path.glob("mlruns/**/artifacts/*")} == {"report.md", "curve.svg"}


@pytest.mark.slow
def test_trackio_has_every_step_once_and_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    run = RunFolder(tmp_path / "run")
    two_attempts(run, TrackioIntegration(type="trackio", trackio=Trackio(project="genes")))
    with closing(sqlite3.connect(tmp_path / "trackio" / "genes.db")) as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
        assert {name for name, _, _ in rows} == {"my-run-rft-1"}
        numbers = [(step, json.loads(metrics)) for _, step, metrics in rows]
        assert [step for step, metrics in numbers if "report/gain" not in metrics] == [0, 1, 2, 3, 4]
        assert [metrics.get("reward/mean") for _, metrics in numbers[:5]] == [None, 0.125, 0.25, 0.375, 0.5]
        assert numbers[5] == (2, pytest.approx(FIGURES))
        alerts = database.execute("SELECT level, text FROM alerts ORDER BY id").fetchall()
        assert alerts == [("warn", "careful"), ("info", SENTENCE)]
