"""What examples have in common and how large they are: overlap of files, prompt lengths, a summary."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from openrft.dataset.read import Dataset
from openrft.dataset.rows import Findings
from openrft.dataset.similar import TooMuchToCompare, near_duplicates, sentences_of
from openrft.errors import Problem
from openrft.types import Example

_SHOWN_LINES = 5


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


@dataclass(frozen=True, slots=True)
class Overlap:
    """A row that measures memory: its prompt, or one nearly like it, is trained on."""

    example_id: str
    line: int
    train_line: int
    is_same: bool  # but for case and blanks; else another wording, order or punctuation of it


@dataclass(frozen=True, slots=True)
class OverlapSearch:
    """What a search for overlap gave."""

    rows: list[Overlap]
    is_complete: bool  # False: the files are too large, and only equal prompts were looked for


def find_overlap(train: Dataset, valid: Dataset) -> OverlapSearch:
    """The rows of ``valid`` whose prompt is (nearly) in ``train``, in their order."""
    found = {overlap.line: overlap for overlap in _same_prompts(train, valid)}
    rest = [example for example in valid.examples if example.line not in found]
    try:
        near = near_duplicates(rest, train.examples)
    except TooMuchToCompare:
        return OverlapSearch(list(found.values()), is_complete=False)
    train_lines = {duplicate.index: train.examples[duplicate.train_index].line for duplicate in near}
    by_sentences = {sentences_of(example): example.line for example in reversed(train.examples)}
    for index, example in enumerate(rest):
        sentences = sentences_of(example)
        train_line = (by_sentences.get(sentences) if sentences else None) or train_lines.get(index)
        if train_line is not None:
            found[example.line] = Overlap(example.id, example.line, train_line, is_same=False)
    return OverlapSearch([found[line] for line in sorted(found)], is_complete=True)


def check_overlap(train: Dataset, valid: Dataset) -> list[Problem]:
    """Warnings if rows of ``valid`` have a prompt of ``train``, or nearly one: such rows measure memory.

    Equal and similar prompts are told once each, with their count and the first lines.
    """
    search = find_overlap(train, valid)
    findings = Findings(valid.name)
    for is_same, code, words in (
        (True, "overlap", "the prompt of a row"),
        (False, "near_overlap", "nearly the prompt of a row"),
    ):
        rows = [overlap for overlap in search.rows if overlap.is_same == is_same]
        if rows:
            shown = ", ".join(f"{row.line} (there {row.train_line})" for row in rows[:_SHOWN_LINES])
            more = ", …" if len(rows) > _SHOWN_LINES else ""
            count = f"{len(rows):,} of {len(valid.examples):,} rows with {words} of {train.name}"
            fix = "Remove these rows from one of the files; on them the evaluation measures memory."
            expected = "prompts that are not trained on"
            lines = "line" if len(rows) == 1 else "lines"
            findings.add(rows[0].line, "messages", code, expected, f"{count}: {lines} {shown}{more}", fix)
    if not search.is_complete:
        sizes = f"{len(valid.examples):,} rows here and {len(train.examples):,} in {train.name}"
        fix = "Only equal prompts were looked for; compare parts of the files to find similar ones."
        expected = "files small enough to compare all prompts"
        findings.add(None, "messages", "overlap_unknown", expected, sizes, fix)
    return findings.problems


def _same_prompts(train: Dataset, valid: Dataset) -> list[Overlap]:
    lines = {normalized_prompt(example): example.line for example in reversed(train.examples)}
    prompts = ((example, normalized_prompt(example)) for example in valid.examples)
    return [
        Overlap(example.id, example.line, lines[prompt], is_same=True) for example, prompt in prompts if prompt in lines
    ]


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
            types.setdefault(key, Counter())[json_type(value)] += 1
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


def json_type(value: object) -> str:
    """What JSON calls the type of ``value``."""
    if value is None:
        return "null"
    names = {dict: "object", list: "array", str: "string", bool: "boolean"}
    return names.get(type(value), "number")
