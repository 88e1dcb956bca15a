"""``GET /v1/files/{file_id}/preview``: what is in a file and what is wrong with it, before a job reads it. Ours."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from openrft.api.access import Platforms, Reader
from openrft.api.platform import Platform
from openrft.api.turns import Turns
from openrft.dataset import MethodName, Reading, read_file, row_limits
from openrft.dataset.preview import keys_of, shown_rows
from openrft.errors import TooLarge
from openrft.store.rows import StoredFile

router = APIRouter(prefix="/files", tags=["files"])

MOST_BYTES = 32 * 1024**2
"""Of a file that is read while somebody waits. Larger ones are checked by the worker alone."""

_MOST_PROBLEMS = 200
TURNS = Turns(2, "other files are being read; try again in a moment", retry_after=1)
"""Few at once: rows take far more memory than their letters."""

Role = Literal["training_file", "validation_file", "test_file"]
Rows = Annotated[int, Query(ge=0, le=100, description="most rows to show; fewer where they are long")]
After = Annotated[int, Query(ge=0, le=2**31 - 1, description="only rows after this line")]


@router.get("/{file_id}/preview")
def preview_file(
    caller: Reader,
    platform: Platforms,
    file_id: str,
    method: MethodName = "reinforcement",
    role: Role = "training_file",
    rows: Rows = 5,
    after: After = 0,
) -> dict[str, Any]:
    """The file's rows, keys and problems, as a job of this method would find them in this place of its request."""
    file = platform.store.files.get(caller.project_id, file_id)
    if file.bytes > MOST_BYTES:
        message = (
            f"the file has {file.bytes:,} bytes, and no more than {MOST_BYTES:,} are read for a preview. A job takes "
            "it all the same; to check it first: openrft data validate FILE"
        )
        raise TooLarge(message, param="file_id")
    with TURNS.one():
        reading = _read(platform, file, method, role)
        return _preview(file, reading, rows, after)


def _read(platform: Platform, file: StoredFile, method: MethodName, role: Role) -> Reading:
    least, most = row_limits(method, role)
    with tempfile.TemporaryDirectory(prefix="openrft-preview-") as folder:
        path = Path(folder) / "rows.jsonl"
        platform.store.artifacts.fetch(file.artifact, path)
        return read_file(path, name=file.filename, method=method, min_rows=least, max_rows=most)


def _preview(file: StoredFile, reading: Reading, limit: int, after: int) -> dict[str, Any]:
    rows = shown_rows(reading, after=after, limit=limit)
    keys, num_keys = keys_of(reading)
    last = reading.rows[-1].line if reading.rows else 0
    return {
        "object": "file.preview",
        "file_id": file.id,
        "filename": file.filename,
        "bytes": file.bytes,
        "num_rows": reading.num_rows,
        "num_problems": len(reading.problems),
        "problems": [asdict(problem) for problem in reading.problems[:_MOST_PROBLEMS]],
        "warnings": [asdict(problem) for problem in reading.warnings[:_MOST_PROBLEMS]],
        "keys": {name: asdict(key) for name, key in keys.items()},
        "num_keys": num_keys,
        "rows": [asdict(row) for row in rows],
        "has_more": bool(rows) and rows[-1].line < last,
    }
