"""Sentences for people, from wherever a run says them, as events of its job."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from openrft.errors import StoreError
from openrft.store import Store
from openrft.store.rows import Lease, Level, NewEvent
from openrft.worker.insist import Insist

_LEVELS: tuple[Level, ...] = ("info", "warn", "error")


class Notes:
    """Writes events from a thread of its own.

    A note may come from a signal's handler, in the middle of a transaction: it must not wait for one itself.
    """

    def __init__(self, store: Store, lease: Lease, alive: Callable[[], None]) -> None:
        self.place = "preparing"  # how far the run is: the same note at the same place is one event
        self._store, self._lease, self._insist = store, lease, Insist(alive)
        self._queue: SimpleQueue[NewEvent | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="notes", daemon=True)
        self._thread.start()

    def add(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """Tell it, and ``data`` to programs; returns at once."""
        known: Level = next((one for one in _LEVELS if one == level), "info")
        self._queue.put(NewEvent(message=message, level=known, data=data or {}, key=note_key(self.place, message)))

    def close(self, seconds: float = 30.0) -> None:
        """Write what is left."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _write(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._insist(lambda event=event: self._store.events.append(self._lease, event))  # type: ignore[misc]
            except StoreError:
                return  # fenced, or worse: the thread that trains meets it at its own next write


def note_key(place: str, message: str) -> str:
    """The key of a note's event."""
    return "note-" + hashlib.sha256(f"{place}\n{message}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
