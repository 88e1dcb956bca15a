"""Part a file into training, validation and test rows, so that no prompt is in two of them, nor one nearly like it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openrft.dataset.compare import normalized_prompt
from openrft.dataset.read import Dataset, read_examples
from openrft.dataset.similar import TooMuchToCompare, near_duplicates_within, sentences_of
from openrft.errors import InvalidRequest
from openrft.types import Example

Share = float | int | None
"""A float is a share of the rows, an int a number of rows, None whatever the other parts leave."""


@dataclass(frozen=True, slots=True)
class SplitPart:
    """One file that was written."""

    path: Path
    rows: int
    prompts: int  # different ones


def split_file(
    path: Path | str,
    out_dir: Path | str,
    parts: Mapping[str, Share],
    *,
    method: Literal["reinforcement", "supervised"] = "reinforcement",
    seed: int = 0,
    overwrite: bool = False,
    max_rows: int = 1_000_000,
) -> dict[str, SplitPart]:
    """Write ``out_dir/NAME.jsonl`` for each part, with its rows as they are in the file and in their order.

    Rows with the same prompt stay together, and so do near duplicates (``similar`` says what that is) as long as they
    are not more than fit into the smallest part; files too large to compare are split by equal prompts. Which part a
    prompt goes to depends on ``seed`` and the prompts alone. The sizes are met exactly unless repeated prompts make
    that impossible. Raises DatasetError if the file is not good, InvalidRequest if the parts do not fit or a file is
    there already.
    """
    dataset = read_examples(path, method=method, max_rows=max_rows)
    sizes = _sizes(parts, len(dataset.examples))
    folder = Path(out_dir)
    targets = {name: folder / f"{name}.jsonl" for name in parts}
    for name, target in targets.items():
        if target.resolve() == dataset.path.resolve():
            raise InvalidRequest(f"{target} is the file to split; choose another folder", param=name)
        if target.exists() and not overwrite:
            raise InvalidRequest(f"{target} is there already; remove it, or say that it may be replaced", param=name)
    part_of_line, prompts = _assign(dataset, sizes, seed)
    folder.mkdir(parents=True, exist_ok=True)
    written = _write(dataset.path, targets, part_of_line)
    return {name: SplitPart(targets[name], written[name], prompts[name]) for name in parts}


def _sizes(parts: Mapping[str, Share], rows: int) -> dict[str, int]:
    """How many rows each part gets."""
    if not parts:
        raise InvalidRequest("name at least one part", param="parts")
    for name, share in parts.items():
        if not name or Path(name).name != name or name.startswith("."):
            raise InvalidRequest(f"part {name!r} cannot be the name of a file", param="parts")
        if share is not None and (isinstance(share, bool) or not share > 0):
            raise InvalidRequest(f"part {name} is {share}; it must be more than 0", param=name)
        if isinstance(share, float) and share > 1:
            raise InvalidRequest(f"part {name} is {share}; a share is at most 1, a number of rows is whole", param=name)
    rest = [name for name, share in parts.items() if share is None]
    if len(rest) > 1:
        raise InvalidRequest(f"only one part can take the rest, not {' and '.join(rest)}", param=rest[1])
    exact = {name: share * rows if isinstance(share, float) else share for name, share in parts.items() if share}
    asked = sum(exact.values())
    if asked > rows + 1e-6 or (not rest and asked < rows - 1e-6):
        fix = "let one part take the rest" if asked < rows else "ask for less"
        raise InvalidRequest(f"the parts ask for {asked:g} of {rows:,} rows; {fix}", param="parts")
    # Whole rows by the largest remainder, so that 0.5 + 0.5 of 3 rows are 2 + 1 and nothing is lost.
    sizes = {name: int(number + 1e-9) for name, number in exact.items()}
    total = round(asked) if rest else rows
    for name in sorted(exact, key=lambda name: sizes[name] - exact[name])[: max(0, total - sum(sizes.values()))]:
        sizes[name] += 1
    if rest:
        sizes[rest[0]] = rows - sum(sizes.values())
    empty = [name for name in parts if sizes[name] == 0]
    if empty:
        raise InvalidRequest(f"part {empty[0]} would have no rows of {rows:,}; ask for more", param=empty[0])
    return {name: sizes[name] for name in parts}


def _assign(dataset: Dataset, sizes: dict[str, int], seed: int) -> tuple[dict[int, str], dict[str, int]]:
    """The part of each line, and how many different prompts each part has."""
    groups = _alike(dataset.examples, most=min(sizes.values()))

    def rank(group: list[Example]) -> tuple[int, bytes]:
        # Large groups first, while there is still room for them; then a shuffle that needs no random state.
        prompt = min(normalized_prompt(example) for example in group)
        return -len(group), hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()

    room, prompts = dict(sizes), dict.fromkeys(sizes, 0)
    part_of_line = {}
    for group in sorted(groups, key=rank):
        # In proportion to what is still missing, so that every part gets its share of the large groups too.
        name = max(room, key=lambda name: (room[name] >= len(group), room[name] / sizes[name]))
        room[name] -= len(group)
        prompts[name] += len({normalized_prompt(example) for example in group})
        part_of_line.update(dict.fromkeys((example.line for example in group), name))
    return part_of_line, prompts


def _alike(examples: list[Example], most: int) -> list[list[Example]]:
    """The examples in groups that must stay together; near duplicates join only into groups of at most ``most``."""
    try:
        near, is_compared = near_duplicates_within(examples), True
    except TooMuchToCompare:
        near, is_compared = [], False
    groups: dict[object, list[Example]] = {}
    for example in examples:
        key = (sentences_of(example) if is_compared else ()) or normalized_prompt(example)
        groups.setdefault(key, []).append(example)
    group_of = {example.line: group for group in groups.values() for example in group}
    # By similarity and not by place, so that the groups do not depend on the order of rows.
    pairs = ((pair.similarity, examples[pair.index], examples[pair.train_index]) for pair in near)
    for _, one, other in sorted(pairs, key=lambda pair: (-pair[0], sorted((pair[1].id, pair[2].id)))):
        left, right = group_of[one.line], group_of[other.line]
        if left is not right and len(left) + len(right) <= most:
            left += right
            group_of.update((example.line, left) for example in right)
    return list({id(group): group for group in group_of.values()}.values())


def _write(source: Path, targets: dict[str, Path], part_of_line: dict[int, str]) -> dict[str, int]:
    """Write each part beside its place, then move them all there: a reader never sees half a file."""
    rows: dict[str, list[bytes]] = {name: [] for name in targets}
    with source.open("rb") as stream:
        for line, raw in enumerate(stream, start=1):
            if line in part_of_line:
                rows[part_of_line[line]].append(raw.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n") + b"\n")
    beside: dict[str, Path] = {}
    try:
        for name, target in targets.items():
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{name}-", suffix=".tmp")
            beside[name] = Path(temporary)
            with os.fdopen(handle, "wb") as out:
                out.writelines(rows[name])
                out.flush()
                os.fsync(out.fileno())
            beside[name].chmod(0o644)
        for name, target in targets.items():
            os.replace(beside.pop(name), target)
    finally:
        for temporary_path in beside.values():
            temporary_path.unlink(missing_ok=True)
    return {name: len(lines) for name, lines in rows.items()}
