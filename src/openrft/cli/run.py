"""``openrft run`` and ``openrft eval``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from openrft.cli.live import open_display
from openrft.config.home import kept_at_home
from openrft.config.hyperparameters import BUDGET_NAMES
from openrft.errors import InvalidRequest

if TYPE_CHECKING:
    from openrft.config.job import Job
    from openrft.evaluation.evaluation import Evaluation

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON lines for programs.")]
DEFAULT_PROFILE_STEPS = 3
ResponseFormatFile = Annotated[
    Path | None, typer.Option(help="The form that answers are held to: OpenAI's response_format as a JSON file.")
]


def run(
    job: Annotated[Path | None, typer.Argument(help="The job: OpenAI's create request as a JSON file.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where the run is kept; default runs/<job>-<seed>.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data order, sampling and adapters.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model, in place of the job's.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter, in place of the job's; may be repeated."),
    ] = None,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Pause before more minutes than these are spent; with --resume: from here on.")
    ] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="The same for tokens sampled.")] = None,
    budget_grader_cost: Annotated[float | None, typer.Option(help="The same for what model graders cost.")] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TRACKER", help="Also send the metrics to tensorboard, wandb, trackio or mlflow; may be repeated."
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write where the time goes into the run's profile/ folder.")
    ] = False,
    profile_steps: Annotated[
        int | None,
        typer.Option(min=0, help="With --profile: steps in the middle to trace operator by operator; default 3."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fine-tune a model by reinforcement or on given answers, in the foreground.

    Ctrl-C finishes the step and saves; --resume goes on from there. Exit code 0: the run is done, whatever it found.
    """
    from openrft.config.job import read_job

    if profile_steps is not None and not profile:
        raise InvalidRequest("--profile-steps belongs to --profile; give both", param="profile_steps")
    operator_steps = (DEFAULT_PROFILE_STEPS if profile_steps is None else profile_steps) if profile else None

    asked = (budget_minutes, budget_tokens, budget_grader_cost)
    budget = {name: limit for name, limit in zip(BUDGET_NAMES, asked, strict=True) if limit is not None}
    if (job is None) == (resume is None):
        raise InvalidRequest("give a job file, or --resume with the folder of a run", param="job")
    if resume is not None:
        if seed is not None or model is not None or setting or folder is not None or track:
            raise InvalidRequest(
                "a resumed run keeps its settings; leave out --seed, --model, --set, --track and --dir", param="resume"
            )
        execute(None, resume, as_json=as_json, profile_steps=operator_steps, budget=budget)
        return
    assert job is not None
    limits = [f"{name}={limit}" for name, limit in budget.items()]
    document = override(read_job(job), seed=seed, model=model, settings=[*(setting or []), *limits])
    document = add_trackers(document, track or [])
    stem = job.stem if job.stem != "job" else job.resolve().parent.name
    folder = folder or Path("runs") / f"{stem}-{document.seed}"
    execute(document, folder, as_json=as_json, profile_steps=operator_steps)


def execute(
    job: Job | None,
    folder: Path,
    *,
    as_json: bool,
    profile_steps: int | None,
    budget: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Start ``job`` in ``folder``, or resume what is there; show it live and print where everything is.

    ``profile_steps``: None without a profile, else of how many steps it shall hold every operator. ``budget``: limits
    for a resumed run, in place of the job's.
    """
    from openrft.config.heap import keep_freed_memory
    from openrft.training.reuse import open_kept
    from openrft.training.run import resume_run, start_run

    keep_freed_memory()
    console = Console()
    folder_of_kept = kept_at_home()
    kept = None if folder_of_kept is None else open_kept(folder_of_kept, run=str(folder.absolute()))
    with open_display(console, as_json=as_json) as display:
        if job is None:
            report = resume_run(folder, display, kept=kept, profile_steps=profile_steps, budget=budget)
        else:
            report = start_run(job, folder, display, kept=kept, profile_steps=profile_steps)
    if as_json:
        print(json.dumps({"type": "report", "dir": str(folder), "report": report}, ensure_ascii=False))
        return report
    print_report(console, report)
    if profile_steps is not None:
        print_time(console, report)
        console.print(f"\nprofile {folder / 'profile'}", highlight=False, markup=False, end="")
    places = f"\nmodel   {folder / 'model'}\nreport  {folder / 'report.md'}\n        {folder / 'report.html'}"
    console.print(places, highlight=False, markup=False)
    return report


def print_report(console: Console, report: dict[str, Any]) -> None:
    """The report as a terminal table."""
    from openrft.evaluation import loss_render, render
    from openrft.evaluation.loss_report import KIND, LossReport
    from openrft.evaluation.report import Report

    if report.get("kind") == KIND:
        console.print(loss_render.to_terminal(LossReport.from_json(report)))
    else:
        console.print(render.to_terminal(Report.from_json(report)))


def print_time(console: Console, report: dict[str, Any]) -> None:
    """Where a run's time went, as a terminal table."""
    from openrft.evaluation.render import time_to_terminal
    from openrft.evaluation.time_spent import TimeSpent

    console.print()
    console.print(time_to_terminal(TimeSpent.from_json(report["time_spent"])))


def override(job: Job, *, seed: int | None, model: str | None, settings: list[str]) -> Job:
    """``job`` with what the command line changes, checked like the document itself.

    A ``model`` that is a folder is relative to the working directory, and kept by its absolute path.
    """
    from openrft.config.job import Job, absolute_model
    from openrft.config.spec import parse_spec

    document = job.model_dump(mode="json")
    if seed is not None:
        document["seed"] = seed
    if model is not None:
        document["model"] = absolute_model(model, Path.cwd())
    hyperparameters = document["method"][job.method.type]["hyperparameters"]
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            raise InvalidRequest(f"--set {setting}: expected NAME=VALUE, for instance --set num_steps=50", param="set")
        try:
            hyperparameters[name.strip()] = json.loads(value)
        except ValueError:
            hyperparameters[name.strip()] = value  # a bare word such as auto or grpo
    changed: Job = parse_spec(Job, document)
    return changed


def add_trackers(job: Job, names: list[str]) -> Job:
    """``job`` with the trackers of the command line beside its own, all of them checked: they can begin here."""
    from openrft.config.integrations import DEFAULT_INTEGRATIONS
    from openrft.config.settings import read_settings
    from openrft.tracking.catalog import check_integrations

    if unknown := [name for name in names if name not in DEFAULT_INTEGRATIONS]:
        known = ", ".join(DEFAULT_INTEGRATIONS)
        raise InvalidRequest(f"--track {unknown[0]}: there is no such tracker; known are {known}", param="track")
    own = job.integrations or ()
    theirs = {one.type for one in own}
    added = [DEFAULT_INTEGRATIONS[name] for name in dict.fromkeys(names) if name not in theirs]
    check_integrations([*own, *added], read_settings().tracking)
    return job.model_copy(update={"integrations": (*own, *added) or None})


def read_response_format(path: Path | None) -> str | None:
    """The JSON schema that a file's ``response_format`` holds answers to; None for any text."""
    if path is None:
        return None
    from openrft.config.response_format import constraint_of, parse_response_format
    from openrft.config.spec import read_json

    return constraint_of(parse_response_format(read_json(path, what="response format file")))


def evaluate(
    model: Annotated[str, typer.Option(help="The model to evaluate: bundled name, folder or hub name.")],
    dataset: Annotated[Path, typer.Option("--data", help="Held-out examples, JSONL.")],
    grader: Annotated[Path, typer.Option(help="The grader, JSON.")],
    base: Annotated[str | None, typer.Option(help="Compare with this model, row by row.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Completions per example.")] = 4,
    max_tokens: Annotated[int, typer.Option(min=1, help="Where a completion is cut off.")] = 512,
    temperature: Annotated[float, typer.Option(min=0.01, max=2)] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    response_format: ResponseFormatFile = None,
    slice_keys: Annotated[
        list[str] | None,
        typer.Option("--slice", metavar="KEY", help="With --base: results by this key of the rows too; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Evaluate a model on held-out examples, greedy and sampled, alone or against a base."""
    from openrft.config.graders import parse_grader
    from openrft.config.spec import read_json
    from openrft.training.compare import compare_models, evaluate_model
    from openrft.types import SamplingParams

    if slice_keys and base is None:
        raise InvalidRequest(
            "--slice compares two models on kinds of rows; name the other one with --base", param="slice"
        )
    spec = parse_grader(read_json(grader, what="grader file"))
    json_schema = read_response_format(response_format)
    sampling = SamplingParams(max_tokens=max_tokens, temperature=temperature, json_schema=json_schema)
    console = Console()
    with open_display(console, as_json=as_json) as display:
        if base is not None:
            report = compare_models(
                base,
                model,
                dataset,
                spec,
                num_samples=samples,
                sampling=sampling,
                seed=seed,
                progress=display,
                slice_keys=slice_keys or (),
            )
        else:
            passes = evaluate_model(
                model, dataset, spec, num_samples=samples, sampling=sampling, seed=seed, progress=display
            )
    if base is not None:
        if as_json:
            print(json.dumps({"type": "report", "report": report}, ensure_ascii=False))
        else:
            print_report(console, report)
        return
    for evaluation in passes:
        _print_evaluation(console, evaluation, as_json=as_json)


def _print_evaluation(console: Console, evaluation: Evaluation, *, as_json: bool) -> None:
    from openrft.evaluation.verdict import USUAL_GAIN

    rows = evaluation.rows_needed(USUAL_GAIN)
    if as_json:
        power = {"gain": USUAL_GAIN, "rows_needed": rows}
        document = {"type": "evaluation", "evaluation": evaluation.to_json(), "power": power}
        print(json.dumps(document, ensure_ascii=False))
        return
    if evaluation.mean is None or evaluation.interval is None:
        console.print(f"{evaluation.mode}: nothing could be graded; first error: {evaluation.rows[0].errors[0]}")
        return
    low, high = evaluation.interval.low, evaluation.interval.high
    console.print(
        f"{evaluation.mode:8} mean score {evaluation.mean:.3f} [{low:.3f}, {high:.3f}]  "
        f"full score {evaluation.pass_rate():.1%}  {len(evaluation.rows)} examples x {evaluation.num_samples}  "
        f"tokens {evaluation.completion_tokens_mean:.0f}  ungraded {evaluation.ungraded_share:.1%}",
        highlight=False,
    )
    if rows is not None:
        console.print(
            f"To find a true gain of +{USUAL_GAIN:g} over this model in four of five cases takes about {rows:,} rows "
            f"like these with {evaluation.num_samples} completions each.",
            highlight=False,
        )
