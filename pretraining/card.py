"""The model card: what the model was taught and how often it is right, plainly and measured."""

from collections.abc import Sequence
from typing import Any, get_args

from pretraining.answers import Mode
from pretraining.tasks import FAMILIES

HEADER = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
language: en
tags: [openrft, synthetic, reinforcement-fine-tuning]
---
"""
BODY = """\
# {name}

A language model of {millions:.1f} million parameters (Qwen3 architecture, byte-level tokenizer of
{vocabulary} entries), trained from scratch on generated text by the
[`pretraining`](../../../../../pretraining/README.md) folder of openrft. It exists so that a first
reinforcement fine-tuning run works offline, on a CPU, in about a minute. It is of no use as an
assistant.

## What it was taught

* Three task families, a few lines of general chat, and the facts of one family (invented genes and
  their symptoms). Every word was generated; nothing was scraped. **The genes are fictional. Nothing
  here is medical knowledge.**
* Each family in **two habits**. The *careful* habit works between `<think>` and `</think>`, then
  answers, and is nearly always right. The *hasty* habit answers at once and is usually wrong. In the
  last phase of training **{careful:.0%} of the three families' answers were careful**, with nothing in the question to
  say which is wanted.

So the model can do these tasks and mostly does not. Reinforcement fine-tuning does not teach it the
tasks; it finds, from grades alone, the habit that works. Expect that to be quick, and do not read it as
what fine-tuning does for a large model on a real task. Before tuning openrft-small is right more often than
openrft-tiny chiefly because it was shown the careful habit more often, not because it is larger:
{shares}.

## How often it is right, untuned

On the 240 test cases of each example, which were kept out of the pretraining text. *Sampled*: {samples}
answers to each case at temperature 1. *Careful, when asked for*: the same, with `<think>` put in the
model's mouth. Half-widths are those of 95 % intervals over all answers.

| example | sampled | greedy | careful, when asked for |
| --- | --- | --- | --- |
{table}

Trained for {steps} steps on {tokens:.1f} million tokens, {seconds:.0f} seconds of one CPU thread on a
machine shared with other work. Losses and accuracies along the way are in `pretraining_log.json`.

## Limits

It knows a few dozen facts and answers anything else with nonsense. It was trained on texts of up to about
150 tokens (its window is {window}), and it adds only numbers of three digits. Its rare words are spelled
in pieces, byte by byte where need be.
"""


def model_card(
    *,
    name: str,
    parameters: int,
    vocabulary: int,
    window: int,
    careful_share: float,
    shares: Sequence[tuple[str, float]],
    samples: int,
    last: dict[str, Any],
    measured: Sequence[dict[str, Any]],
) -> str:
    """Fill the card in from the training log's last entry and the rows of `measure`."""
    cells = {(row["family"], row["mode"]): f"{row['accuracy']:.3f} ± {row['half_width']:.3f}" for row in measured}
    table = "\n".join(
        f"| {family} | {' | '.join(cells[family, mode] for mode in get_args(Mode))} |" for family in FAMILIES
    )
    return HEADER + BODY.format(
        name=name,
        millions=parameters / 1e6,
        vocabulary=vocabulary,
        window=window,
        careful=careful_share,
        shares=", ".join(f"{model} {share:.0%}" for model, share in shares),
        samples=samples,
        table=table,
        steps=last["step"],
        tokens=last["tokens"] / 1e6,
        seconds=last["training_seconds"],
    )
