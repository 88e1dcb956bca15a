"""The work that is measured, and its files: a random model, a tokenizer of words, prompts of an exact length.

Both sides load the same folder and read the same rows, so both see the same token ids. No completion ends early: the
end-of-text id is one that the model has no logit for.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.generation import SIZES, build_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

MARKS = 2  # tokens that the chat template puts around a message
# The template counts in the prompt's length; spaces, because words are what the tokenizer splits at.
CHAT_TEMPLATE = (
    "{% for message in messages %}<user> {{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ROWS = 256


@dataclass(frozen=True)
class Workload:
    """One training step: ``prompts`` x ``samples`` completions of ``completion`` tokens on ``prompt`` tokens."""

    name: str
    prompt: int
    completion: int
    prompts: int
    samples: int

    @property
    def sequences(self) -> int:
        """Completions of a step."""
        return self.prompts * self.samples

    @property
    def tokens(self) -> int:
        """Completion tokens of a step."""
        return self.sequences * self.completion

    def times(self, field: str, factor: int) -> Workload:
        """The same with ``factor`` times as much of one quantity."""
        return replace(self, name=f"{field} x{factor}", **{field: getattr(self, field) * factor})


WORKLOADS = {
    "W1": Workload("W1", prompt=48, completion=64, prompts=8, samples=8),
    "W2": Workload("W2", prompt=512, completion=32, prompts=8, samples=16),
    "W3": Workload("W3", prompt=48, completion=256, prompts=8, samples=8),
}


def write_model(folder: Path, shape: dict[str, int] | str) -> int:
    """Save a random model (a name of ``SIZES`` or a shape) with its tokenizer; returns its number of parameters."""
    model = build_model(shape)
    model.save_pretrained(folder)
    build_tokenizer(model.config.vocab_size).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def build_tokenizer(vocabulary: int) -> Any:
    """One token a word, ``w4`` … and an end of text behind the last row of the embedding."""
    words = {"<pad>": 0, "<user>": 1, "<assistant>": 2, "<unknown>": 3}
    words |= {f"w{number}": number for number in range(4, vocabulary - 1)}
    words["<end>"] = vocabulary
    plain = Tokenizer(WordLevel(words, unk_token="<unknown>"))
    plain.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<end>")
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def write_rows(path: Path, workload: Workload, vocabulary: int, *, rows: int = ROWS) -> None:
    """Rows in the format of a training file, every prompt of exactly the workload's length."""
    draw = random.Random(f"rows {workload.prompt}")
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            words = " ".join(f"w{draw.randrange(4, vocabulary - 1)}" for _ in range(workload.prompt - MARKS))
            message = {"role": "user", "content": words}
            file.write(json.dumps({"messages": [message], "number": number}) + "\n")


def shape_of(size: str) -> dict[str, int]:
    """The numbers of a model's shape."""
    return SIZES[size]
