"""A file of JSON lines that somebody else writes."""

from __future__ import annotations

import json
import os
from io import BufferedReader
from pathlib import Path
from typing import Any


class Lines:
    """Reads what has been added since it last looked; a file that was replaced is read from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BufferedReader | None = None  # stays open: as long as it is, no other file can have its number

    def read(self) -> list[dict[str, Any]]:
        """The new whole lines; the rest of one that is being written comes another time."""
        if self._file is None or not self._is_the_one(self._file):
            self.close()
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return []
        text = self._file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._file.seek(len(whole) - len(text), os.SEEK_CUR)
        return [json.loads(line) for line in whole.splitlines() if line.strip()]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_the_one(self, file: BufferedReader) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False
