"""How fast a long job opens in the dashboard: a store filled with one, and the requests that its pages make.

    python benchmarks/dashboard_data.py
    python benchmarks/dashboard_data.py --steps 1000 --rollouts 64 --keep /tmp/long-job --json timings.json

The job is synthetic and its rows are real: SQLite, the metrics that training records, every step's file with prompts,
outputs, grades and tokens, and every step's index. Its texts repeat with each cycle of steps, so that ten thousand
steps need the disk of sixteen files (hard links); its numbers are those of the texts. Each request goes over HTTP to a
real server in this process, with a client's whole answer read; the first and the median of all rounds are printed.

As a module, ``fill`` puts such a job into a store: ``fill(store, Shape(steps=200, rollouts=32))``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from sqlalchemy import Connection, insert, update

from openrft.api.app import create_app
from openrft.api.platform import Platform
from openrft.config.settings import Settings
from openrft.store import Store, open_store
from openrft.store.artifacts import FolderArtifacts, step_artifact
from openrft.store.rollout_index import index_of_file
from openrft.store.rows import Lease, NewJob
from openrft.store.schema import job_steps, jobs, rollout_index

CYCLE = 16  # steps whose files differ
CHARTS = (
    "reward/mean", "valid/reward_mean", "valid/reward_low", "valid/reward_high", "reward/std",
    "reward/within_group_std",
    "groups/all_pass_share", "groups/all_fail_share", "rollout/completion_tokens_mean", "rollout/truncated_share",
    "policy/entropy", "policy/k3_to_sampler", "policy/mismatch_max_abs", "policy/clipped_share",
    "optimizer/gradient_norm", "grade/close/mean", "grade/exact/mean", "time/grade_seconds_mean",
    "grade/prompt_tokens", "grade/completion_tokens", "grade/errors/other_error",
    "time/step_seconds", "time/sampling_seconds", "time/update_seconds", "time/other_seconds",
)  # fmt: skip
_STEPS_AT_ONCE = 250  # of one transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How long the job is and how much it sampled."""

    steps: int = 10_000
    rollouts: int = 500  # of a step
    group_size: int = 8
    examples: int = 4_000
    series: int = 100
    completion_tokens: int = 40
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Filled:
    """Where the job is, and a key that may read it."""

    project_id: str
    job_id: str
    lease: Lease
    key: str


def fill(store: Store, shape: Shape, *, status: str = "succeeded") -> Filled:
    """Put a job with all its steps into a store whose artifacts are a folder; ``running`` leaves it in its lease."""
    assert isinstance(store.artifacts, FolderArtifacts), "hard links need a folder"
    project = store.projects.create("long jobs")
    _, key = store.projects.create_key(project.id, "benchmark", scope="admin")
    lease = _claimed(store, project.id, shape)
    cycle = [_write_texts(store.artifacts, lease, shape, step) for step in range(1, min(CYCLE, shape.steps) + 1)]
    for first in range(1, shape.steps + 1, _STEPS_AT_ONCE):
        numbers = range(first, min(first + _STEPS_AT_ONCE, shape.steps + 1))
        _record(store, lease, shape, numbers, cycle)
    if status != "running":
        store.queue.finish(lease, status, message="done")  # type: ignore[arg-type]
    return Filled(project_id=project.id, job_id=lease.job_id, lease=lease, key=key)


def _claimed(store: Store, project_id: str, shape: Shape) -> Lease:
    grader = {"type": "string_check", "name": "exact", "input": "{{sample.output_text}}", "operation": "eq"}
    method = {
        "type": "reinforcement",
        "reinforcement": {"grader": {**grader, "reference": "{{item.answer}}"}, "hyperparameters": {}},
    }
    asked = NewJob(
        model="openrft-tiny",
        training_file="file-long",
        validation_file=None,
        seed=shape.seed,
        spec={
            "request": {"method": method},
            "base_model": "openrft-tiny",
            "document": {"method": method, "training_file": "file-long"},
        },
    )
    job = store.jobs.create(project_id, asked)
    store.jobs.accept(project_id, job.id)
    claim = store.queue.claim("benchmark")
    assert claim is not None and claim.job.id == job.id
    return claim.lease


def _write_texts(artifacts: FolderArtifacts, lease: Lease, shape: Shape, step: int) -> tuple[str, dict[str, Any]]:
    """One step's file and the row of its index."""
    draw = random.Random(shape.seed * 1_000_003 + step)
    lines = [
        (json.dumps(_row(draw, shape, step, number), ensure_ascii=False) + "\n").encode()
        for number in range(shape.rollouts)
    ]
    key = step_artifact(lease.job_id, step, lease.epoch)
    artifacts.write(key, lines)
    return key, index_of_file(lines).as_row()


def _row(draw: random.Random, shape: Shape, step: int, number: int) -> dict[str, Any]:
    """A rollout as training writes it, with a multi grader of two parts; one in a hundred could not be graded."""
    group = number // shape.group_size
    example = (step * math.ceil(shape.rollouts / shape.group_size) + group) % shape.examples
    tokens = draw.randrange(1, 2 * shape.completion_tokens)
    is_graded = draw.random() > 0.01
    right, close = float(draw.random() < 0.4), round(draw.random(), 4)
    reward = round(0.5 * right + 0.5 * close, 6) if is_graded else None
    error = None if is_graded else {"kind": "other_error", "message": "the grader did not answer"}
    plain = {"explanation": "", "printed": "", "seconds": 0.001, "usage": {}, "unparsed": False, "sub_grades": {}}
    parts = {
        name: {"grader": name, "score": score if is_graded else None, "error": error, "replaced": None, **plain}
        for name, score in (("exact", right), ("close", close))
    }
    output = " ".join(draw.choice(("seven", "eleven", "twelve", "plus", "is")) for _ in range(tokens))
    return {
        "step": step, "example": f"{example:016x}", "line": example + 1, "sample": number % shape.group_size,
        "prompt": [{"role": "user", "content": f"What is {example} + {example % 7}?"}],
        "output": output, "answer": output, "grader": "both", "score": reward, "error": error, "replaced": None,
        "explanation": f"{right} and {close}", "printed": "", "grading_seconds": 0.002, "grading_usage": {},
        "unparsed": False, "sub_grades": parts, "reward": reward,
        "advantage": None if reward is None else round(reward - 0.45, 6),
        "left_out": None if is_graded else "ungraded", "finish_reason": "length" if tokens > 75 else "stop",
        "reasoning_tokens": 0, "policy_version": step - 1,
        "prompt_token_ids": [draw.randrange(1_000) for _ in range(12)],
        "token_ids": [draw.randrange(1_000) for _ in range(tokens)],
        "sampling_logprobs": [round(-draw.random(), 5) for _ in range(tokens)],
    }  # fmt: skip


def metrics_of(shape: Shape, step: int) -> dict[str, float]:
    """A step's series: a curve that rises, with noise; those of validations at every tenth step."""
    draw = random.Random(shape.seed + step)
    names = [*CHARTS, *(f"more/series_{number}" for number in range(shape.series - len(CHARTS)))]
    risen = 1 - math.exp(-3 * step / shape.steps)
    return {
        name: abs(risen + 0.05 * draw.gauss(0, 1)) / 2
        for name in names
        if step % 10 == 0 or not name.startswith("valid/")
    }


def _record(store: Store, lease: Lease, shape: Shape, numbers: range, cycle: list[tuple[str, dict[str, Any]]]) -> None:
    """Many steps in one transaction: what ``store.steps.record`` writes for each, with one sync of the disk."""
    assert isinstance(store.artifacts, FolderArtifacts)
    steps, indexes = [], []
    for step in numbers:
        source, index = cycle[(step - 1) % len(cycle)]
        key = step_artifact(lease.job_id, step, lease.epoch)
        if key != source:
            os.link(store.artifacts.root / source, store.artifacts.root / key)
        of_step = {"job_id": lease.job_id, "step": step}
        recorded = {"epoch": lease.epoch, "recorded_at": 1_790_000_000 + 60 * step, "rollouts": key}
        steps.append({**of_step, **recorded, "metrics": metrics_of(shape, step)})
        indexes.append({**of_step, **index})

    def work(connection: Connection) -> None:
        connection.execute(insert(job_steps), steps)
        connection.execute(insert(rollout_index), indexes)
        reached = {"step": numbers[-1], "total_steps": shape.steps}
        connection.execute(update(jobs).where(jobs.c.id == lease.job_id).values(reached))

    store.database.write(work)


@contextmanager
def served(store: Store, home: Path) -> Iterator[str]:
    """A server for the store; its address."""
    app = create_app(Platform(store=store, settings=Settings(), home=home))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def requests_of(shape: Shape) -> dict[str, str]:
    """What the pages of a job ask for, beneath its address."""
    seen = f"{math.ceil(shape.rollouts / shape.group_size) % shape.examples:016x}"
    names, last, middle = ",".join(CHARTS), shape.steps, shape.steps // 2
    return {
        "the charts": f"metrics?names={names}&max_points=2000",
        "the charts with bands": f"metrics?names={names}&max_points=2000&bands=true",
        "the charts, what is new": f"metrics?names={names}&after_step={last - 1}",
        "all series": "metrics?max_points=200",
        "newest rollouts": "rollouts?limit=20",
        "a step": f"rollouts/steps/{middle}",
        "a step's groups": f"rollouts/steps/{middle}/groups",
        "one rollout": f"rollouts/rollout_{middle}_{shape.rollouts - 1}",
        "best": "rollouts?sort=best",
        "worst": "rollouts?sort=worst",
        "longest": "rollouts?sort=longest",
        "best, page 200 long": "rollouts?sort=best&limit=200",
        "one example, best": f"rollouts?sort=best&example={seen}",
        "one example, oldest": f"rollouts/examples/{seen}?sort=oldest&limit=200",
        "errored, longest": "rollouts?sort=longest&errored=true",
        "left out": "rollouts?left_out=ungraded",
        "nothing has this reward": "rollouts?min_reward=0.50001&max_reward=0.50002",
        "search, found": "rollouts?search=seven eleven twelve",
        "search, found nowhere": "rollouts?search=needle",
        "histogram": "rollouts/histogram",
    }


def measure(url: str, filled: Filled, shape: Shape, rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds and bytes of each request: the first time, and the median."""
    headers = {"Authorization": f"Bearer {filled.key}"}
    found: dict[str, dict[str, Any]] = {}
    with httpx2.Client(base_url=url, headers=headers, timeout=600) as client:
        for name, path in requests_of(shape).items():
            seconds = []
            for _ in range(rounds):
                began = time.perf_counter()
                answer = client.get(f"/v1/fine_tuning/jobs/{filled.job_id}/{path}")
                seconds.append(time.perf_counter() - began)
            found[name] = {
                "status": answer.status_code,
                "first": seconds[0],
                "median": statistics.median(seconds),
                "bytes": len(answer.content),
            }
            print(f"{name:28s} {answer.status_code} {seconds[0]:8.3f} s first, {found[name]['median']:8.3f} s median,"
                  f" {len(answer.content):9,d} bytes", flush=True)  # fmt: skip
    return found


def main() -> None:
    """Fill a store, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    usual = Shape()
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--rollouts", type=int, default=usual.rollouts, help="of a step")
    parser.add_argument("--series", type=int, default=usual.series)
    parser.add_argument("--tokens", type=int, default=usual.completion_tokens, help="of a completion, on average")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a folder for the store, kept and used again")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    shape = Shape(steps=asked.steps, rollouts=asked.rollouts, series=asked.series, completion_tokens=asked.tokens)
    with tempfile.TemporaryDirectory(prefix="openrft-dashboard-") as temporary:
        home = asked.keep or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        with open_store(f"sqlite:///{home}/openrft.db", artifacts=home / "artifacts") as store:
            filled = _filled(store, home, shape)
            size = (home / "openrft.db").stat().st_size
            print(f"{shape.steps:,} steps of {shape.rollouts} rollouts; the database has {size / 1e6:,.0f} MB")
            with served(store, home) as url:
                found = measure(url, filled, shape, asked.rounds)
    if asked.json is not None:
        asked.json.write_text(json.dumps({"database_bytes": size, "requests": found}, indent=2) + "\n")


def _filled(store: Store, home: Path, shape: Shape) -> Filled:
    """The job of an earlier call with the same folder, or a new one."""
    note = home / "filled.json"
    if note.exists():
        known = json.loads(note.read_text())
        return Filled(**{**known, "lease": Lease(**known["lease"])})
    began = time.perf_counter()
    filled = fill(store, shape)
    print(f"filled in {time.perf_counter() - began:.0f} s")
    lease = {name: getattr(filled.lease, name) for name in Lease.__dataclass_fields__}
    kept = {"project_id": filled.project_id, "job_id": filled.job_id, "key": filled.key, "lease": lease}
    note.write_text(json.dumps(kept))
    return filled


if __name__ == "__main__":
    main()
