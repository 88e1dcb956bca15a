"""``openrft plan``: what a job will take, before it trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from openrft.cli.live import amount, open_display
from openrft.cli.run import override
from openrft.config.home import kept_at_home
from openrft.evaluation.untrusted import show_controls
from openrft.training.progress import Notes

if TYPE_CHECKING:
    from openrft.training.job_plan import JobPlan, Range
    from openrft.training.probe import Probe

_LABEL = 24


def plan(
    job: Annotated[Path, typer.Argument(help="The job: OpenAI's create request as a JSON file.")],
    seconds: Annotated[float, typer.Option(min=1, help="How long the job is probed; at least one prompt is.")] = 30.0,
    seed: Annotated[int | None, typer.Option(help="Seed of the job.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model, in place of the job's.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter, in place of the job's; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
) -> None:
    """Say what a job will take: steps, answers, tokens, time, memory, disk, grading; and why each "auto" is what it is.

    The base model answers some training prompts for that, the grader grades them, and an update is computed and thrown
    away. Nothing is trained.
    """
    from openrft.config.heap import keep_freed_memory
    from openrft.config.job import read_job

    document = override(read_job(job), seed=seed, model=model, settings=setting or [])
    keep_freed_memory()
    from openrft.training import plan as planning  # torch, which takes seconds to load

    console, notes = Console(), Notes()
    if as_json:
        print(
            json.dumps(
                {
                    **planning.plan(document, notes, seconds=seconds, kept=kept_at_home()).to_json(),
                    "notes": notes.messages,
                }
            )
        )
        return
    with open_display(console, as_json=False) as display:
        made = planning.plan(document, display, seconds=seconds, kept=kept_at_home())
    for line in table(made):
        console.print(show_controls(line), markup=False, highlight=False, soft_wrap=True)


def table(made: JobPlan) -> Iterator[str]:
    """The plan as lines of text."""
    found, settings = made.probe, made.hyperparameters
    yield ""
    yield _item("model", f"{made.model}, {made.parameters / 1e6:,.1f}M parameters, {settings['weights']} weights")
    yield _item("on", f"{made.device}, in {settings['precision']}")
    yield _item(
        "steps",
        f"{made.num_steps} of {settings['batch_size']} "
        + (f"prompts × {settings['group_size']} answers" if found else "rows")
        + (", if training does not stop early" if settings["early_stopping"] else ""),
    )
    if found is not None:
        yield from _sampled(made, found)
    yield _item("tokens trained on", _range(made.tokens_trained, "{:,.0f}".format))
    yield ""
    yield _item("time", _range(made.seconds, duration))
    for phase, span in made.phases.items():
        yield _item(f"  {phase}", _range(span, duration))
    yield ""
    yield _item("memory", f"{made.peak_bytes / 1e9:.2f} GB of {made.machine_bytes / 1e9:.1f} GB")
    free = made.disk_free_bytes / 1e9
    yield _item("disk", f"{made.disk_bytes.expected / 1e9:.2f} GB at most of {free:.1f} GB that are free")
    yield _item("grades", f"{made.grader_calls:,}")
    for grader in made.graders:
        cost = "no price known" if grader.cost is None else f"cost {grader.cost:,.4g}"
        yield _item(f"  {grader.model}", f"{grader.tokens:,.0f} tokens, {cost}")
    for limit in made.budget:
        yield _item(limit.name, f"{amount(limit.limit)}; the job needs {_range(limit.needed, amount)}")
        where = "fits" if limit.pause_after is None else f"will pause after step {limit.pause_after}"
        yield _item("", where)
    yield ""
    yield "why each value that was not given is what it is"
    for name, reason in made.reasons.items():
        yield _item(f"  {name}", f"{_value(settings.get(name))}: {reason}")
    yield ""
    if found is not None:
        yield (
            f"From {len(found.scores)} prompts × {found.num_samples} answers in {found.seconds:.0f} s. In brackets: "
            "answers half and twice as long as expected, because training changes their length, and half or all of "
            "the groups training."
        )
    for warning in made.warnings:
        yield f"warning: {warning}"


def _sampled(made: JobPlan, found: Probe) -> Iterator[str]:
    yield _item("answers", f"{made.rollouts:,} in training, {made.evaluation_answers:,} in evaluations")
    yield _item("tokens of an answer", _range(made.completion_tokens, "{:,.0f}".format))
    yield _item("tokens sampled", _range(made.tokens_sampled, "{:,.0f}".format))
    if made.mean_score is not None:
        score = made.mean_score
        yield _item("mean score of the base", f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]")
    counts = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(made.outcomes.items()))
    yield _item("prompts", f"{counts} of {len(found.scores)}")
    if made.signal is not None:
        share = made.signal
        yield _item("groups with a signal", f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]")


def duration(seconds: float) -> str:
    """In the unit that people would use."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _range(span: Range, shown: Callable[[float], str]) -> str:
    if span.low == span.high:
        return f"{shown(span.expected)}"
    return f"{shown(span.expected)} [{shown(span.low)} … {shown(span.high)}]"


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _item(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}  {text}"
