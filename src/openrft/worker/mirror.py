"""What a run's folder takes in, brought to the store as it happens: the run can go on wherever the store is.

    a step          its rollouts as an artifact, then metrics and event in one transaction
    an evaluation   its artifact, and a run of the job's own eval
    a checkpoint    its files as artifacts, then its row and event; only then are those that it makes needless forgotten

Each is done once, however often it is told: a step by its number, an event by its key, a checkpoint by its model name.
Every write waits for a store that is away, and ends the attempt when another one holds the job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from openrft import faults
from openrft.diagnosis.watch.alarm import ALARMS_FILE
from openrft.errors import NotFound, StoreError
from openrft.models.checkpoint_folder import CHECKPOINT_FILES, checkpoint_path, list_checkpoints
from openrft.store import Store
from openrft.store.artifacts import step_artifact
from openrft.store.rollout_index import index_of, line_sizes
from openrft.store.rows import CheckpointRow, JobRow, Lease, NewEvent, StepRow, finite
from openrft.worker.insist import Insist
from openrft.worker.metrics_event import metrics_event
from openrft.worker.names import (
    checkpoint_prefix,
    document_key,
    evaluation_key,
    is_training_checkpoint,
    model_name,
)
from openrft.worker.notes import Notes
from openrft.worker.step_evals import record_step_eval
from openrft.worker.supervised_event import supervised_event, supervised_metrics

RUN_FILE = "run.json"
"""Beside a checkpoint's own files: what the run's folder held when it was made, so that it can be built again."""

VALIDATION = "-valid-sampled.json"
"""How the names of the passes end by which the validation curve is drawn."""

_STEPS_AT_ONCE = 1_000


class Mirror:
    """A :class:`~openrft.training.journal.Journal` that writes to the store."""

    def __init__(
        self, store: Store, lease: Lease, job: JobRow, run: Path, *, organization: str, insist: Insist, notes: Notes
    ) -> None:
        self._store, self._lease, self._job, self._run = store, lease, job, run
        self._organization, self._insist, self._notes = organization, insist, notes
        self._known: dict[int, StepRow] = {}
        self._total_steps = 0
        self._validation_rows: list[dict[str, Any]] | None = None
        self._alarms = ""

    def began(self) -> None:
        """Tell what "auto" became, and learn what earlier attempts have recorded."""
        config = self._read("config.json")
        self._total_steps = config["hyperparameters"]["num_steps"]
        resolved = {"hyperparameters": config["hyperparameters"], "reasons": config["reasons"]}
        self._insist(lambda: self._store.queue.set_resolved(self._lease, resolved))
        self._known = {row.step: row for row in recorded_steps(self._store, self._job, self._insist)}
        document = self._job.spec["document"]
        for name, facts in config["files"].items():
            facts["path"] = document[name]  # as the job names it: paths of this machine are nobody's business
        config["model"]["name"] = self._job.spec["base_model"]
        for judge in config.get("judges", {}).values():
            judge.pop("base_url", None)
        self._write_document("config.json", _pretty(config))
        self._write_document("job.json", _pretty(document))
        self._notes.place = "began"

    def resumed(self, step: int) -> None:
        """Bring to the store what the attempt before had in the folder and did not get to tell."""
        folder = f"jobs/{self._job.id}/evaluations"
        there_already = set(self._insist(lambda: self._store.artifacts.list(folder)))
        for path in sorted((self._run / "evaluations").glob("step-*.json")):
            if evaluation_key(self._job.id, path.name) not in there_already:
                self.evaluated(int(path.name.split("-")[1]), f"evaluations/{path.name}")
        for row in self._rows():
            known = self._known.get(row["step"])
            if known is None or known.metrics != _metrics(row):
                self.recorded(row["step"])
        recorded = {row.step for row in self._checkpoints()}
        there = [number for number, _ in list_checkpoints(self._run / "checkpoints")]
        for number in there:
            if number not in recorded:
                self._save(number)
        self._forget_all_but(set(there))
        self._notes.place = f"after step {step}"

    def recorded(self, step: int) -> None:
        """Record a step, or what has been added to it since."""
        row = self._newest_row()
        if row["step"] != step:  # of an earlier attempt, now brought to the store
            row = next(row for row in self._rows() if row["step"] == step)
        before = self._known.get(step)
        file = self._run / f"rollouts/step-{step:06d}.jsonl"
        key = None if before is None else before.rollouts
        if file.exists():
            key = step_artifact(self._job.id, step, self._lease.epoch)
            self._write_file(key, file)
            faults.point("mirror.rollouts_written")
        metrics = _metrics(row)
        text = self._rollouts(file, key)
        sampled = read_lines(text)
        event = self._step_event(step, metrics, sampled)
        index = None if key is None else index_of(sampled, line_sizes(text))
        self._insist(
            lambda: self._store.steps.record(
                self._lease, step, metrics, total_steps=self._total_steps, events=[event], rollouts=key, index=index
            )
        )
        faults.point("mirror.step_recorded")
        if before is not None and before.rollouts not in (None, key):
            self._delete(str(before.rollouts))
        self._known[step] = StepRow(
            job_id=self._job.id, step=step, epoch=self._lease.epoch, recorded_at=0, metrics=metrics, rollouts=key
        )
        self._write_alarms()
        self._notes.place = f"after step {step}"

    def evaluated(self, step: int, file: str) -> None:
        """Keep a pass over held-out rows; one over the validation rows is a run of the job's eval as well."""
        text = (self._run / file).read_bytes()
        key = evaluation_key(self._job.id, Path(file).name)
        if file.endswith(VALIDATION):
            evaluation, rows = json.loads(text), self._rows_of_validation()
            self._insist(lambda: record_step_eval(self._store, self._lease, self._job, step, evaluation, rows))
        self._insist(lambda: self._store.artifacts.write(key, [text]))
        faults.point("mirror.evaluation_written")

    def saved(self, step: int, kept: Set[int]) -> None:
        """Keep a checkpoint, then forget those that are not of ``kept``."""
        self._save(step)
        self._forget_all_but(kept)

    def _save(self, step: int) -> None:
        prefix = checkpoint_prefix(self._job.id, step, self._lease.epoch)
        folder = checkpoint_path(self._run / "checkpoints", step)
        for name in (*CHECKPOINT_FILES, "manifest.json"):
            self._write_file(f"{prefix}/{name}", folder / name)
            faults.point("mirror.checkpoint_file_written")
        bundle = json.dumps(self._bundle(), ensure_ascii=False).encode("utf-8", "backslashreplace")
        self._insist(lambda: self._store.artifacts.write(f"{prefix}/{RUN_FILE}", [bundle]))
        faults.point("mirror.checkpoint_written")
        base = self._job.spec["base_model"]
        name = model_name(base, self._organization, self._job.suffix, self._job.id, step)
        told = f"Checkpoint created at step {step} with Snapshot ID: {name}"
        of = _step_of_weights(folder, step)
        before = [row for row in self._checkpoints() if row.step == step and row.artifact != prefix]
        self._insist(
            lambda: self._store.checkpoints.record(
                self._lease,
                step,
                model_name=name,
                artifact=prefix,
                metrics=checkpoint_metrics(step, self._known[of].metrics if of in self._known else {}),
                events=[NewEvent(message=told, key=f"checkpoint-{step}")],
            )
        )
        faults.point("mirror.checkpoint_recorded")
        for row in before:  # of an attempt that had come this far already
            self._delete(row.artifact)

    def _forget_all_but(self, kept: Set[int]) -> None:
        for row in self._checkpoints():
            if row.step not in kept:
                self._insist(lambda row=row: self._store.checkpoints.forget(self._lease, row.id))  # type: ignore[misc]
                faults.point("mirror.checkpoint_forgotten")
                self._delete(row.artifact)

    def _bundle(self) -> dict[str, Any]:
        """All that the folder needs beside its checkpoints for a run to go on in it."""
        evaluations = (self._run / "evaluations").glob("step-*.json")
        return {
            "job": self._read("job.json"),
            "config": self._read("config.json"),
            "metrics": self._rows(),
            "evaluations": {path.name: path.read_text(encoding="utf-8") for path in sorted(evaluations)},
            "alarms": self._read(ALARMS_FILE) if (self._run / ALARMS_FILE).exists() else None,
        }

    def _step_event(self, step: int, metrics: Mapping[str, Any], sampled: list[dict[str, Any]]) -> NewEvent:
        method = self._job.spec["document"]["method"]
        if method["type"] == "supervised":
            return supervised_event(step, self._total_steps, metrics)
        grader = method["reinforcement"]["grader"]
        path = self._run / f"evaluations/step-{step:06d}{VALIDATION}"
        evaluation = json.loads(path.read_bytes()) if path.exists() else None
        return metrics_event(step, self._total_steps, metrics, sampled, evaluation, grader)

    def _rollouts(self, file: Path, key: str | None) -> bytes:
        """The step's rollouts: from the folder, or from the store where another machine sampled them."""
        if file.exists():
            return file.read_bytes()
        if key is None:
            return b""

        def read() -> bytes:
            try:
                with self._store.artifacts.open(key) as stored:
                    return stored.read()
            except NotFound:
                return b""

        return self._insist(read)

    def _rows(self) -> list[dict[str, Any]]:
        path = self._run / "metrics.jsonl"
        return read_lines(path.read_bytes()) if path.exists() else []

    def _newest_row(self) -> dict[str, Any]:
        """The last line only: a run may have ten thousand."""
        lines = (self._run / "metrics.jsonl").read_bytes().rstrip(b"\n")
        row: dict[str, Any] = json.loads(lines[lines.rfind(b"\n") + 1 :])
        return row

    def _rows_of_validation(self) -> list[dict[str, Any]]:
        if self._validation_rows is None:
            self._validation_rows = read_lines(Path(self._read("job.json")["validation_file"]).read_bytes())
        return self._validation_rows

    def _checkpoints(self) -> list[CheckpointRow]:
        rows = self._insist(lambda: self._store.checkpoints.list_of(self._lease))
        return [row for row in rows if is_training_checkpoint(row.artifact)]

    def _read(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self._run / name).read_bytes())
        return document

    def _write_alarms(self) -> None:
        """What the rules have found so far, where that has changed."""
        path = self._run / ALARMS_FILE
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != self._alarms:
            self._write_document(ALARMS_FILE, text)
            self._alarms = text

    def _write_file(self, key: str, path: Path) -> None:
        self._insist(lambda: self._store.artifacts.write_file(key, path))

    def _write_document(self, name: str, text: str) -> None:
        key = document_key(self._job.id, name)
        self._insist(lambda: self._store.artifacts.write(key, [text.encode("utf-8", "backslashreplace")]))

    def _delete(self, key: str) -> None:
        """Nothing points there any more; what cannot be deleted now, the sweep of orphans will."""
        try:
            self._store.artifacts.delete(key)
        except StoreError:
            return


def recorded_steps(store: Store, job: JobRow, insist: Insist) -> Iterator[StepRow]:
    """Every step of the job in the store, in order, page by page."""
    after = -1
    while True:
        rows = insist(
            lambda after=after: store.steps.list(job.project_id, job.id, after=after, limit=_STEPS_AT_ONCE)  # type: ignore[misc]
        )
        yield from rows
        if len(rows) < _STEPS_AT_ONCE:
            return
        after = rows[-1].step


def checkpoint_metrics(step: int, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """A checkpoint's metrics in the words that scripts for OpenAI's API read; those that its method measured."""
    named = {
        "train_mean_reward": metrics.get("reward/mean"),
        "full_valid_mean_reward": metrics.get("valid/reward_mean"),
        "completion_tokens_mean": metrics.get("rollout/completion_tokens_mean"),
    }
    known = {name: value for name, value in named.items() if value is not None}
    return {"step": float(step), **known, **supervised_metrics(metrics)}


def _step_of_weights(checkpoint: Path, step: int) -> int:
    """Where a collapsed policy was put back, its checkpoint holds, and is to show the metrics of, an earlier step."""
    returns = json.loads((checkpoint / "state.json").read_bytes()).get("returns", [])
    for one in reversed(returns):
        if one["at"] == step:
            step = one["to"]
    return step


def read_lines(text: bytes) -> list[dict[str, Any]]:
    """The objects of a JSONL file that this program wrote or has checked; a last line that was cut off is none."""
    rows = []
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise
    return rows


def _metrics(row: Mapping[str, Any]) -> dict[str, float | None]:
    return finite({name: value for name, value in row.items() if name != "step"})


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
