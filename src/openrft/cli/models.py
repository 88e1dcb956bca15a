"""``openrft models``, ``openrft chat`` and ``openrft export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from openrft.cli.run import JsonFlag, ResponseFormatFile, read_response_format
from openrft.models.catalog import bundled_models


def list_models(as_json: JsonFlag = False) -> None:
    """List the bundled base models; any other is named by its folder or its name on the Hugging Face hub."""
    models = bundled_models()
    if as_json:
        rows = [
            {
                "name": model.name,
                "parameters": model.num_parameters,
                "context_tokens": model.context_tokens,
                "description": model.description,
                "path": str(model.path),
            }
            for model in models
        ]
        print(json.dumps(rows, indent=2))
        return
    table = Table("model", "parameters", "context", "shape", box=None, pad_edge=False)
    for model in models:
        table.add_row(model.name, f"{model.num_parameters / 1e6:.1f}M", str(model.context_tokens), model.description)
    console = Console()
    console.print(table)
    console.print(
        "\nAny causal language model works: give a folder, or a hub name such as Qwen/Qwen3-0.6B.", highlight=False
    )


def chat(
    model: Annotated[str, typer.Argument(help="A bundled name, a model folder (runs/…/model) or a hub name.")],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="Ask this once instead of talking.")] = None,
    samples: Annotated[int, typer.Option("-n", min=1, help="Answers to --prompt.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1)] = 512,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    response_format: ResponseFormatFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Talk to a model, or ask it one thing."""
    json_schema = read_response_format(response_format)
    from openrft.models.load import load_policy
    from openrft.rollout.chat import Chat
    from openrft.rollout.native import NativeEngine

    policy = load_policy(model, weights="frozen")
    talk = Chat(
        NativeEngine(policy.network, policy.tokenizer, decoder=policy.decoder),
        policy.tokenizer,
        context_tokens=policy.context_tokens,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
        json_schema=json_schema,
    )
    console = Console()
    if prompt is not None:
        answers = talk.ask(prompt, num_samples=samples)
        if as_json:
            print(json.dumps({"prompt": prompt, "answers": answers}, ensure_ascii=False))
        else:
            console.print("\n\n".join(answers), markup=False, highlight=False, soft_wrap=True)
        return
    console.print(f"{model}: an empty line or Ctrl-D ends.", style="dim")
    while True:
        try:
            text = input("> ")
        except EOFError:
            return
        if not text.strip():
            return
        console.print(talk.say(text), markup=False, highlight=False, soft_wrap=True)


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    step: Annotated[int | None, typer.Option(help="Which checkpoint; default: the one that ships.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a checkpoint of a run as a Hugging Face folder (with LoRA, the adapter beside the merged weights)."""
    from openrft.training.export import export_checkpoint

    path, exported = export_checkpoint(run, to, step=step, overwrite=overwrite)
    if as_json:
        print(json.dumps({"path": str(path), "step": exported}))
    else:
        print(f"step {exported} exported to {path}")
