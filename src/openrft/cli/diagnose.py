"""``openrft diagnose``: what went wrong in a run, by its folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from openrft.errors import InvalidRequest

if TYPE_CHECKING:
    from openrft.evaluation.noticed import Noticed

_SHOWN_CHARACTERS = 300  # of one answer


def diagnose(
    run_dir: Annotated[Path, typer.Argument(help="The folder of a run, finished or still going on.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
) -> None:
    """Say what goes wrong in a run, with the answers that show it. Reads the folder and changes nothing.

    Exit code 0: it was looked at, whatever was found.
    """
    for name in ("config.json", "metrics.jsonl"):
        if not (run_dir / name).is_file():
            raise InvalidRequest(f"{run_dir} holds no run: {name} is missing; name the folder of one", param="run_dir")
    from openrft.training import alarms  # torch, which takes seconds to load

    found = [alarms.as_noticed(run_dir, alarm) for alarm in alarms.diagnose(run_dir)]
    if as_json:
        print(json.dumps({"type": "diagnosis", "alarms": [asdict(one) for one in found]}, ensure_ascii=False))
        return
    _show(Console(), found)


def _show(console: Console, found: list[Noticed]) -> None:
    from openrft.evaluation.untrusted import shorten, show_controls

    def say(text: str = "", style: str | None = None) -> None:
        console.print(show_controls(text), style=style, markup=False, highlight=False, soft_wrap=True)

    if not found:
        say("nothing was noticed")
    for number, one in enumerate(found):
        if number:
            say()
        say(one.heading, style="bold red" if one.severity == "error" else "bold yellow")
        say(f"{one.sentence}.")
        say(f"What to do: {one.advice}.")
        for shown in one.evidence:
            say(f"  {shown.place}")
            if shown.text is not None:
                say(f"    {shorten(' '.join(shown.text.split()), _SHOWN_CHARACTERS) or '(empty)'}")
