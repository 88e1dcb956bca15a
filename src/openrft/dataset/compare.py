"""What examples have in common and how large they are: overlap of files, prompt lengths, a summary."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from openrft.dataset.read import Dataset
from openrft.dataset.rows import Findings
from openrft.errors import Problem
from openrft.types import Example


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, middle and greatest of some sizes."""

    least: int
    median: float
    greatest: int


@dataclass(frozen=True, slots=True)
class KeySummary:
    """How many rows have a key, and of which JSON types its values are."""

    rows: int
    types: dict[str, int]


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A dataset at a glance."""

    rows: int
    keys: dict[str, KeySummary]  # in order of first use
    roles: dict[str, int]  # messages by role
    messages: Spread  # per row
    prompt_characters: Spread  # per row
    rows_with_tools: int
    repeated_prompts: int  # rows whose prompt an earlier row has already


def normalized_prompt(example: Example) -> str:
    """The prompt without regard to case, blanks and line breaks; equal ones count as the same."""
    spoken = [
        [
            message["role"],
            " ".join(str(message.get("content", "")).casefold().split()),
            message.get("tool_calls"),
        ]
        for message in example.messages
    ]
    return json.dumps(spoken, sort_keys=True, ensure_ascii=False)


def check_overlap(train: Dataset, valid: Dataset) -> list[Problem]:
    """A warning for each example of ``valid`` whose prompt is in ``train`` too: such rows measure memory."""
    lines: dict[str, list[int]] = {}
    for example in train.examples:
        lines.setdefault(normalized_prompt(example), []).append(example.line)
    findings = Findings(valid.name)
    for example in valid.examples:
        same = lines.get(normalized_prompt(example))
        if same:
            shown = ", ".join(str(line) for line in same[:5]) + (", …" if len(same) > 5 else "")
            found = f"the prompt of line {shown} of {train.name}"
            fix = "Remove the row from one of the files; on it the evaluation measures memory."
            findings.add(example.line, "messages", "overlap", "a prompt that is not trained on", found, fix)
    return findings.problems


def check_prompt_lengths(
    dataset: Dataset, count_tokens: Callable[[Example], int], max_prompt_tokens: int
) -> list[Problem]:
    """A problem for each prompt that ``count_tokens`` finds longer than ``max_prompt_tokens``."""
    findings = Findings(dataset.name)
    for example in dataset.examples:
        count = count_tokens(example)
        if count > max_prompt_tokens:
            expected = f"a prompt of at most {max_prompt_tokens:,} tokens"
            fix = "Shorten it, remove the row, or use a model with a longer context."
            findings.add(example.line, "messages", "prompt_too_long", expected, f"{count:,} tokens", fix)
    return findings.problems


def summarize(dataset: Dataset) -> DatasetSummary:
    """Rows, keys, roles and lengths of a dataset."""
    examples = dataset.examples
    types: dict[str, Counter[str]] = {}
    for example in examples:
        for key, value in example.item.items():
            types.setdefault(key, Counter())[_json_type(value)] += 1
    return DatasetSummary(
        rows=len(examples),
        keys={key: KeySummary(rows=counts.total(), types=dict(counts)) for key, counts in types.items()},
        roles=dict(Counter(message["role"] for example in examples for message in example.messages)),
        messages=_spread(len(example.messages) for example in examples),
        prompt_characters=_spread(
            sum(len(str(message.get("content", ""))) for message in example.messages) for example in examples
        ),
        rows_with_tools=sum(example.tools is not None for example in examples),
        repeated_prompts=len(examples) - len({normalized_prompt(example) for example in examples}),
    )


def _spread(sizes: Iterable[int]) -> Spread:
    known = list(sizes)
    return Spread(least=min(known), median=statistics.median(known), greatest=max(known))


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {dict: "object", list: "array", str: "string", bool: "boolean"}
    return names.get(type(value), "number")
