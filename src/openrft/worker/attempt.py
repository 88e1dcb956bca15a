"""One attempt of a job, in a process of its own: python -m openrft.worker.attempt, the brief on standard input.

Takes the job's files and base from the artifacts, goes on where the last attempt was, and brings all it learns back to
the store. It ends the job itself when that succeeds or fails; its exit code says the rest (exits.py).

SIGTERM     the step is finished and saved, then the process leaves; while things are only being loaded, at once
again       it leaves at once: the last checkpoint stands
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openrft import faults
from openrft.config.heap import keep_freed_memory
from openrft.config.home import KEPT_FOLDER, TENSORBOARD_FOLDER
from openrft.config.job import Job
from openrft.config.reachable import restrict
from openrft.config.spec import parse_spec
from openrft.config.waiting import wait_briefly
from openrft.errors import (
    BudgetSpent,
    CheckpointError,
    Fenced,
    InvalidRequest,
    JobInterrupted,
    ModelError,
    NotFound,
    OpenRFTError,
    SandboxUnavailable,
    TrainingDiverged,
    UngradedError,
)
from openrft.models.checkpoint_folder import sweep_partials
from openrft.store import Store, open_store
from openrft.store.rows import JobError, JobRow
from openrft.tracking.tracker import RunFacts
from openrft.types import Metrics
from openrft.worker import exits
from openrft.worker.base_model import resolve_base
from openrft.worker.brief import Brief
from openrft.worker.ending import end_succeeded
from openrft.worker.grants import last_grant, pause_data
from openrft.worker.insist import Insist
from openrft.worker.job_files import JobFiles
from openrft.worker.lifeline import end_with
from openrft.worker.mirror import Mirror
from openrft.worker.notes import Notes
from openrft.worker.pulse import Pulse
from openrft.worker.restore import restore_run

FATAL = (InvalidRequest, ModelError, NotFound, SandboxUnavailable, TrainingDiverged, UngradedError, CheckpointError)
"""Errors that another attempt would meet again: the job has failed, and says why. All others are tried again."""

log = logging.getLogger(__name__)


def main() -> None:
    """The process. Leaves without waiting for threads: what they do is worth nothing without the job."""
    brief = Brief.read(sys.stdin.buffer)
    restrict(brief.reachable)  # a job's grader is called for whoever holds a key
    end_with(brief.parent)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the supervisor's to answer
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    wait_briefly()  # before torch is imported
    keep_freed_memory()
    os.nice(5)  # whoever asks the server something does not wait for the training
    code = run_attempt(brief)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def run_attempt(brief: Brief) -> int:
    """Work on the job until it is over or the attempt is; the exit code."""
    pulse = Pulse(brief.pulse)
    insist = Insist(pulse.beat)
    try:
        store = insist(lambda: open_store(brief.database_url, artifacts=brief.artifacts))
        with store:
            return _Attempt(brief, store, pulse).run()
    except Exception as error:
        return _crashed(error, pulse)


class _Attempt:
    """The attempt, its store and whom it tells."""

    def __init__(self, brief: Brief, store: Store, pulse: Pulse) -> None:
        self.brief, self.store, self.pulse = brief, store, pulse
        self.lease, self.folder = brief.lease, brief.folder
        self.notes = Notes(store, brief.lease, pulse.beat)
        self.insist = Insist(pulse.beat, lambda text: self.notes.add(text, "warn"))
        self.job: JobRow = self.insist(lambda: store.jobs.get(brief.project_id, brief.job_id))
        self.files = JobFiles(self.folder, self.job)

    def run(self) -> int:
        try:
            report = self._train()
            self.notes.close()
            _finish_in_peace()
            organization = self.brief.organization
            run = self.folder / "run"
            end_succeeded(self.store, self.lease, self.job, run, report, organization=organization, insist=self.insist)
            return exits.DONE
        except Fenced as error:
            log.warning("%s", error.message)
            return exits.FENCED
        except BudgetSpent as spent:
            return self._paused(spent)
        except (JobInterrupted, KeyboardInterrupt) as stop:
            log.info("stopped: %s", stop)
            self.notes.close()
            return exits.INTERRUPTED
        except Exception as error:
            return self._failed(error)

    def _train(self) -> dict[str, Any]:
        """The run, from its start or from where it was; its report."""
        faults.point("attempt.started")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.files.fetch(self.store, self.insist)
        base = self.job.spec["base_model"]
        model = resolve_base(base, self.folder, self.store, self.job.project_id, self.insist)
        job = self._document(model)
        faults.point("attempt.files_ready")
        is_begun = restore_run(
            self.folder,
            self.store,
            self.lease,
            job.model_dump(mode="json"),
            insist=self.insist,
            tell=self.notes.add,
        )
        faults.point("attempt.restored")
        from openrft.training.reuse import open_kept  # torch: only now, when there is something to compute
        from openrft.training.run import resume_run, start_run

        run, progress = self.folder / "run", _Told(self.pulse, self.notes, self.files)
        mirror = Mirror(
            self.store,
            self.lease,
            self.job,
            run,
            organization=self.brief.organization,
            insist=self.insist,
            notes=self.notes,
        )
        grant = last_grant(self.store, self.job, self.insist)
        kept = open_kept(Path(self.brief.home) / KEPT_FOLDER, run=self.job.id, owner=self.job.project_id)
        if is_begun:
            return resume_run(run, progress, mirror, kept=kept, facts=self._facts(), find_grant=lambda _: grant)
        return start_run(job, run, progress, mirror, kept=kept, facts=self._facts(), grant=grant)

    def _facts(self) -> RunFacts:
        """What experiment trackers call the run: the same on whatever machine it goes on."""
        folder = Path(self.brief.home) / TENSORBOARD_FOLDER / self.job.id
        base = self.job.spec["base_model"]
        return RunFacts(id=self.job.id, name=self.job.id, base_model=base, tensorboard_folder=str(folder))

    def _document(self, model: str) -> Job:
        """The job as the trainer takes it: files by their paths here."""
        document = {**self.job.spec["document"], **self.files.paths, "model": model, "seed": self.job.seed}
        job: Job = parse_spec(Job, document, where="job")
        return job

    def _paused(self, spent: BudgetSpent) -> int:
        """Pause the job, whose budget is spent. The event is what a later attempt knows of it (worker/grants.py)."""
        self.notes.close()
        told = f"The job was {spent.message}"
        try:
            self.insist(lambda: self.store.queue.finish(self.lease, "paused", message=told, data=pause_data(spent)))
        except Fenced:
            return exits.FENCED
        return exits.DONE

    def _failed(self, error: Exception) -> int:
        """End the job where trying again is useless; otherwise leave that to the supervisor."""
        is_busy = isinstance(error, InvalidRequest) and error.param == "dir"  # the attempt before is not quite gone
        if not isinstance(error, FATAL) or is_busy:
            return _crashed(error, self.pulse, self.folder)
        log.error("the job has failed: %s", error.message)
        self.notes.close()
        message = self.files.public(error.message).partition(". Finished steps are kept")[0]
        try:
            if isinstance(error, UngradedError) and error.is_outage:
                told = f"The job was paused: {message}. Resume it when the grader works again; finished steps are kept"
                self.insist(lambda: self.store.queue.finish(self.lease, "paused", message=told))
            else:
                why = JobError(code=error.code, message=message, param=error.param)
                self.insist(lambda: self.store.queue.finish(self.lease, "failed", message=message, error=why))
        except Fenced:
            return exits.FENCED
        return exits.DONE


class _Told:
    """A run's :class:`~openrft.training.progress.Progress`, for the supervisor, the job's events and the log."""

    def __init__(self, pulse: Pulse, notes: Notes, files: JobFiles) -> None:
        self._pulse, self._notes, self._files = pulse, notes, files

    def phase(self, text: str, total: int | None = None) -> None:
        log.info("%s", text)
        self._pulse.say(phase=text)

    def rollout(self) -> None:
        self._pulse.beat()

    def step(self, step: int, num_steps: int, metrics: Metrics) -> None:
        log.info("step %d/%d recorded", step, num_steps)
        self._pulse.say(step=step, total_steps=num_steps, seconds=metrics.get("time/step_seconds"))

    def note(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        # May be called by a signal's handler. An error without data ends the job, whose last event says it.
        self._pulse.say(note=message[:200])
        if level != "error" or data:
            self._notes.add(self._files.public(message), level, data)


def _crashed(error: Exception, pulse: Pulse, folder: Path | None = None) -> int:
    """Tell the supervisor what happened; another attempt may do better."""
    if isinstance(error, Fenced):
        return exits.FENCED
    if is_disk_full(error):
        log.error("the disk is full: %s", error)
        if folder is not None:  # half a checkpoint must not keep the disk full
            sweep_partials(folder / "run" / "checkpoints")
            shutil.rmtree(folder / "run.partial", ignore_errors=True)
        return exits.FULL
    log.error("the attempt ended with an error", exc_info=error)
    code = error.code if isinstance(error, OpenRFTError) else "server_error"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        code = "out_of_memory"
    text = error.message if isinstance(error, OpenRFTError) else f"{type(error).__name__}: {error}"
    pulse.say(error={"code": code, "message": text[:2_000]})
    return exits.CRASHED


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is that of a full disk. safetensors has it in words only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "os error 28" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _leave(number: int, frame: Any) -> None:
    os._exit(exits.INTERRUPTED)  # whatever is whole on disk is whole


def _finish_in_peace() -> None:
    """All is computed, and what is left takes moments: only a second wish to stop is heard."""
    if threading.current_thread() is not threading.main_thread():
        return

    def once(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, _leave)

    signal.signal(signal.SIGTERM, once)


if __name__ == "__main__":
    main()
