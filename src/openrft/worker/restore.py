"""Where an attempt goes on: in the run folder that the attempt just before left here, or in one built from artifacts.

A folder here is the newer one, but only if this machine made the attempt just before: the marker beside it says which
attempt wrote it last. Otherwise, and where its newest checkpoint is damaged, the folder is built anew from the newest
checkpoint in the store that is intact. A damaged one is told of, loudly, and passed over for the one before.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openrft import faults
from openrft.diagnosis.watch.alarm import ALARMS_FILE
from openrft.errors import CheckpointDamaged, CheckpointError, NotFound
from openrft.models.checkpoint_folder import (
    CHECKPOINT_FILES,
    checkpoint_path,
    flush_entry,
    list_checkpoints,
    verify_checkpoint,
)
from openrft.store import Store
from openrft.store.rows import CheckpointRow, Lease
from openrft.worker.insist import Insist
from openrft.worker.mirror import RUN_FILE
from openrft.worker.names import is_training_checkpoint

MARKER = "attempt.json"

Tell = Callable[[str, str], None]


def restore_run(
    folder: Path, store: Store, lease: Lease, job: Mapping[str, Any], *, insist: Insist, tell: Tell
) -> bool:
    """Make ``folder/run`` what this attempt goes on from; False when there is nothing to go on from.

    ``job`` is the job document with this machine's paths. ``tell`` takes a sentence and a level. Raises
    :class:`~openrft.errors.CheckpointError` when there are checkpoints and none is intact: starting over in silence
    would look like going on.
    """
    run = folder / "run"
    rows = [row for row in insist(lambda: store.checkpoints.list_of(lease)) if is_training_checkpoint(row.artifact)]
    if _is_ours(folder, lease.epoch - 1) and _is_usable(run, rows, tell):
        _mark(folder, lease.epoch)
        return True
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(run, ignore_errors=True)
    faults.point("restore.began")
    if rows:
        rebuilt = folder / "run.partial"
        shutil.rmtree(rebuilt, ignore_errors=True)
        _rebuild(rebuilt, rows, store, job, insist, tell)
        rebuilt.rename(run)
        flush_entry(folder)
        faults.point("restore.rebuilt")
    _mark(folder, lease.epoch)
    return bool(rows)


def _is_ours(folder: Path, epoch: int) -> bool:
    try:
        return bool(json.loads((folder / MARKER).read_bytes())["epoch"] == epoch)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _mark(folder: Path, epoch: int) -> None:
    partial = folder / f"{MARKER}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump({"epoch": epoch}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / MARKER)
    flush_entry(folder)


def _is_usable(run: Path, rows: list[CheckpointRow], tell: Tell) -> bool:
    if not (run / "job.json").is_file():
        return False
    there = list_checkpoints(run / "checkpoints")
    if not there:
        return not rows
    step, path = there[-1]
    if rows and rows[0].step > step:
        return False
    try:
        verify_checkpoint(path)
    except CheckpointDamaged as error:
        why = _without_path(error, path)
        tell(f"The checkpoint of step {step} is damaged here ({why}); taking those that were kept with the job", "warn")
        return False
    return True


def _rebuild(
    run: Path, rows: list[CheckpointRow], store: Store, job: Mapping[str, Any], insist: Insist, tell: Tell
) -> None:
    """Fetch every intact checkpoint, and the folder's documents as of the newest of them."""
    newest: dict[str, Any] | None = None
    for row in rows:  # latest step first
        path = checkpoint_path(run / "checkpoints", row.step)
        path.mkdir(parents=True)
        try:
            bundle = _fetch(path, row, store, insist)
        except (CheckpointDamaged, NotFound) as error:
            shutil.rmtree(path)
            tell(
                f"The checkpoint of step {row.step} is damaged ({_without_path(error, path)}); going back further",
                "warn",
            )
            continue
        newest = bundle if newest is None else newest
        flush_entry(path)
    if newest is None:
        raise CheckpointError(f"none of the {len(rows)} checkpoints of this job is intact; create the job anew")
    for name in ("rollouts", "evaluations"):
        (run / name).mkdir(parents=True)
    for name, text in newest["evaluations"].items():
        _write(run / "evaluations" / Path(name).name, text)
    _write(run / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in newest["metrics"]))
    if newest.get("alarms") is not None:  # their evidence is in rollouts that stayed where they were sampled
        _write(run / ALARMS_FILE, json.dumps(newest["alarms"], ensure_ascii=False))
    config = newest["config"]
    config["model"]["name"] = job["model"]  # a fine-tuned base is a folder, which is elsewhere on every machine
    for name, facts in config["files"].items():
        facts["path"] = job[name]
    _write(run / "config.json", json.dumps(config, indent=2, ensure_ascii=False))
    _write(run / "job.json", json.dumps(job, indent=2, ensure_ascii=False))
    flush_entry(run)


def _fetch(path: Path, row: CheckpointRow, store: Store, insist: Insist) -> dict[str, Any]:
    for name in (*CHECKPOINT_FILES, "manifest.json"):
        insist(lambda name=name: store.artifacts.fetch(f"{row.artifact}/{name}", path / name))  # type: ignore[misc]
    verify_checkpoint(path)

    def read() -> bytes:
        with store.artifacts.open(f"{row.artifact}/{RUN_FILE}") as stored:
            return stored.read()

    try:
        bundle: dict[str, Any] = json.loads(insist(read))
        if not all(isinstance(bundle[name], dict) for name in ("job", "config", "evaluations")):
            raise TypeError(RUN_FILE)
        if max(each["step"] for each in bundle["metrics"]) != row.step:
            raise ValueError(f"its metrics do not end with step {row.step}")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointDamaged(f"{RUN_FILE}: {error}") from error
    return bundle


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _without_path(error: Exception, path: Path) -> str:
    return str(error).replace(f"{path}/", "").replace(str(path), "").replace("  ", " ")
