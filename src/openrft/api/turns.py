"""Requests that take much memory or many seconds: only a few of a kind are at work at once.

Those beyond are told to come back, not made to wait: who waits holds one of the threads that everybody shares.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from openrft.errors import TooManyRequests


class Turns(threading.BoundedSemaphore):
    """``most`` requests of one kind at once."""

    def __init__(self, most: int, busy: str, *, retry_after: int = 2) -> None:
        super().__init__(most)
        self._busy, self._retry_after = busy, retry_after

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Be one of them while the block runs. Raises :class:`TooManyRequests` when all turns are taken."""
        if not self.acquire(blocking=False):
            raise TooManyRequests(self._busy, retry_after=self._retry_after)
        try:
            yield
        finally:
            self.release()
