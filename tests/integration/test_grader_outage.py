"""A grader that is down in the middle of a job costs the time it is down, and the run ends as if it never had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from random_models import write_random_model

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


class ScoreServer(ThreadingHTTPServer):
    """Scores the share of letters in an answer; from request ``fails_from`` on it is down for ``seconds``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fails_from, self.seconds = 10**9, 0.0
        self.down_since: float | None = None
        self.answered = self.refused = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/grade"

    def is_down(self) -> bool:
        with self.lock:
            if self.answered >= self.fails_from and self.down_since is None:
                self.down_since = time.monotonic()
            down = self.down_since is not None and time.monotonic() - self.down_since < self.seconds
            self.refused += down
            self.answered += not down
            return down


class _Handler(BaseHTTPRequestHandler):
    server: ScoreServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.is_down():
            self.send_error(503)
            return
        score = sum(character.isalpha() for character in body["sample"]["output_text"]) / 16
        answer = json.dumps({"score": score}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ScoreServer]:
    with ScoreServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write_job(folder: Path, url: str, **hyperparameters: Any) -> Path:
    model = write_random_model(folder / "model", "qwen3")
    for name, count, offset in (("train", 12, 0), ("valid", 4, 100)):
        rows = [{"messages": [{"role": "user", "content": f"say {offset + i}"}]} for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {
        "num_steps": 6, "batch_size": 3, "group_size": 4, "max_completion_tokens": 12, "eval_interval": 3,
        "eval_samples": 2, "learning_rate": 0.003, "checkpoint_interval": 6, **hyperparameters,
    }  # fmt: skip
    job = {
        "model": str(model), "training_file": "train.jsonl", "validation_file": "valid.jsonl", "seed": 5,
        "method": {"type": "reinforcement", "reinforcement": {
            "grader": {"type": "endpoint", "url": url}, "hyperparameters": options}},
    }  # fmt: skip
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "openrft", "run", *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(run: Path) -> tuple[dict[str, Any], list[list[Any]]]:
    weights = load_file(next((run / "model").glob("*.safetensors")))
    rollouts = [
        [(row["output"], row["score"], row["advantage"]) for row in map(json.loads, path.read_text().splitlines())]
        for path in sorted((run / "rollouts").iterdir())
    ]
    return weights, rollouts


@pytest.mark.slow
def test_a_run_with_an_outage_ends_like_one_without(server: ScoreServer, tmp_path: Path) -> None:
    job = write_job(tmp_path, server.url)
    with start(job, "--dir", tmp_path / "calm") as calm:
        printed = calm.communicate(timeout=120)[0]
    assert calm.returncode == 0, printed
    server.fails_from, server.seconds = server.answered + 45, 12.0
    with start(job, "--dir", tmp_path / "troubled") as troubled:
        printed = troubled.communicate(timeout=200)[0]
    assert troubled.returncode == 0, printed
    assert server.refused > 0 and "answers wait for their grader" in printed and "the grader answers again" in printed
    calm_weights, calm_rollouts = outcome(tmp_path / "calm")
    troubled_weights, troubled_rollouts = outcome(tmp_path / "troubled")
    assert troubled_rollouts == calm_rollouts
    assert all(troubled_weights[name].equal(tensor) for name, tensor in calm_weights.items())
    metrics = [json.loads(line) for line in (tmp_path / "troubled" / "metrics.jsonl").read_text().splitlines()]
    assert all(row.get("grade/ungraded_share", 0) == 0 for row in metrics)


def test_stopping_while_waiting_keeps_the_finished_steps(server: ScoreServer, tmp_path: Path) -> None:
    job = write_job(tmp_path, server.url)
    # Past the base's validation and two training steps; and never back while this run lives.
    server.fails_from, server.seconds = 8 + 24 + 30, 10_000.0
    with start(job, "--dir", tmp_path / "run") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "answers wait for their grader" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]
    assert process.returncode != 0 and "stopped while waiting for a grader" in rest
    recorded = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"step-{recorded[-1]['step']:06d}"]
    server.fails_from = 10**9
    server.down_since = None
    with start("--resume", tmp_path / "run") as process:
        printed = process.communicate(timeout=120)[0]
    assert process.returncode == 0, printed
    assert f"resumed after step {recorded[-1]['step']}" in printed


def test_a_grader_that_stays_away_fails_the_job_with_its_words(server: ScoreServer, tmp_path: Path) -> None:
    job = write_job(tmp_path, server.url, grader_outage_minutes=0)
    server.fails_from, server.seconds = 30, 10_000.0
    with start(job, "--dir", tmp_path / "run") as process:
        printed = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "could not be graded" in printed and "503" in printed and "--resume" in printed


def test_a_run_that_failed_or_was_stopped_in_a_validation_goes_on_from_its_last_step(
    server: ScoreServer, tmp_path: Path
) -> None:
    job = write_job(tmp_path, server.url, grader_outage_minutes=0, checkpoint_interval=100)
    with start(job, "--dir", tmp_path / "calm") as calm:
        printed = calm.communicate(timeout=120)[0]
    assert calm.returncode == 0, printed
    # The base's passes and three steps are graded; the validation of step 3 is not.
    server.fails_from, server.seconds = server.answered + 8 + 16 + 4 + 3 * 12 + 2, 10_000.0
    with start(job, "--dir", tmp_path / "run") as process:
        printed = process.communicate(timeout=120)[0]
    assert process.returncode == 1, printed
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3] and "valid/reward_mean" not in rows[-1]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000003"]
    asked = server.answered
    server.fails_from, server.down_since = 10**9, None
    with start("--resume", tmp_path / "run") as process:
        printed = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and "resumed after step 3" in printed, printed
    assert outcome(tmp_path / "run")[1] == outcome(tmp_path / "calm")[1]
    calm_rows, rows = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("calm", "run")
    )
    assert [row.get("valid/reward_mean") for row in rows] == [row.get("valid/reward_mean") for row in calm_rows]
    # Two validations, three steps and the tuned model's two passes; the base is not graded again.
    assert server.answered - asked == 2 * 8 + 3 * 12 + 20
