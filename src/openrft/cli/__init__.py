"""The ``openrft`` command: wires the parts, holds no logic, imports nothing heavy before a command needs it."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, NoReturn

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import typer

from openrft import __version__
from openrft.cli import backup, data, demo, diagnose, doctor, grade, keys, models, plan, rehearse, run, serve, worker
from openrft.config.waiting import wait_briefly
from openrft.errors import JobInterrupted, OpenRFTError
from openrft.evaluation.untrusted import show_controls

wait_briefly()  # torch is imported by what a command calls, later

app = typer.Typer(
    name="openrft",
    help="Reinforcement fine-tuning of language models on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("eval")(run.evaluate)
app.command("grade")(grade.grade)
app.add_typer(rehearse.app, name="grader", help="Try a grader on a job's rows before training.")
app.command("diagnose")(diagnose.diagnose)
app.add_typer(data.app, name="data", help="Check and split dataset files.")
app.command("chat")(models.chat)
app.command("models")(models.list_models)
app.command("export")(models.export)
app.command("serve")(serve.serve)
app.command("dashboard")(serve.dashboard)
app.command("worker")(worker.worker)
app.add_typer(keys.app, name="keys", help="Make, list and revoke API keys of a server.")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"openrft {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Reinforcement fine-tuning of language models on your own machine."""


def main() -> None:
    """Entry point.

    Exit codes: 0 done, 1 an error that was explained, 2 wrong usage, 3 interrupted and resumable, 130 stopped at once.
    """
    try:
        app()
    except OpenRFTError as error:
        _fail(error, code=3 if isinstance(error, JobInterrupted) else 1)
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:  # a full disk, a folder that may not be written, a file that vanished
        _fail(OpenRFTError(str(error), code="os_error"), code=1)
    except (KeyboardInterrupt, SystemExit) as stop:  # Typer turns a Ctrl-C inside a command into exit code 130
        if isinstance(stop, SystemExit) and stop.code != 130:
            raise
        _fail(OpenRFTError("stopped at once; what was saved before is kept", code="stopped"), code=130)


def _fail(error: OpenRFTError, *, code: int) -> NoReturn:
    """Tell the error, to a program (--json: OpenAI's envelope on stdout) or to a person, and exit with ``code``."""
    if "--json" in sys.argv:
        print(json.dumps({"type": "error", **error.to_wire()}), flush=True)
    else:
        print(f"error: {show_controls(error.message)}", file=sys.stderr)  # it may quote a grader or a model
    raise SystemExit(code) from None
