"""What was sampled in a step, in numbers: enough to sort, pick and count its rollouts without reading their texts.

A step of 500 rollouts has megabytes of text and a few kilobytes of these columns. They are packed into one compressed
blob, which is recorded with the step. Everything in them is in the step's file too, from which they can be made again.
numpy is loaded by who makes or reads an index, not by who imports this.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIXED = (
    ("example", "<u4"),
    ("sample", "<u4"),
    ("reward", "<f8"),
    ("advantage", "<f8"),
    ("length", "<u4"),
    ("line_bytes", "<u4"),
    ("left_out", "u1"),
    ("errored", "u1"),
    ("truncated", "u1"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutIndex:
    """The rollouts of one step, a column of each number, in the order of the lines of the step's file."""

    examples: Sequence[str]
    """The examples' ids, which ``example`` counts."""
    reasons: Sequence[str]
    """Why rollouts were left out, which ``left_out`` counts from 1."""
    example: NDArray[np.uint32]
    sample: NDArray[np.uint32]
    reward: NDArray[np.float64]  # NaN where there is none
    advantage: NDArray[np.float64]  # likewise
    length: NDArray[np.uint32]  # tokens of the completion
    line_bytes: NDArray[np.uint32]  # of its line in the file, the line's end included
    left_out: NDArray[np.uint8]  # 0: it trained
    errored: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    parts: Mapping[str, NDArray[np.float64]]
    """The scores of the parts of a multi grader, NaN where there is none."""

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each rollout's line begins in the step's file."""
        sizes: NDArray[np.int64] = self.line_bytes.astype("i8")
        return sizes.cumsum() - sizes

    def reason(self, number: int) -> str | None:
        """Why a rollout was left out; None if it trained."""
        code = int(self.left_out[number])
        return self.reasons[code - 1] if code else None

    def groups(self) -> list[NDArray[np.intp]]:
        """The numbers of the rollouts of each group, in order; an example that a step has twice makes two groups."""
        import numpy as np

        places: dict[tuple[int, int], list[int]] = {}
        seen: dict[tuple[int, int], int] = {}
        for number, one in enumerate(zip(self.example.tolist(), self.sample.tolist(), strict=True)):
            seen[one] = seen.get(one, -1) + 1
            places.setdefault((one[0], seen[one]), []).append(number)
        return [np.array(numbers) for numbers in places.values()]

    def as_row(self) -> dict[str, Any]:
        """The values of its row in the table ``rollout_index``, but for the job and the step."""
        import numpy as np

        known = self.reward[~np.isnan(self.reward)]
        return {
            "size": len(self),
            "num_errored": int(self.errored.sum()),
            "num_left_out": int((self.left_out > 0).sum()),
            "lowest_reward": float(known.min()) if len(known) else None,
            "highest_reward": float(known.max()) if len(known) else None,
            "longest": int(self.length.max(initial=0)),
            "examples": json.dumps(list(self.examples)),
            "columns": self._packed(),
        }

    def _packed(self) -> bytes:
        names = {"size": len(self), "examples": self.examples, "reasons": self.reasons, "parts": list(self.parts)}
        columns = [getattr(self, name).astype(kind).tobytes() for name, kind in _FIXED]
        columns += [scores.astype("<f8").tobytes() for scores in self.parts.values()]
        return zlib.compress(b"\n".join((json.dumps(names).encode(), b"".join(columns))))


def index_of(rows: Sequence[Mapping[str, Any]], line_bytes: Sequence[int]) -> RolloutIndex:
    """The index of a step's rows; ``line_bytes`` are the lengths of their lines, with the ends of the lines."""
    import numpy as np

    examples = list(dict.fromkeys(row["example"] for row in rows))
    reasons = list(dict.fromkeys(row["left_out"] for row in rows if row["left_out"] is not None))
    parts = list(dict.fromkeys(name for row in rows for name in row["sub_grades"]))
    example_numbers = {example: number for number, example in enumerate(examples)}
    codes = {None: 0, **{reason: number for number, reason in enumerate(reasons, start=1)}}
    return RolloutIndex(
        examples=examples,
        reasons=reasons,
        example=np.array([example_numbers[row["example"]] for row in rows], np.uint32),
        sample=np.array([row["sample"] for row in rows], np.uint32),
        reward=_numbers(row["reward"] for row in rows),
        advantage=_numbers(row["advantage"] for row in rows),
        length=np.array([len(row["token_ids"]) for row in rows], np.uint32),
        line_bytes=np.array(line_bytes, np.uint32),
        left_out=np.array([codes[row["left_out"]] for row in rows], np.uint8),
        errored=np.array([has_failed(row) for row in rows], bool),
        truncated=np.array([row["finish_reason"] == "length" for row in rows], bool),
        parts={name: _numbers(row["sub_grades"].get(name, {}).get("score") for row in rows) for name in parts},
    )


def line_sizes(text: bytes) -> list[int]:
    """The lengths of the lines of a step's file, with their ends."""
    return [len(line) for line in io.BytesIO(text)]


def index_of_file(lines: Iterable[bytes]) -> RolloutIndex:
    """The index of a step's file, read line by line: never are two of its rows whole in memory."""
    rows, sizes = [], []
    for line in lines:
        row = json.loads(line)
        kept = ("example", "sample", "reward", "advantage", "left_out", "finish_reason", "error", "replaced")
        grades = {name: _scored(part) for name, part in row["sub_grades"].items()}
        rows.append(
            {name: row[name] for name in kept} | {"sub_grades": grades, "token_ids": range(len(row["token_ids"]))}
        )
        sizes.append(len(line))
    return index_of(rows, sizes)


def unpacked(packed: bytes) -> RolloutIndex:
    """The index whose row had these ``columns``."""
    import numpy as np

    head, _, body = zlib.decompress(packed).partition(b"\n")
    names = json.loads(head)
    size, start = names["size"], 0
    columns: dict[str, Any] = {}
    for name, kind in (*_FIXED, *((f"part {part}", "<f8") for part in names["parts"])):
        columns[name] = np.frombuffer(body, kind, size, start)
        start += columns[name].nbytes
    parts = {part: columns.pop(f"part {part}") for part in names["parts"]}
    for name in ("errored", "truncated"):
        columns[name] = columns[name].astype(bool)
    return RolloutIndex(examples=names["examples"], reasons=names["reasons"], parts=parts, **columns)


def has_failed(row: Mapping[str, Any]) -> bool:
    """Whether grading a rollout failed, in part or as a whole."""
    if row["error"] is not None or row["replaced"] is not None:
        return True
    return any(has_failed(part) for part in row["sub_grades"].values())


def _scored(grade: Mapping[str, Any]) -> dict[str, Any]:
    """What the index reads of a part's grade."""
    parts = {name: _scored(part) for name, part in grade["sub_grades"].items()}
    return {"score": grade["score"], "error": grade["error"], "replaced": grade["replaced"], "sub_grades": parts}


def _numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    import numpy as np

    return np.array([np.nan if value is None else value for value in values], np.float64)
