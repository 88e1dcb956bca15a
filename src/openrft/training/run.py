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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from openrft.config.job import Job
from openrft.config.spec import parse_spec
from openrft.config.supervised import SupervisedMethod
from openrft.errors import BudgetSpent, JobInterrupted, OpenRFTError, UngradedError
from openrft.models.decoder.products import choose_kernel
from openrft.rollout.clock import PhaseClock
from openrft.tracking.tracker import RunFacts
from openrft.training.budget import Grant, grant_of
from openrft.training.finish import finish
from openrft.training.finish_supervised import finish_supervised
from openrft.training.foreground import ForegroundRun
from openrft.training.journal import Journal, NoJournal
from openrft.training.loop import Method, train
from openrft.training.methods.reinforcement import Reinforcement
from openrft.training.methods.supervised import Supervised
from openrft.training.optimizer import build_optimizer
from openrft.training.prepare import Prepared, PreparedReinforcement, has_code, prepare
from openrft.training.prepare_supervised import PreparedSupervised, prepare_supervised
from openrft.training.profile import Profile
from openrft.training.progress import Progress
from openrft.training.provenance import check_unchanged, describe
from openrft.training.reuse import Kept
from openrft.training.run_folder import RunFolder, refuse_if_used
from openrft.training.solve_rates import fit_group_size
from openrft.training.supervised_run import SupervisedRun
from openrft.training.threads import calibrate_threads, use_threads
from openrft.training.tracking import tracked


def start_run(
    job: Job,
    path: Path,
    progress: Progress,
    journal: Journal | None = None,
    *,
    kept: Kept | None = None,
    profile_steps: int | None = None,
    grant: Grant | None = None,
    facts: RunFacts | None = None,
) -> dict[str, Any]:
    """Run ``job`` in a fresh folder and return its report as JSON. See :func:`resume_run` for what can go wrong.

    ``kept``: what other runs found of the same base, and where this one leaves it (:mod:`openrft.training.reuse`).
    ``profile_steps``: write a profile (:mod:`openrft.training.profile`), with the operators of that many steps.
    ``grant``: the job's budget has paused it before, elsewhere (:mod:`openrft.training.budget`).
    ``facts``: what experiment trackers call the run; by default, after its folder.
    """
    refuse_if_used(path)  # before a large model is loaded
    graders_compute = has_code(job.method.options.grader)
    calibrate_threads(progress.note, kept.folder if kept else None, graders_compute=graders_compute)
    prepared = prepare_job(job, progress)
    try:
        if isinstance(prepared, PreparedReinforcement):
            prepared = fit_group_size(prepared, progress)
        folder = RunFolder(path, fresh=True)
    except BaseException:
        prepared.close()
        raise
    try:
        folder.write("config.json", describe(prepared))
        folder.write("job.json", job.model_dump(mode="json"))
        with tracked(job, folder, progress, journal or NoJournal(), facts) as watched:
            return _attempt(
                prepared,
                folder,
                progress,
                watched,
                fresh=True,
                kept=kept,
                profile_steps=profile_steps,
                grant=grant,
            )
    finally:
        prepared.close()
        folder.close()


def resume_run(
    path: Path,
    progress: Progress,
    journal: Journal | None = None,
    *,
    kept: Kept | None = None,
    profile_steps: int | None = None,
    find_grant: Callable[[RunFolder], Grant | None] = grant_of,
    budget: Mapping[str, float] | None = None,
    facts: RunFacts | None = None,
) -> dict[str, Any]:
    """Go on with the run in ``path`` from its last checkpoint; the weights end as if it had never stopped.

    ``find_grant``: who let it go on where its budget had paused it; by default, whoever calls this. ``budget``: limits
    that hold from here on in place of the job's (``budget_minutes`` …).
    Raises :class:`JobInterrupted` when it is stopped again, and any other
    :class:`~openrft.errors.OpenRFTError` when it fails; either way ``status.json`` says so.
    """
    folder = RunFolder(path, fresh=False)
    try:
        document, config = folder.read("job.json"), folder.read("config.json")
        if budget:
            document["method"][document["method"]["type"]]["hyperparameters"] |= budget
            parse_spec(Job, document, where="job")
            folder.write("job.json", document)
        # What was measured when the run began holds, whatever this machine is like now.
        found = config["hyperparameters"]
        measured = {name: found[name] for name in ("precision", "microbatch_tokens", "group_size") if name in found}
        asked = document["method"][document["method"]["type"]]["hyperparameters"]
        asked |= measured
        if "group_size" in measured:
            asked["compute_multiplier"] = "auto"  # it is in the group size
        job: Job = parse_spec(Job, document, where="job")
        machine = config["machine"]  # sums are rounded differently with other numbers of threads
        use_threads(machine["threads"], machine.get("update_threads", machine["threads"]))
        choose_kernel(machine.get("products", "torch"))
        prepared = prepare_job(job, progress)
        try:
            for warning in check_unchanged(config, prepared):
                progress.note(warning, "warn")
            with tracked(job, folder, progress, journal or NoJournal(), facts) as watched:
                return _attempt(
                    prepared,
                    folder,
                    progress,
                    watched,
                    fresh=False,
                    kept=kept,
                    profile_steps=profile_steps,
                    grant=find_grant(folder),
                )
        finally:
            prepared.close()
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
    grant: Grant | None,
) -> dict[str, Any]:
    policy, settings = prepared.policy, prepared.settings
    profile, clock = None, PhaseClock()
    if profile_steps is not None:
        profile = Profile(folder.path / "profile", num_operator_steps=profile_steps, tell=progress.note)
        clock = profile.clock
        if prepared.grader is not None:
            prepared = replace(prepared, grader=profile.watch_grader(prepared.grader))
    optimizer = build_optimizer(policy, settings)
    kind = SupervisedRun if isinstance(prepared, PreparedSupervised) else ForegroundRun
    run = kind(prepared, folder, optimizer, progress, journal, kept, grant)
    method: Method = _method(prepared, run)  # before any checkpoint is loaded: its reference is the untouched base
    folder.write("status.json", {"status": "running", "pid": os.getpid()})
    try:
        with _stop_on_signal(run):
            journal.began()
            if not fresh:
                run.go_back_to_last_checkpoint()
                if run.method_state is not None:
                    method.restore(run.method_state)
                journal.resumed(run.next_step)
                run.note(f"resumed after step {run.next_step} of {settings.num_steps}")
            if run.next_step == 0:
                with clock.phase("evaluation"):
                    run.baseline()
            if profile is not None:
                method = profile.watch_steps(method, run.next_step, settings.num_steps)
            progress.phase("training", prepared.answers_per_step)
            train(run, method, policy, optimizer, clock)
            with clock.phase("report"):
                report = finish_supervised(run) if isinstance(run, SupervisedRun) else finish(run)
    except JobInterrupted as stop:
        facts = {"code": stop.code, "step": stop.step, "spent": stop.spent} if isinstance(stop, BudgetSpent) else {}
        folder.write("status.json", {"status": "interrupted", "message": stop.message, **facts})
        if isinstance(stop, BudgetSpent):
            folder.event(stop.message, level="warn")  # whoever started the run tells people
        else:
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


def prepare_job(job: Job, progress: Progress) -> Prepared:
    """Everything that a run of ``job`` needs, by its method."""
    if isinstance(job.method, SupervisedMethod):
        return prepare_supervised(job, job.method.supervised, progress)
    return prepare(job, progress)


def _method(prepared: Prepared, run: ForegroundRun) -> Method:
    def warn(words: str) -> None:
        run.note(words, "warn")

    if isinstance(prepared, PreparedSupervised):
        return Supervised(
            prepared.settings,
            policy=prepared.policy,
            engine=prepared.engine,
            rows=prepared.rows,
            seed=prepared.job.seed,
            tell=warn,
        )
    assert isinstance(prepared, PreparedReinforcement)
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
        tell=warn,
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
