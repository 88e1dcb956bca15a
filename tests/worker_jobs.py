"""Small jobs of seconds, a worker for them, and all of a job that has to be equal however it was disturbed."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openrft.config.home import Home
from openrft.config.settings import Settings
from openrft.store import Store
from openrft.store.rollout_index import line_sizes, unpacked
from openrft.store.rows import JobRow, NewJob
from openrft.worker.insist import Insist
from openrft.worker.lifeline import started_at
from openrft.worker.names import is_training_checkpoint
from openrft.worker.supervisor import Pace, Supervisor
from openrft.worker.validate import validate
from openrft.worker.validators import Validators
from run_settings import MEASURED

PROCESS = Path(__file__).with_name("worker_process.py")
FORKS = Path(__file__).with_name("worker_forks.py")

ROOMY = 1_000_000  # bytes of disk that stay free, for tests that are about other things

QUICK = Pace(lease=6.0, beat=0.3, tick=0.05, look=0.1, crash_delay=0, space=0.3)

GRADER = {
    "type": "python",
    "name": "letters",
    "source": "def grade(sample, item):\n    return sum(c.isalpha() for c in sample['output_text']) / 16",
}
OPTIONS = {
    "num_steps": 6, "batch_size": 3, "group_size": 4, "max_completion_tokens": 12, "eval_interval": 2,
    "eval_samples": 2, "learning_rate": 0.003, "checkpoint_interval": 1,
}  # fmt: skip
SUPERVISED_OPTIONS = {
    "num_steps": 6, "batch_size": 3, "eval_interval": 2, "learning_rate": 0.003, "checkpoint_interval": 1,
    "max_completion_tokens": 12, "eval_samples": 2,
}  # fmt: skip


def rows(count: int, offset: int) -> bytes:
    made = [{"messages": [{"role": "user", "content": f"say {offset + i}"}], "n": offset + i} for i in range(count)]
    return "".join(json.dumps(row) + "\n" for row in made).encode()


def answered(count: int, offset: int) -> bytes:
    """Rows of a supervised file."""
    answers = [({"role": "user", "content": f"say {n}"}, f"{n}!") for n in range(offset, offset + count)]
    made = [{"messages": [asked, {"role": "assistant", "content": text}]} for asked, text in answers]
    return "".join(json.dumps(row) + "\n" for row in made).encode()


def create_job(
    store: Store,
    project_id: str,
    *,
    train: bytes | None = None,
    model: str = "openrft-tiny",
    grader: dict[str, Any] = GRADER,
    monitor: dict[str, Any] | None = None,
    suffix: str | None = "mine",
    integrations: list[dict[str, Any]] | None = None,
    **options: Any,
) -> JobRow:
    """A job as the API makes it: its files uploaded, itself still to be validated."""
    asked = {"grader": grader, "hyperparameters": {**OPTIONS, **options}}
    method = {
        "type": "reinforcement",
        "reinforcement": asked if monitor is None else {**asked, "monitor_grader": monitor},
    }
    files = {"training_file": train or rows(12, 0), "validation_file": rows(4, 100), "test_file": rows(4, 200)}
    return _create(store, project_id, files, method, model, suffix, integrations)


def create_supervised_job(
    store: Store,
    project_id: str,
    *,
    grader: dict[str, Any] | None = None,
    files: dict[str, bytes] | None = None,
    **options: Any,
) -> JobRow:
    """Likewise, of the method supervised; ``files`` by role, in place of three good ones."""
    asked = {"hyperparameters": {**SUPERVISED_OPTIONS, **options}}
    method = {"type": "supervised", "supervised": asked if grader is None else {**asked, "grader": grader}}
    if files is None:
        files = {"training_file": answered(12, 0), "validation_file": answered(4, 100), "test_file": answered(4, 200)}
    return _create(store, project_id, files, method, "openrft-tiny", "mine")


def _create(
    store: Store,
    project_id: str,
    contents: dict[str, bytes],
    method: dict[str, Any],
    model: str,
    suffix: str | None,
    integrations: list[dict[str, Any]] | None = None,
) -> JobRow:
    files = {
        role: store.files.create(project_id, [data], filename=f"{role}.jsonl", purpose="fine-tune").id
        for role, data in contents.items()
    }
    document = {"model": model, **files, "seed": 5, "suffix": suffix, "method": method}
    document["integrations"] = integrations
    spec = {"request": {"method": method}, "base_model": model, "document": document}
    new = NewJob(
        model=model,
        training_file=files["training_file"],
        validation_file=files.get("validation_file"),
        seed=5,
        suffix=suffix,
        spec=spec,
    )
    return store.jobs.create(project_id, new)


@contextmanager
def working(store: Store, home: Home, **options: Any) -> Iterator[Supervisor]:
    """A supervisor at work in a thread of this process."""
    supervisor = Supervisor(store, home, Settings(), **{"pace": QUICK, "reserve_bytes": ROOMY, **options})
    stop = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=[stop])
    thread.start()
    try:
        yield supervisor
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


class WorkerProcess:
    """A supervisor in a process of its own, for killing."""

    def __init__(self, home: Home, *, before: Sequence[str] = (), reserve: int = ROOMY, **pace: Any) -> None:
        asked = {
            "home": str(home.path), "database": home.database_url, "artifacts": home.artifacts,
            "reserve": reserve, "pace": {**asdict(QUICK), **pace},
        }  # fmt: skip
        self.home = home
        with (home.path / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, str(PROCESS), json.dumps(asked)], stderr=log, stdin=subprocess.DEVNULL
            )

    def child(self, job: JobRow) -> int | None:
        """The process that trains ``job``, if it runs."""
        try:
            return int(json.loads((self.home.jobs / job.id / "attempt.pid").read_bytes())["pid"])
        except (OSError, ValueError):
            return None

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def processes() -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers; none is left behind."""
    started: list[WorkerProcess] = []

    def start(home: Home, **pace: Any) -> WorkerProcess:
        started.append(WorkerProcess(home, **pace))
        return started[-1]

    try:
        yield start
    finally:
        for worker in started:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGCONT)
                worker.end(signal.SIGKILL)


def validators_of(store: Store, home: Home) -> Validators:
    """What validates new jobs, without the worker around it."""
    return Validators(store, Supervisor(store, home, Settings())._brief)


def is_running(pid: int) -> bool:
    return started_at(pid) is not None


def at_step(store: Store, job: JobRow, step: int, seconds: float = 60.0) -> JobRow:
    """The job, once that step is recorded."""

    def look() -> JobRow | None:
        now = store.jobs.get(job.project_id, job.id)
        assert now.status not in ("failed", "cancelled"), now.error
        return now if now.step is not None and now.step >= step else None

    found: JobRow = until(look, seconds)
    return found


def until(condition: Callable[[], Any], seconds: float = 60.0, every: float = 0.05) -> Any:
    """What ``condition`` gives, once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(every)
    raise AssertionError(f"not within {seconds:.0f} s")


def ended(store: Store, job: JobRow, seconds: float = 90.0) -> JobRow:
    """The job, once it is over."""

    def look() -> JobRow | None:
        now = store.jobs.get(job.project_id, job.id)
        return now if now.status in ("succeeded", "failed", "cancelled") else None

    try:
        found: JobRow = until(look, seconds)
    except AssertionError:
        raise AssertionError("\n".join(messages(store, job))) from None
    return found


def messages(store: Store, job: JobRow) -> list[str]:
    return [event.message for event in store.events.tail(job.project_id, job.id)]


def outcome(store: Store, job: JobRow) -> dict[str, Any]:
    """All of a job that must be as in an undisturbed run: weights, metrics, rollouts, evaluations, events, …"""
    project, now = job.project_id, store.jobs.get(job.project_id, job.id)
    steps = store.steps.list(project, job.id)
    points = store.checkpoints.list(project, job.id, limit=100).items
    events = store.events.tail(project, job.id)
    told = [(event.type, event.message) for event in events if not is_about_attempts(event.message)]
    evaluations = store.artifacts.list(f"jobs/{job.id}/evaluations")
    return {
        "job": (now.status, now.step, now.total_steps, now.checkpoint_step, now.trained_tokens, len(now.result_files)),
        "metrics": [
            # What was spent is less for a job that finds its base evaluated.
            {"step": s.step, **{k: v for k, v in s.metrics.items() if not k.startswith((*MEASURED, "spent/"))}}
            for s in steps
        ],
        "rollouts": {s.step: rollouts(store, s.rollouts) for s in steps if s.rollouts is not None},
        "rollout_index": rollout_index(store, job),
        "evaluations": {key.rpartition("/")[2]: json.loads(read(store, key)) for key in evaluations},
        "checkpoints": {(p.step, p.model_name.count(":")): (weights(store, p.artifact), p.metrics) for p in points},
        "events": [(kind, without_names(text.replace(job.id, "JOB"))) for kind, text in told],
        "evals": [run.name for run in runs_of(store, job)],
    }


def without_names(text: str) -> str:
    """Without the letters of files and models, which are each job's own."""
    return re.sub(r"file-\w{24}", "file-…", re.sub(r"(ft:[^ ]*?:)\w{8}\b", r"\1…", text))


def in_forks(
    store: Store,
    job: JobRow,
    database: str,
    artifacts: str,
    homes: list[Path],
    *,
    between: Callable[[Store], None] | None = None,
    **plan: Any,
) -> list[dict[str, Any]]:
    """Attempts of ``job`` in forked children, with the faults that are planned; what became of each.

    ``between`` is called after the first attempt, before the second.
    """
    asked = {
        "database": database, "artifacts": artifacts, "homes": [str(home) for home in homes],
        "project": job.project_id, "job": job.id, **plan,
    }  # fmt: skip
    validate(store, job, homes[0] / "jobs" / job.id, Insist(lambda: None))
    command = [sys.executable, str(FORKS), json.dumps(asked)]
    told = []
    with tempfile.TemporaryFile("w+") as trouble:
        forks = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=trouble, text=True)
        with forks:
            for line in forks.stdout:
                if line.startswith("{"):
                    told.append(json.loads(line))
                    if between is not None and len(told) == 1:
                        between(store)
                    forks.stdin.write("go on\n")
                    forks.stdin.flush()
        trouble.seek(0)
        assert forks.returncode == 0, trouble.read()[-4_000:] + str(told)
    return told


def runs_of(store: Store, job: JobRow) -> list[Any]:
    found = [one for one in store.evals.list(job.project_id, limit=100).items if one.job_id == job.id]
    return [run for one in found for run in store.eval_runs.list(job.project_id, one.id, limit=100).items]


def is_about_attempts(message: str) -> bool:
    """Whether an event tells of disturbances or earlier jobs, which a job that is alone and undisturbed has none of."""
    beginnings = (
        "Fine-tuning job continues", "The worker", "resumed after", "The attempt", "The last lines", "The store did",
        "The job was", "Pausing", "Cancelling", "stopping after", "stopped", "The checkpoint of step", "The job waits",
        "base evaluation of",
    )  # fmt: skip
    return message.startswith(beginnings)


def rollouts(store: Store, key: str) -> list[dict[str, Any]]:
    return [{**json.loads(line), "grading_seconds": 0} for line in read(store, key).splitlines()]


def rollout_index(store: Store, job: JobRow) -> dict[int, list[Any]]:
    """What is kept of each step's rollouts in numbers, after a look that it is of the step's own file."""
    found = {}
    for step in store.rollouts.steps(job.project_id, job.id):
        if step.rollouts is not None:
            ((key, packed),) = store.rollouts.columns(job.project_id, job.id, [step.step]).values()
            index = unpacked(packed)
            assert (key, index.line_bytes.tolist()) == (step.rollouts, line_sizes(read(store, key)))
            found[step.step] = [index.examples, index.example.tolist(), str(index.reward), index.length.tolist()]
    return found


def weights(store: Store, prefix: str) -> dict[str, str]:
    """SHA-256 of the weights below a checkpoint or model."""
    keys = [key for key in store.artifacts.list(prefix) if key.endswith(".safetensors")]
    assert keys, f"no weights below {prefix}"
    return {key.removeprefix(f"{prefix}/"): hashlib.sha256(read(store, key)).hexdigest() for key in keys}


def read(store: Store, key: str) -> bytes:
    with store.artifacts.open(key) as file:
        return file.read()


def unreferenced(store: Store, job: JobRow) -> list[str]:
    """Artifacts of attempts that no row points to."""
    known = {s.rollouts for s in store.steps.list(job.project_id, job.id)}
    points = store.checkpoints.list(job.project_id, job.id, limit=100).items
    kept = tuple(p.artifact + "/" for p in points if is_training_checkpoint(p.artifact))
    keys = store.artifacts.list(f"jobs/{job.id}")
    lost = [key for key in keys if "/checkpoints/" in key and not key.startswith(kept)]
    return lost + [key for key in keys if "/rollouts/" in key and key not in known]
