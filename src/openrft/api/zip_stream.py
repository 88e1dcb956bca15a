"""A zip archive as a stream: each piece is handed on as it is made, and nothing of it is kept."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable, Iterator

from openrft.api.run_layout import Entry

_TEXTS = (".json", ".jsonl", ".md", ".svg", ".txt", ".jinja")


class _Pieces(io.RawIOBase):
    """Where the archive writes to; it cannot go back, so zipfile writes sizes behind what they are about."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: object) -> int:
        data = bytes(piece)  # type: ignore[call-overload]
        self._waiting.append(data)
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken


def zipped(entries: Iterable[Entry], folder: str, *, seconds: int) -> Iterator[bytes]:
    """The archive of ``entries`` in one ``folder``, dated ``seconds``. Texts are compressed; weights do not shrink."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w") as archive:
        for entry in entries:
            info = zipfile.ZipInfo(f"{folder}/{entry.name}", time.gmtime(seconds)[:6])
            info.compress_type = zipfile.ZIP_DEFLATED if entry.name.endswith(_TEXTS) else zipfile.ZIP_STORED
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as file:
                for piece in entry.pieces():
                    file.write(piece)
                    if made := pieces.take():
                        yield made
            yield pieces.take()
    yield pieces.take()
