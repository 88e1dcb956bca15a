"""A job's rollouts as pages read them: indexes in batches, texts one by one from where they begin in their file.

A step that was recorded without an index is read whole, once: the index is then kept.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO

from openrft.api.platform import Platform
from openrft.api.stored_json import read_json
from openrft.errors import NotFound, TooManyRequests
from openrft.store.rollout_index import RolloutIndex, index_of, index_of_file, unpacked
from openrft.store.rows import SampledStep

Place = tuple[int, int]
"""A rollout: its step, and its line in the step's file, counted from 0."""

_FIRST_BATCH = 4  # indexes of one query; each batch is four times the one before, for most pages need few
_LARGEST_BATCH = 1_024
_KEPT = 256  # indexes in memory


class RolloutReading:
    """Reads the rollouts of one job for one request; ``with`` closes the file that is open."""

    def __init__(self, platform: Platform, project_id: str, job_id: str, *, seconds_of_indexing: float = 10.0) -> None:
        """``seconds_of_indexing`` bounds how long steps without an index are read; what was got through stays done."""
        self._store, self._project_id, self._job_id = platform.store, project_id, job_id
        self._read: dict[int, tuple[str, RolloutIndex]] = {}  # the newest indexes, with the keys of their files
        self._open: tuple[str, BinaryIO] | None = None
        self._until = time.monotonic() + seconds_of_indexing

    def __enter__(self) -> RolloutReading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open[1].close()

    def indexes(self, steps: Sequence[SampledStep]) -> Iterator[RolloutIndex]:
        """The index of each of ``steps``, in their order, read as they are asked for."""
        size, start = _FIRST_BATCH, 0
        while start < len(steps):
            batch = steps[start : start + size]
            found = self._store.rollouts.columns(self._project_id, self._job_id, [one.step for one in batch])
            for step in batch:
                key, packed = found.get(step.step, (step.rollouts or "", None))
                index = self._made(step.step, key) if packed is None else unpacked(packed)
                self._read[step.step] = (key, index)
                if len(self._read) > _KEPT:
                    del self._read[next(iter(self._read))]
                yield index
            start, size = start + len(batch), min(4 * size, _LARGEST_BATCH)

    def row(self, place: Place) -> dict[str, Any] | None:
        """A rollout whole; None where there is none, or somebody made room."""
        if place[0] not in self._read:
            of_step = self._store.rollouts.steps(self._project_id, self._job_id, step=place[0])
            if not list(self.indexes([one for one in of_step if one.rollouts is not None])):
                return None
        key, index = self._read[place[0]]
        if place[1] >= len(index):
            return None
        file = self._file(key)
        if file is None:
            return None
        file.seek(int(index.starts[place[1]]))
        row: dict[str, Any] = read_json(file.read(int(index.line_bytes[place[1]])))
        return row

    def _file(self, key: str) -> BinaryIO | None:
        """The file of a step; the one before is closed."""
        if self._open is not None and self._open[0] == key:
            return self._open[1]
        if self._open is not None:
            self._open[1].close()
            self._open = None
        with contextlib.suppress(NotFound):
            self._open = (key, self._store.artifacts.open(key))
            return self._open[1]
        return None

    def _made(self, step: int, key: str) -> RolloutIndex:
        """The index of a step that has none, from its file."""
        if time.monotonic() > self._until:
            message = "this job's rollouts are being indexed, which is done once; try again to go on with it"
            raise TooManyRequests(message, retry_after=1)
        try:
            file = self._store.artifacts.open(key)
        except NotFound:
            return index_of([], [])
        with file:
            index = index_of_file(file)
        self._store.rollouts.add_index(self._project_id, self._job_id, step, key, index)
        return index
