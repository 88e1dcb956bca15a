"""How often an untuned model is right on the example test sets, which nothing was tuned on."""

from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any, get_args

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pretraining.answers import Mode, accuracy
from pretraining.examples import split_cases
from pretraining.tasks import FAMILIES

SEED = 5


def measure(folder: Path, samples: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each family and mode; `half_width` is of the 95 % interval over all answers."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for family in FAMILIES:
        cases = split_cases(family)["test"]
        for mode in get_args(Mode):
            torch.manual_seed(SEED)
            result = accuracy(model, tokenizer, family, cases, mode, samples=1 if mode == "greedy" else samples)
            half_width = 1.96 * sqrt(result.rate * (1 - result.rate) / result.n)
            yield {
                "model": folder.name,
                "family": family,
                "mode": mode,
                "accuracy": round(result.rate, 3),
                "half_width": round(half_width, 3),
                "n": result.n,
            }
