"""A run's folder: the only place where a run keeps anything, readable with ``cat`` and ``jq``.

    run/
    ├── job.json                 the job as asked for, files by absolute path
    ├── config.json              every option resolved, with the reason of each "auto", versions, fingerprints
    ├── status.json              running | interrupted | succeeded | failed, and why
    ├── metrics.jsonl            one line per step
    ├── events.jsonl             sentences for people
    ├── rollouts/                step-000001.jsonl …: everything sampled in training
    ├── evaluations/             step-000000-valid-sampled.json …: every pass over held-out examples
    ├── checkpoints/             the three best, the best of the smoothed curve, and the last
    ├── model/                   what ships: a Hugging Face folder
    ├── profile/                 with --profile: traces of where the time went
    └── report.html, report.md, report.json, curve.svg

A step is recorded once: its rollouts and evaluations are files named after it, its metrics one line. After a crash
the run goes back to its last checkpoint, forgets what came later, and records those steps again, the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openrft import faults
from openrft.errors import CheckpointError, InvalidRequest
from openrft.models.checkpoint import flush_entry
from openrft.rollout.prompt import count_reasoning_tokens
from openrft.types import Grade, Metrics, Rollout, RolloutGroup


class RunFolder:
    """Reads and writes one run's folder; only one process can hold it open."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        """Open ``path`` for a new run (``fresh``) or to go on with one.

        Raises :class:`InvalidRequest` when a fresh run would overwrite another, when there is nothing to go on with, or
        when another process is at work in it.
        """
        self.path = path
        if fresh:
            refuse_if_used(path)
        elif not (path / "job.json").exists():
            raise InvalidRequest(f"{path} holds no run to resume; check the path", param="resume")
        for part in ("", "rollouts", "evaluations", "checkpoints"):
            (path / part).mkdir(parents=True, exist_ok=True)
        self._lock = (path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InvalidRequest(f"another process is running in {path}; wait for it or stop it", param="dir") from None

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    def close(self) -> None:
        """Let another process open the folder."""
        self._lock.close()

    def write(self, name: str, document: Any) -> None:
        """Write a JSON document whole or not at all."""
        self.write_text(name, json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole or not at all."""
        partial = self.path / f"{name}.partial"
        # Half a surrogate pair, which JSON can spell and UTF-8 cannot, is written as the escape that JSON has for it.
        with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)
        flush_entry((self.path / name).parent)

    def read(self, name: str) -> Any:
        """Read a JSON document that :meth:`write` wrote."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path / name} cannot be read: {error}") from error

    def record(self, step: int, metrics: Metrics, groups: Iterable[RolloutGroup] = ()) -> None:
        """Record a finished step: its metrics last, so that a line of metrics means that all the rest is there."""
        self.write_rollouts(step, groups)
        faults.point("run.rollouts_written")
        self._append("metrics.jsonl", {"step": step, **{name: _plain(value) for name, value in metrics.items()}})
        faults.point("run.step_recorded")

    def write_rollouts(self, step: int, groups: Iterable[RolloutGroup]) -> None:
        """Keep what a step sampled, graded and gave credit for; also of a step that then failed."""
        rows = [_rollout_row(step, group, rollout) for group in groups for rollout in group.rollouts]
        if rows:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            self.write_text(f"rollouts/step-{step:06d}.jsonl", text)

    def event(self, message: str, *, level: str = "info", **data: Any) -> None:
        """Tell people something; ``level`` is info, warn or error."""
        self._append("events.jsonl", {"time": round(time.time(), 3), "level": level, "message": message, "data": data})

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every recorded step, oldest first."""
        return list(read_rows(self.path / "metrics.jsonl"))

    def amend(self, step: int, metrics: Metrics) -> None:
        """Add metrics to those of the last recorded step."""
        rows = self.read_metrics()
        if not rows or rows[-1]["step"] != step:
            raise CheckpointError(f"{self.path / 'metrics.jsonl'} does not end with step {step}")
        rows[-1] |= {name: _plain(value) for name, value in metrics.items()}
        self.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def forget_after(self, step: int) -> None:
        """Remove what was recorded after ``step``, to be recorded again by a run that goes on from there.

        The base's evaluations stay in any case: nothing that they depend on changes within a run.
        """
        kept = [row for row in self.read_metrics() if row["step"] <= step]
        self.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))
        for folder in ("rollouts", "evaluations"):
            for path in (self.path / folder).iterdir():
                number = path.name.removeprefix("step-")[:6]
                newest = max(step, 0) if folder == "evaluations" else step
                if not number.isdigit() or int(number) > newest:
                    path.unlink()

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self.path / name).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())  # as durable as the checkpoints that build on it


def refuse_if_used(path: Path) -> None:
    """Raise :class:`InvalidRequest` when ``path`` holds a run already."""
    if (path / "job.json").exists():
        raise InvalidRequest(
            f"{path} holds a run already; go on with it by --resume, or choose another --dir", param="dir"
        )


def grade_fields(grade: Grade) -> dict[str, Any]:
    """A grade as fields of an answer's row, where the names must say whose seconds and whose usage they are."""
    names = {"seconds": "grading_seconds", "usage": "grading_usage"}
    return {names.get(name, name): value for name, value in grade.as_plain().items()}


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSONL file; a last line that a crash cut off is no row."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")  # splitlines would also cut at U+2028
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            yield json.loads(line)
        except ValueError:
            if number == len(lines):
                return
            raise CheckpointError(f"{path}, line {number} is not JSON") from None


def _rollout_row(step: int, group: RolloutGroup, rollout: Rollout) -> dict[str, Any]:
    return {
        "step": step,
        "example": group.example.id,
        "line": group.example.line,
        "sample": rollout.sample_index,
        "prompt": group.example.messages,
        "output": rollout.completion.text,
        "answer": rollout.sample.output_text,
        **grade_fields(rollout.grade),
        "reward": rollout.reward,
        "advantage": rollout.advantage,
        "left_out": rollout.left_out,
        "finish_reason": rollout.completion.finish_reason,
        "reasoning_tokens": count_reasoning_tokens(rollout.completion),
        "policy_version": rollout.completion.policy_version,
        "prompt_token_ids": group.prompt_token_ids,
        "token_ids": rollout.completion.token_ids,
        "sampling_logprobs": [round(value, 5) for value in rollout.completion.sampling_logprobs],
    }


def _plain(value: float) -> float | None:
    """JSON knows no NaN; a number that could not be had is null."""
    return None if value != value or value in (float("inf"), float("-inf")) else value
