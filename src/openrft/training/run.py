"""One attempt of a job, from its files to its report. The command line and every later worker run this.

prepare    read and check the data, load the model, resolve "auto", build grader and engine     nothing is sampled
baseline   evaluate the untouched base: step 0                                                   once per run
train      the loop                                                                              resumable
finish     choose the weights that ship, compare them with the base, export, report              resumable
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from openrft.config.job import Job
from openrft.config.spec import parse_spec
from openrft.errors import JobInterrupted, OpenRFTError, UngradedError
from openrft.models.decoder.products import choose_kernel
from openrft.rollout.clock import PhaseClock
from openrft.training.finish import finish
from openrft.training.foreground import ForegroundRun
from openrft.training.journal import Journal, NoJournal
from openrft.training.loop import Method, train
from openrft.training.methods.reinforcement import Reinforcement
from openrft.training.optimizer import build_optimizer
from openrft.training.prepare import Prepared, check_unchanged, describe, has_code, prepare
from openrft.training.profile import Profile
from openrft.training.progress import Progress
from openrft.training.reuse import Kept
from openrft.training.run_folder import RunFolder, refuse_if_used
from openrft.training.threads import calibrate_threads, use_threads


def start_run(
    job: Job,
    path: Path,
    progress: Progress,
    journal: Journal | None = None,
    *,
    kept: Kept | None = None,
    profile_steps: int | None = None,
) -> dict[str, Any]:
    """Run ``job`` in a fresh folder and return its report as JSON. See :func:`resume_run` for what can go wrong.

    ``kept``: what other runs found of the same base, and where this one leaves it (:mod:`openrft.training.reuse`).
    ``profile_steps``: write a profile (:mod:`openrft.training.profile`), with the operators of that many steps.
    """
    refuse_if_used(path)  # before a large model is loaded
    graders_compute = has_code(job.reinforcement.grader)
    calibrate_threads(progress.note, kept.folder if kept else None, graders_compute=graders_compute)
    prepared = prepare(job, progress)
    try:
        folder = RunFolder(path, fresh=True)
    except BaseException:
        prepared.grader.close()
        raise
    try:
        folder.write("config.json", describe(prepared))
        folder.write("job.json", job.model_dump(mode="json"))
        return _attempt(
            prepared, folder, progress, journal or NoJournal(), fresh=True, kept=kept, profile_steps=profile_steps
        )
    finally:
        prepared.grader.close()
        folder.close()


def resume_run(
    path: Path,
    progress: Progress,
    journal: Journal | None = None,
    *,
    kept: Kept | None = None,
    profile_steps: int | None = None,
) -> dict[str, Any]:
    """Go on with the run in ``path`` from its last checkpoint; the weights end as if it had never stopped.

    Raises :class:`JobInterrupted` when it is stopped again, and any other
    :class:`~openrft.errors.OpenRFTError` when it fails; either way ``status.json`` says so.
    """
    folder = RunFolder(path, fresh=False)
    try:
        document, config = folder.read("job.json"), folder.read("config.json")
        # What was measured when the run began holds, whatever this machine is like now.
        found = config["hyperparameters"]
        measured = {name: found[name] for name in ("precision", "microbatch_tokens") if name in found}
        document["method"]["reinforcement"]["hyperparameters"] |= measured
        job: Job = parse_spec(Job, document, where="job")
        machine = config["machine"]  # sums are rounded differently with other numbers of threads
        use_threads(machine["threads"], machine.get("update_threads", machine["threads"]))
        choose_kernel(machine.get("products", "torch"))
        prepared = prepare(job, progress)
        try:
            for warning in check_unchanged(config, prepared):
                progress.note(warning, "warn")
            return _attempt(
                prepared, folder, progress, journal or NoJournal(), fresh=False, kept=kept, profile_steps=profile_steps
            )
        finally:
            prepared.grader.close()
    finally:
        folder.close()


def _attempt(
    prepared: Prepared,
    folder: RunFolder,
    progress: Progress,
    journal: Journal,
    *,
    fresh: bool,
    kept: Kept | None,
    profile_steps: int | None,
) -> dict[str, Any]:
    policy, settings = prepared.policy, prepared.settings
    profile, clock = None, PhaseClock()
    if profile_steps is not None:
        profile = Profile(folder.path / "profile", num_operator_steps=profile_steps, tell=progress.note)
        prepared, clock = replace(prepared, grader=profile.watch_grader(prepared.grader)), profile.clock
    optimizer = build_optimizer(policy, settings)
    run = ForegroundRun(prepared, folder, optimizer, progress, journal, kept)
    method: Method = _method(prepared, run)  # before any checkpoint is loaded: its reference is the untouched base
    folder.write("status.json", {"status": "running", "pid": os.getpid()})
    try:
        with _stop_on_signal(run):
            journal.began()
            if not fresh:
                run.go_back_to_last_checkpoint()
                journal.resumed(run.next_step)
                run.note(f"resumed after step {run.next_step} of {settings.num_steps}")
            if run.next_step == 0:
                with clock.phase("evaluation"):
                    run.baseline()
            if profile is not None:
                method = profile.watch_steps(method, run.next_step, settings.num_steps)
            progress.phase("training", settings.batch_size * settings.group_size)
            train(run, method, policy, optimizer, clock)
            with clock.phase("report"):
                report = finish(run)
    except JobInterrupted as stop:
        folder.write("status.json", {"status": "interrupted", "message": stop.message})
        run.note(stop.message, level="warn")
        raise
    except KeyboardInterrupt:
        folder.write("status.json", {"status": "interrupted", "message": "stopped at once"})
        raise
    except Exception as error:
        if isinstance(error, UngradedError):
            folder.write_rollouts(len(folder.read_metrics()), error.groups)  # the step after the last recorded one
        known = error if isinstance(error, OpenRFTError) else OpenRFTError(f"{type(error).__name__}: {error}")
        folder.write("status.json", {"status": "failed", **known.to_wire()})
        run.note(known.message, level="error")
        raise
    finally:
        if profile is not None:
            profile.write(folder.read_metrics())
    folder.write("status.json", {"status": "succeeded"})
    return report


def _method(prepared: Prepared, run: ForegroundRun) -> Reinforcement:
    return Reinforcement(
        prepared.settings,
        policy=prepared.policy,
        engine=prepared.engine,
        grader=prepared.grader,
        prompts=prepared.train,
        seed=prepared.job.seed,
        json_schema=prepared.json_schema,
        on_rollout=run.progress.rollout,
        patience=run.patience,
        tell=lambda words: run.note(words, "warn"),
    )


@contextmanager
def _stop_on_signal(run: ForegroundRun) -> Iterator[None]:
    """Ctrl-C and SIGTERM let the step finish and save; a second Ctrl-C stops at once (the last checkpoint is kept)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: Any) -> None:
        if run.stop_asked:
            raise KeyboardInterrupt
        run.stop_asked = True
        run.progress.note("stopping after this step; once more to stop at once", "warn")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
