"""``openrft demo``: the main job through the front door, as a script for OpenAI would do it, on a bundled model."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from openrft.cli.live import open_display
from openrft.cli.run import JsonFlag, print_report
from openrft.errors import InvalidRequest, OpenRFTError

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

    from openrft.cli.live import Display

DEMO_TASK = "rare_disease_genes"
ALIAS = "o4-mini-2025-04-16"
"""The name that scripts for OpenAI's RFT have in them; here the bundled tiny model answers to it."""

_ENDED = ("succeeded", "failed", "cancelled")
_EVAL_ROWS = 60


def demo(
    seed: Annotated[int, typer.Option(help="Seed of data order and sampling.")] = 0,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where the server keeps everything; default runs/demo-<seed>.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start a server and let the openai client train the bundled tiny model on it: upload, job, events, eval, chat.

    Exit code 1 when the interval of the improvement includes zero.
    """
    examples = find_examples() / DEMO_TASK
    console = Console(quiet=as_json)
    home = folder or Path("runs") / f"demo-{seed}"
    if folder is None:
        shutil.rmtree(home, ignore_errors=True)  # the demo's own folder; a --dir of yours is never deleted
    from openrft.api.session import login_link

    question = json.loads((examples / "test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    started = time.monotonic()
    with _server(home) as client:
        console.print(
            f"[bold]openrft demo[/bold]: a server is up at {client.base_url}. From here on this is the openai\n"
            "client, as in a script for OpenAI: only base_url is another. The model is to learn to rank the genes\n"
            "behind a patient's symptoms. Genes and symptoms are fictional.\n",
            highlight=False,
        )
        _show(console, "a case that no training sees", question["messages"][-1]["content"])
        _show(
            console,
            f"{ALIAS}, here openrft-tiny, before: a hasty answer (the true gene is {question['gene']})",
            _answer(client, ALIAS, question),
        )
        job = _create_job(client, examples, seed)
        console.print(f"\ncreated {job.id}: {job.status}", highlight=False)
        if console.is_terminal:  # in a log the link would be good for an hour, for everybody who reads it
            link = login_link(str(client.base_url).removesuffix("/v1/"), client.api_key)
            console.print(f"watch it in the browser, while this goes on: {link}", highlight=False, soft_wrap=True)
        with open_display(Console(), as_json=as_json) as display:
            job = _follow(client, job.id, display)
        if job.status != "succeeded" or job.fine_tuned_model is None:
            reason = job.error.message if job.error is not None else ""
            raise OpenRFTError(f"the job ended as {job.status}: {reason}", code="job_failed")
        report: Any = client.get(f"/fine_tuning/jobs/{job.id}/report", cast_to=object)
        _say(report, console, as_json=as_json)
        _compare(client, examples, job, console, as_json=as_json)
        _show(console, f"the same case, answered by {job.fine_tuned_model}: reasoning first",
              _answer(client, job.fine_tuned_model, question))  # fmt: skip
    console.print(
        f"\nAll of it took {time.monotonic() - started:.0f} s and is in {home}/: every rollout, grade and checkpoint.\n"
        f"Next:  .venv/bin/openrft serve --home {home}     the same server again: the dashboard, your scripts\n"
        f"       .venv/bin/openrft chat {home / 'artifacts' / 'jobs' / job.id / 'model'}\n"
        f"       docs/coming-from-openai.md                what your existing scripts need: one line",
        highlight=False,
        soft_wrap=True,
    )
    if not report["is_significant_gain"]:
        raise typer.Exit(1)


def find_examples() -> Path:
    """The examples: beside the package where it is installed, at the top of the repository in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / DEMO_TASK / "job.json").is_file():
            return folder
    raise InvalidRequest("the examples are not installed with this package; run the demo from a checkout")


@contextlib.contextmanager
def _server(home: Path) -> Iterator[OpenAI]:
    """A server over ``home`` until the block ends, and the client that talks to it."""
    try:
        from openai import OpenAI
    except ImportError:
        raise InvalidRequest("the demo talks to the server through the openai client: pip install openai") from None
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "openrft", "serve", "--home", str(home), "--port", "0", "--json"]
    log = home / "server.log"
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*command, "--alias", f"{ALIAS}=openrft-tiny"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # a Ctrl-C is ours to pass on, once the client is done
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise OpenRFTError(f"the server did not start; the end of {log}:\n" + log.read_text()[-2_000:])
        facts = json.loads(line)
        key = Path(facts["api_key_file"]).read_text(encoding="utf-8").strip()
        yield OpenAI(base_url=facts["base_url"], api_key=key, max_retries=10)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _create_job(client: OpenAI, examples: Path, seed: int) -> FineTuningJob:
    """Upload the files and ask for the example's job, its grader written out as OpenAI's requests have it."""
    request = json.loads((examples / "job.json").read_text(encoding="utf-8"))
    method = request["method"]["reinforcement"]
    method["grader"] = json.loads((examples / method["grader"]).read_text(encoding="utf-8"))
    files = {}
    for name in ("training_file", "validation_file", "test_file"):
        with (examples / request[name]).open("rb") as file:
            files[name] = client.files.create(file=file, purpose="fine-tune").id
    method["hyperparameters"]["test_file"] = files["test_file"]  # ours: rows that nothing is chosen by
    return client.fine_tuning.jobs.create(
        model=ALIAS,
        training_file=files["training_file"],
        validation_file=files["validation_file"],
        suffix=request["suffix"],
        seed=seed,
        method=request["method"],
    )


def _follow(client: OpenAI, job_id: str, display: Display) -> FineTuningJob:
    """Show steps and events as they come until the job has ended."""
    last_step, total_steps, told = -1, 0, set[str]()
    while True:
        job = client.fine_tuning.jobs.retrieve(job_id)  # before what it has told: nothing comes after its end
        for event in reversed(client.fine_tuning.jobs.list_events(job_id, limit=200).data):
            if event.type == "metrics":
                data: Any = event.data or {}
                total_steps = int(data.get("total_steps", 0))
            elif event.id not in told:
                display.note(event.message, event.level)
            told.add(event.id)
        answer: Any = client.get(f"/fine_tuning/jobs/{job_id}/metrics?after_step={last_step}", cast_to=object)
        for step, metrics in sorted(_by_step(answer["series"]).items()):
            display.step(step, max(step, total_steps), metrics)
            last_step = step
        if job.status in _ENDED:
            return job
        time.sleep(0.3)


def _by_step(series: dict[str, Any]) -> dict[int, dict[str, float]]:
    """Each step's numbers, from each number's steps."""
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    for name, points in series.items():
        for step, value in zip(points["steps"], points["values"], strict=True):
            if value is not None:
                rows[step][name] = value
    return rows


def _compare(client: OpenAI, examples: Path, job: FineTuningJob, console: Console, *, as_json: bool) -> None:
    """The base and the tuned model on held-out rows, as OpenAI's evals have it."""
    lines = (examples / "test.jsonl").read_text(encoding="utf-8").splitlines()[:_EVAL_ROWS]
    grader: Any = json.loads((examples / "grader.json").read_text(encoding="utf-8"))
    criteria: Any = [{**grader, "pass_threshold": 1.0}]
    held_out = client.evals.create(
        name="genes, held out",
        data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
        testing_criteria=criteria,
    )
    runs: list[Any] = []
    for model in (ALIAS, job.fine_tuned_model):
        source: Any = {
            "type": "completions",
            "model": model,
            "source": {"type": "file_content", "content": [{"item": json.loads(line)} for line in lines]},
            "input_messages": {"type": "item_reference", "item_reference": "item.messages"},
            "sampling_params": {"max_completion_tokens": 128, "temperature": 0.0},
        }
        runs.append(client.evals.runs.create(held_out.id, name=str(model), data_source=source))
    while any(run.status in ("queued", "in_progress") for run in runs):
        time.sleep(0.3)
        runs = [client.evals.runs.retrieve(run.id, eval_id=held_out.id) for run in runs]
    table = Table("eval run, greedy answers", "passed", "failed", "errored", box=None, padding=(0, 2, 0, 0))
    for run in runs:
        counts = run.result_counts
        table.add_row(str(run.name), str(counts.passed), str(counts.failed), str(counts.errored))
        if as_json:
            print(json.dumps({"type": "eval_run", "run": json.loads(run.to_json())}, ensure_ascii=False))
    console.print("", table, "")


def _say(report: dict[str, Any], console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"type": "report", "report": report}, ensure_ascii=False))
    else:
        print_report(console, report)


def _answer(client: OpenAI, model: str, question: dict[str, Any]) -> str:
    """The greedy answer of ``model``, its reasoning before it."""
    answer = client.chat.completions.create(
        model=model, messages=question["messages"], temperature=0, max_completion_tokens=200
    )
    message: Any = answer.choices[0].message
    reasoning = getattr(message, "reasoning_content", None)
    return (f"<think>\n{reasoning}\n</think>\n" if reasoning else "") + (message.content or "")


def _show(console: Console, title: str, text: str) -> None:
    console.print(Panel(Text(text), title=title, title_align="left", width=min(100, console.width)))
