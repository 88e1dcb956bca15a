"""Read a JSONL file of examples, line by line, and tell everything that is wrong with it at once.

A file comes from outside: its lines are of any length and encoding. Nothing is repaired in silence; what is
accepted although it is not quite right becomes a warning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from openrft.dataset.rows import Findings, Format, Row, add_wrong_format, check_row, kind_of, recognize
from openrft.dataset.strict_json import MAX_DEPTH, BadJson, parse_json
from openrft.dataset.supervised import read_supervised_rows
from openrft.errors import DatasetError, Problem
from openrft.types import Example

MethodName = Literal["reinforcement", "supervised"]
"""What rows are for."""

MAX_TRAINING_ROWS = 50_000
"""OpenAI's limit for a training file."""

MAX_VALIDATION_ROWS = 1_000
"""OpenAI's limit for a validation file; pass it as ``max_rows`` to hold to it."""

MIN_SUPERVISED_ROWS = 10
"""OpenAI's limit for the training file of a supervised job; pass it as ``min_rows`` to hold to it."""

MAX_SUPERVISED_ROWS = 1_000_000
"""Ours, for any file of a supervised job: OpenAI's limits on rows are those of reinforcement."""

MAX_LINE_BYTES = 10 * 1024**2
MAX_FILE_BYTES = 512 * 1024**2
_ROW_OF: dict[MethodName, str] = {
    "reinforcement": '{"messages": [{"role": "user", "content": "…"}], "answer": "…"}',
    "supervised": '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
}

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """The examples of one good file."""

    path: Path
    name: str  # what messages call the file
    examples: list[Example] = field(repr=False)
    fingerprint: str  # SHA-256 of the file's bytes, in hex
    warnings: list[Problem] = field(default_factory=list)  # accepted, but worth a word


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a file holds, whether it is good or not."""

    name: str  # what messages call the file
    rows: list[Row] = field(repr=False)  # every line that is an object
    examples: list[Example] = field(repr=False)  # those that are as they should be
    num_rows: int  # lines that are not empty
    problems: list[Problem]  # in the order of the lines
    warnings: list[Problem]
    fingerprint: str  # SHA-256 of the file's bytes, in hex


def read_examples(
    path: Path | str,
    *,
    name: str | None = None,
    method: MethodName = "reinforcement",
    min_rows: int = 1,
    max_rows: int = MAX_TRAINING_ROWS,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> Dataset:
    """All examples of a file; DatasetError with all of its problems if there is one.

    ``name`` is what messages call the file (the name it was uploaded under); without it, its path. ``method`` is what
    the rows are for.
    """
    found = read_file(
        path,
        name=name,
        method=method,
        min_rows=min_rows,
        max_rows=max_rows,
        max_line_bytes=max_line_bytes,
        max_file_bytes=max_file_bytes,
    )
    if found.problems:
        raise DatasetError(found.problems)
    return Dataset(
        path=Path(path),
        name=found.name,
        examples=found.examples,
        fingerprint=found.fingerprint,
        warnings=found.warnings,
    )


def read_file(
    path: Path | str,
    *,
    name: str | None = None,
    method: MethodName = "reinforcement",
    min_rows: int = 1,
    max_rows: int = MAX_TRAINING_ROWS,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> Reading:
    """Everything that can be said of a file. Raises DatasetError only for one that cannot be read at all."""
    path = Path(path)
    findings = Findings(name or str(path))
    try:
        size = path.stat().st_size
        if size > max_file_bytes:
            expected, found = f"at most {max_file_bytes:,} bytes", f"{size:,}"
            findings.add(None, None, "file_too_large", expected, found, "Use fewer or shorter rows.")
            raise DatasetError(findings.problems)
        with path.open("rb") as stream:
            reader = _Reader(stream, findings, max_line_bytes)
            rows = list(reader.rows(max_rows))
    except OSError as error:
        found = "nothing at this path" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
        findings.add(None, None, "file_not_readable", "a file", found, "Check the path.")
        raise DatasetError(findings.problems) from None
    examples = (read_supervised_rows if method == "supervised" else _examples)(findings, rows)
    _check_number(findings, reader, size, method, min_rows, max_rows)
    return Reading(
        name=findings.file,
        rows=rows,
        examples=examples,
        num_rows=reader.num_rows,
        problems=sorted(findings.problems, key=lambda problem: problem.line or 0),
        warnings=_warnings(findings, reader),
        fingerprint=reader.digest.hexdigest(),
    )


def row_limits(method: MethodName, role: str) -> tuple[int, int]:
    """How many rows a job's file may have, at least and at most; ``role`` is ``training_file`` and so on."""
    is_training = role == "training_file"
    if method == "supervised":
        return MIN_SUPERVISED_ROWS if is_training else 1, MAX_SUPERVISED_ROWS
    return 1, MAX_TRAINING_ROWS if is_training else MAX_VALIDATION_ROWS


def _check_number(
    findings: Findings, reader: _Reader, size: int, method: MethodName, min_rows: int, max_rows: int
) -> None:
    """Note it when there are too few rows or too many."""
    if not reader.num_rows and not findings.problems:
        found = "an empty file" if not size else "only empty lines"
        fix = f"Write one object per line: {_ROW_OF[method]}."
        findings.add(None, None, "invalid_n_examples", f"at least {_counted(min_rows)}", found, fix)
    elif reader.num_rows < min_rows and all(problem.code != "not_jsonl" for problem in findings.problems):
        found, fix = _counted(reader.num_rows), "Add rows; with so few the model learns them by heart."
        findings.add(None, None, "invalid_n_examples", f"at least {_counted(min_rows)}", found, fix)
    if reader.num_rows > max_rows:
        found, fix = f"{reader.num_rows:,}", "Use fewer rows; `split` makes a smaller file of a large one."
        findings.add(None, None, "invalid_n_examples", f"at most {max_rows:,} rows", found, fix)


class _Reader:
    """The lines of a file as JSON objects; what is none is noted in ``findings``."""

    def __init__(self, stream: IO[bytes], findings: Findings, max_line_bytes: int) -> None:
        self._stream, self._findings, self._max_line_bytes = stream, findings, max_line_bytes
        self.digest = hashlib.sha256()
        self.num_rows = 0  # lines that are not empty
        self.empty_lines: list[int] = []  # with a row after them
        self.has_bom = False

    def rows(self, max_rows: int) -> Iterator[Row]:
        """Every object; rows beyond ``max_rows`` are only counted."""
        empty: list[int] = []
        for line, offset, raw in self._lines():
            if raw is None:
                self.num_rows += 1
                continue
            if line == 1 and raw.startswith(_BOM):
                self.has_bom, raw, offset = True, raw[len(_BOM) :], offset + len(_BOM)
            if not raw.strip():
                empty.append(line)
                continue
            self.empty_lines += empty
            empty = []
            self.num_rows += 1
            if self.num_rows > max_rows:
                continue
            if self.num_rows == 1 and _is_one_document(raw):
                fix = "Write one object per line, without brackets around them or line breaks inside them."
                found = "a JSON document over several lines or a list"
                self._findings.add(line, None, "not_jsonl", "JSON Lines: one object per line", found, fix)
                return
            content = self._parse(line, offset, raw)
            if content is not None:
                yield Row(line, content)

    def _lines(self) -> Iterator[tuple[int, int, bytes | None]]:
        """Number, offset and bytes of each line; None for the bytes of one that is too long to read."""
        line = offset = 0
        while raw := self._stream.readline(self._max_line_bytes + 1):
            line += 1
            self.digest.update(raw)
            length = len(raw)
            if length > self._max_line_bytes and not raw.endswith(b"\n"):
                while rest := self._stream.readline(1 << 20):
                    self.digest.update(rest)
                    length += len(rest)
                    if rest.endswith(b"\n"):
                        break
                expected, found = f"a line of at most {self._max_line_bytes:,} bytes", f"{length:,}"
                self._findings.add(line, None, "line_too_long", expected, found, "Shorten the row.")
                yield line, offset, None
            else:
                yield line, offset, raw
            offset += length

    def _parse(self, line: int, offset: int, raw: bytes) -> dict[str, Any] | None:
        add = self._findings.add
        try:
            row = parse_json(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            found = f"byte 0x{raw[error.start]:02x} at byte {offset + error.start:,} of the file"
            add(line, None, "invalid_encoding", "UTF-8", found, "Save the file as UTF-8.")
        except json.JSONDecodeError as error:
            found = f"{error.msg} at column {error.colno}"
            add(
                line,
                None,
                "invalid_json",
                "one JSON object",
                found,
                "Correct the line; json.dumps writes it well.",
            )
        except BadJson as error:
            add(line, None, error.code, error.expected, error.found, error.fix)
        except RecursionError:
            add(line, None, "invalid_json", f"at most {MAX_DEPTH} levels", "very deep nesting", "Flatten the row.")
        except ValueError as error:  # a number of thousands of digits
            add(line, None, "invalid_json", "numbers of sensible size", str(error), "Write it as a string.")
        else:
            if isinstance(row, dict):
                return row
            fix = 'Write {"messages": […], …}.'
            add(line, None, "data_type", "an object", kind_of(row), fix)
        return None


def _is_one_document(first_line: bytes) -> bool:
    stripped = first_line.strip()
    return stripped in (b"[", b"{") or stripped.startswith((b"[{", b"[\n"))


def _examples(findings: Findings, rows: list[Row]) -> list[Example]:
    formats: list[Format] = [recognize(row.content) for row in rows]
    if rows and formats[0] != "reinforcement" and len(set(formats)) == 1:
        # One sentence for the whole file helps more than the same one for every row.
        add_wrong_format(findings, rows[0].line, formats[0], whole_file=True)
        return []
    examples: list[Example] = []
    for row, kind in zip(rows, formats, strict=True):
        if kind != "reinforcement":
            add_wrong_format(findings, row.line, kind, whole_file=False)
            continue
        messages = check_row(findings, row.line, row.content)
        if messages is not None:
            index = len(examples)
            tools = row.content.get("tools") or None
            examples.append(
                Example(
                    id=row.id,
                    index=index,
                    line=row.line,
                    messages=messages,
                    item=row.content,
                    tools=tools,
                )
            )
    return examples


def _counted(examples: int) -> str:
    return f"{examples} example" if examples == 1 else f"{examples} examples"


def _warnings(findings: Findings, reader: _Reader) -> list[Problem]:
    noted = Findings(findings.file)
    if reader.has_bom:
        noted.add(1, None, "byte_order_mark", "UTF-8 without a byte order mark", "one", "It was skipped.")
    if reader.empty_lines:
        found = f"{len(reader.empty_lines)} empty, this one first"
        noted.add(reader.empty_lines[0], None, "empty_line", "a row in every line", found, "They were skipped.")
    if findings.system_lines:
        found = f'"system" in {len(findings.system_lines)} rows, this one first'
        fix = "It is read as developer; OpenAI's service refuses it."
        noted.add(findings.system_lines[0], "messages", "system_role", "the role developer", found, fix)
    return noted.problems
