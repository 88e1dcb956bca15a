"""The end of a job that succeeded: its model, report and result file in the store, then the job itself."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openrft import faults
from openrft.errors import StoreError
from openrft.evaluation.loss_report import KIND as LOSS_KIND
from openrft.store import Store
from openrft.store.events import VERDICT_KEY
from openrft.store.ids import derived_id
from openrft.store.rows import CheckpointRow, JobRow, Lease, NewEvent, StepRow
from openrft.worker.insist import Insist
from openrft.worker.mirror import checkpoint_metrics, recorded_steps
from openrft.worker.names import document_key, is_training_checkpoint, model_name, model_prefix
from openrft.worker.result_file import result_csv
from openrft.worker.supervised_event import supervised_csv

KEPT_CHECKPOINTS = 3
"""How many stay beside the final model: the best in validation, by mean reward or else by loss; or the last ones."""

_DOCUMENTS = ("report.md", "report.json", "curve.svg", "status.json", "alarms.json")
_EVENTS_AT_ONCE = 1_000


def end_succeeded(
    store: Store,
    lease: Lease,
    job: JobRow,
    run: Path,
    report: Mapping[str, Any],
    *,
    organization: str,
    insist: Insist,
) -> None:
    """Bring what the finished run in ``run`` made to the store and end the job. Done again, it does the same again."""
    prefix = model_prefix(job.id)
    _write_artifacts(store, job, run, prefix, insist)
    step = int(report["shipped_step"])
    steps = list(recorded_steps(store, job, insist))
    name = model_name(job.spec["base_model"], organization, job.suffix, job.id, None)
    insist(
        lambda: store.checkpoints.record(
            lease,
            step,
            model_name=name,
            artifact=prefix,
            metrics=checkpoint_metrics(step, next((row.metrics for row in steps if row.step == step), {})),
            events=[
                NewEvent(message=str(report["sentence"]), key=VERDICT_KEY, data={"verdict": verdict_data(report)}),
                NewEvent(message=f"New fine-tuned model created: {name}", key="final-model"),
            ],
        )
    )
    faults.point("ending.model_recorded")
    _keep_best(store, lease, insist)
    to_csv = supervised_csv if job.spec["document"]["method"]["type"] == "supervised" else result_csv
    table = to_csv(_metrics_events(store, job, insist)).encode()
    results = insist(
        lambda: store.files.create(
            job.project_id,
            [table],
            filename="step_metrics.csv",
            purpose="fine-tune-results",
            file_id=derived_id("file", job.id, "results"),
        )
    )
    faults.point("ending.results_written")
    insist(
        lambda: store.queue.finish(
            lease,
            "succeeded",
            message="The job has successfully completed",
            fine_tuned_model=name,
            trained_tokens=_trained_tokens(steps),
            result_files=[results.id],
        )
    )
    faults.point("ending.finished")


def verdict_data(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a list of jobs shows of a report: its outcome, and the claimed gain with its interval where there is one."""
    difference = report["paired"] if report.get("kind") == LOSS_KIND else report["selection"]["difference"]
    known: Mapping[str, Any] = difference or {"mean": None, "interval": {"low": None, "high": None}}
    interval = known["interval"]
    return {"outcome": report["outcome"], "gain": known["mean"], "low": interval["low"], "high": interval["high"]}


def _write_artifacts(store: Store, job: JobRow, run: Path, prefix: str, insist: Insist) -> None:
    """The exported model below ``prefix``, and what people read of the run."""
    for path in sorted((run / "model").rglob("*")):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(run / 'model').as_posix()}"
            insist(lambda key=key, path=path: store.artifacts.write_file(key, path))  # type: ignore[misc]
            faults.point("ending.model_file_written")
    faults.point("ending.model_written")
    for name in _DOCUMENTS:
        if (run / name).is_file():
            text = (run / name).read_bytes()
            insist(lambda name=name, text=text: store.artifacts.write(document_key(job.id, name), [text]))  # type: ignore[misc]


def _keep_best(store: Store, lease: Lease, insist: Insist) -> None:
    """Forget the checkpoints that only served to go on from: the best by validation stay, beside the model."""

    rows = [row for row in insist(lambda: store.checkpoints.list_of(lease)) if is_training_checkpoint(row.artifact)]
    for row in sorted(rows, key=_place_among_checkpoints)[KEPT_CHECKPOINTS:]:
        insist(lambda row=row: store.checkpoints.forget(lease, row.id))  # type: ignore[misc]
        with contextlib.suppress(StoreError):  # nothing points there any more; the sweep of orphans will do it
            store.artifacts.delete(row.artifact)


def _place_among_checkpoints(row: CheckpointRow) -> tuple[float, int]:
    """The smallest stays first: the highest reward, else the lowest loss, else the latest step."""
    reward, loss = row.metrics.get("full_valid_mean_reward"), row.metrics.get("full_valid_loss")
    if reward is not None:
        return -reward, row.step
    return (math.inf, -row.step) if loss is None else (loss, row.step)


def _metrics_events(store: Store, job: JobRow, insist: Insist) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        page = insist(
            lambda after=after: store.events.tail(job.project_id, job.id, after=after, limit=_EVENTS_AT_ONCE)  # type: ignore[misc]
        )
        found += [event.data for event in page if event.type == "metrics"]
        if len(page) < _EVENTS_AT_ONCE:
            return found
        after = page[-1].sequence


def _trained_tokens(steps: Sequence[StepRow]) -> int:
    """Tokens of all completions that were sampled for training; or, of a supervised job, of all answers learned."""
    learned = [row.metrics.get("train/tokens") or 0.0 for row in steps]
    counts = [(row.metrics.get("rollout/count"), row.metrics.get("rollout/completion_tokens_mean")) for row in steps]
    sampled = [count * mean for count, mean in counts if count is not None and mean is not None]
    return round(sum(learned) + sum(sampled))
