"""``openrft grader rehearse``: whether a job can learn, said before any training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from openrft.cli.live import open_display
from openrft.cli.run import override
from openrft.errors import InvalidRequest
from openrft.training.progress import Notes

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

_BEGINNING = '{"type": "rehearsal"'


@app.callback()
def _grader() -> None:
    """Try a grader before it is trained on."""


@app.command("rehearse")
def rehearse(
    job: Annotated[Path, typer.Argument(help="The job: OpenAI's create request as a JSON file.")],
    rows: Annotated[int | None, typer.Option(min=1, help="Training rows to try; default 20, or all of fewer.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=2, help="Answers per row; default the job's group size, at most 8.")
    ] = None,
    exploit_rows: Annotated[
        int | None, typer.Option(min=1, help="Rows for exploits; default all, or 4 where each grade costs money.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write everything as JSON, every answer with its grades included.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the rows and the sampling.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model, in place of the job's.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter, in place of the job's; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
) -> None:
    """Let the base model answer some rows, grade them, and say whether the job can learn, and if not why.

    Nothing is trained. Exit code 0: it can learn, though there may be warnings; 1: it cannot as it is.
    """
    from openrft.config.job import read_job

    document = override(read_job(job), seed=seed, model=model, settings=setting or [])
    if out is not None:
        _refuse_foreign(out)
    from openrft.training import rehearse as rehearsing  # torch, which takes seconds to load

    console = Console()
    counts = {"num_rows": rows, "num_samples": samples, "num_exploit_rows": exploit_rows}
    notes = Notes()
    if as_json:
        rehearsed = rehearsing.rehearse(document, notes, **counts)
    else:
        with open_display(console, as_json=False) as display:
            rehearsed = rehearsing.rehearse(document, display, **counts)
    found = {**rehearsing.as_json(rehearsed), "notes": notes.messages}
    if out is not None:
        _write(out, {**found, **rehearsing.answers_as_json(rehearsed)})
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        from openrft.cli.rehearsal_view import show

        show(console, rehearsed.rehearsal, rehearsed.findings, rehearsed.verdict)
        if out is not None:
            console.print(f"\nevery answer  {out}", highlight=False, markup=False, soft_wrap=True)
    if not rehearsed.verdict.can_learn:
        raise typer.Exit(1)


def _refuse_foreign(path: Path) -> None:
    """Before anything is sampled: the file can be written, and what is there is an earlier rehearsal or nothing."""
    if not path.absolute().parent.is_dir():
        raise InvalidRequest(f"--out {path}: the folder {path.parent} does not exist; make it first", param="out")
    if path.is_dir():
        raise InvalidRequest(f"--out {path} is a folder; name a file in it", param="out")
    if path.exists() and not path.read_bytes().startswith(_BEGINNING.encode()):
        raise InvalidRequest(f"--out {path} holds something else than a rehearsal; name another file", param="out")


def _write(path: Path, document: dict[str, Any]) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
