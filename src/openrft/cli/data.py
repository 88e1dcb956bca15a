"""``openrft data``: check and split dataset files."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from openrft.cli.run import JsonFlag
from openrft.errors import DatasetError, Problem

if TYPE_CHECKING:
    from openrft.dataset import DatasetSummary


class MethodName(StrEnum):
    """The methods whose files can be checked."""

    REINFORCEMENT = "reinforcement"
    SUPERVISED = "supervised"


app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("validate")
def validate(
    files: Annotated[
        list[Path], typer.Argument(help="Training file first; the others are checked for overlap with it.")
    ],
    model: Annotated[str | None, typer.Option(help="Also check prompt lengths against this model's context.")] = None,
    method: Annotated[MethodName, typer.Option(help="What the rows are for.")] = MethodName.REINFORCEMENT,
    as_json: JsonFlag = False,
) -> None:
    """Check whole files and list every problem with its line, or say what is in them. Exit code 1 on a problem."""
    from openrft.dataset import check_overlap, read_examples, summarize

    problems: list[Problem] = []
    datasets = []
    for file in files:
        try:
            datasets.append(read_examples(file, method=method.value))
        except DatasetError as error:
            problems += error.problems
    warnings = [f"{data.path}: {warning}" for data in datasets for warning in data.warnings]
    if len(datasets) == len(files):
        for other in datasets[1:]:
            warnings += [str(warning) for warning in check_overlap(datasets[0], other)]
        if model is not None:
            from openrft.training.prepare import check_lengths_against

            problems += [problem for data in datasets for problem in check_lengths_against(model, data)]
    summaries = [summarize(data) for data in datasets]
    if as_json:
        document = {
            "ok": not problems,
            "problems": [asdict(problem) for problem in problems],
            "warnings": warnings,
            "files": [{"path": str(data.path), **asdict(s)} for data, s in zip(datasets, summaries, strict=True)],
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        console = Console()
        for problem in problems:
            console.print(f"error: {problem}", markup=False, highlight=False, soft_wrap=True)
        for warning in warnings:
            console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
        if not problems:
            for data, summary in zip(datasets, summaries, strict=True):
                _show(console, data.path, summary)
    if problems:
        raise typer.Exit(1)


@app.command("split")
def split(
    file: Annotated[Path, typer.Argument(help="The file to split.")],
    to: Annotated[Path, typer.Option(help="The folder for train.jsonl, valid.jsonl and test.jsonl.")] = Path(),
    valid: Annotated[float, typer.Option(min=0, help="Validation rows: a share below 1, or a number.")] = 0.2,
    test: Annotated[float, typer.Option(min=0, help="Test rows, used once for the report; 0 for none.")] = 0.2,
    method: Annotated[MethodName, typer.Option(help="What the rows are for.")] = MethodName.REINFORCEMENT,
    seed: Annotated[int, typer.Option(help="Which prompts go where.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Part a file into training, validation and test rows; rows with (nearly) the same prompt stay together."""
    from openrft.dataset import split_file

    shares: dict[str, float | int | None] = {"train": None}
    for name, share in (("valid", valid), ("test", test)):
        if share:
            shares[name] = share if share < 1 else int(share)
    parts = split_file(file, to, shares, method=method.value, seed=seed, overwrite=overwrite)
    if as_json:
        print(json.dumps({name: {**asdict(part), "path": str(part.path)} for name, part in parts.items()}, indent=2))
        return
    for part in parts.values():
        print(f"{part.path}: {part.rows} rows, {part.prompts} different prompts")


def _show(console: Console, path: Path, summary: DatasetSummary) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    characters = summary.prompt_characters
    table.add_row("rows", f"{summary.rows}, {summary.repeated_prompts} of them with a prompt that was there before")
    table.add_row("prompts", f"{characters.least} to {characters.greatest} characters, median {characters.median:g}")
    table.add_row("roles", ", ".join(f"{role} {count}" for role, count in summary.roles.items()))
    for name, key in summary.keys.items():
        table.add_row(f"item.{name}", f"{' or '.join(key.types)}, in {key.rows} of {summary.rows} rows")
    console.print(f"{path}: fine", markup=False, highlight=False)
    console.print(table)
