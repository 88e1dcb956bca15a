"""``GET /v1/fine_tuning/jobs/{id}/stream``: ours. A job as it happens, by server-sent events.

    event: job              the whole job object: at the start, and whenever its status or step changes
    event: event            one event of the job; its ``id`` is the event's sequence number
    event: done             the job has ended and everything was told; {"status": …}

Whoever comes back with ``Last-Event-ID`` (browsers do by themselves) or ``?after=`` hears every later event, once and
in order. ``?newest=`` passes over a long past. Between events a comment is sent now and then, so that proxies keep the
line open.

However many listen to one job, one poll of the store serves them all, and no listener holds a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from openrft.api.access import Platforms, Reader
from openrft.api.events import event_object
from openrft.api.job_wire import job_object
from openrft.api.platform import Platform
from openrft.errors import InvalidRequest, OpenRFTError, TooManyRequests
from openrft.store.rows import TERMINAL, EventRow, JobRow

router = APIRouter(prefix="/fine_tuning/jobs", tags=["observability"])

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 3600.0
"""Then the line is closed, for the key may be revoked meanwhile; clients come back by themselves."""

_MOST_LISTENERS = 800  # fewer than the connections that cli/serve.py allows: others are to be answered as well
MOST_OF_A_PROJECT = 200
_KEPT = 2_000  # newest events of a job in memory; older ones are read from the store
_AT_ONCE = 500  # events of one reading
_POLLERS = 4  # threads for all polls together

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/{fine_tuning_job_id}/stream")
async def stream_job(
    request: Request,
    caller: Reader,
    platform: Platforms,
    fine_tuning_job_id: str,
    after: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="the sequence number of the last event known")
    ] = None,
    newest: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="of the events so far, begin with at most so many")
    ] = None,
) -> StreamingResponse:
    """Follow a job: its events and every change of its status, until it has ended."""
    known = _last_event_id(request) if after is None else after
    streams = _streams_of(request.app, platform)
    # Outside the answer, so that an unknown job is a 404.
    watch = await streams.join(caller.project_id, fine_tuning_job_id)
    if newest is not None:
        known = max(known, watch.last - newest)
    return StreamingResponse(streams.tell(watch, known), media_type="text/event-stream", headers=_HEADERS)


class Watch:
    """What all listeners of one job share: how it stands, and its newest events."""

    def __init__(self, project_id: str, job_id: str) -> None:
        self.project_id, self.job_id = project_id, job_id
        self.listeners = 0
        self.job: JobRow | None = None
        self.eval_id: str | None = None
        self.events: list[EventRow] = []  # without gaps up to ``last``
        self.last = 0  # sequence number of the newest event that is known
        self.problem: OpenRFTError | None = None
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def note(self, job: JobRow, eval_id: str | None, fresh: Sequence[EventRow]) -> None:
        """Take over what a poll found, and wake the listeners if it is something new."""
        is_new = self.job is None or bool(fresh) or _face(job) != _face(self.job)
        self.job, self.eval_id = job, eval_id
        if fresh:
            self.events = [*self.events, *fresh][-_KEPT:]
            self.last = fresh[-1].sequence
        if is_new:
            self.wake()

    def wake(self) -> None:
        """Let every listener look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, seconds: float) -> bool:
        """Wait for the next change; False when there was none for so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
            return True
        return False

    def after(self, sequence: int) -> list[EventRow] | None:
        """The events later than ``sequence``; None when not all of them are kept here."""
        if sequence >= self.last:
            return []
        if not self.events or self.events[0].sequence > sequence + 1:
            return None
        return self.events[sequence + 1 - self.events[0].sequence :]


class Streams:
    """The jobs that somebody listens to. Belongs to one event loop."""

    def __init__(
        self,
        platform: Platform,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
        most_of_a_project: int = MOST_OF_A_PROJECT,
    ) -> None:
        self._platform = platform
        self._heartbeat_seconds, self._longest_seconds = heartbeat_seconds, longest_seconds
        self._most_of_a_project = most_of_a_project
        self._watches: dict[tuple[str, str], Watch] = {}
        self._threads = anyio.CapacityLimiter(_POLLERS)

    @property
    def listeners(self) -> int:
        """How many listen, to all jobs together."""
        return sum(watch.listeners for watch in self._watches.values())

    async def join(self, project_id: str, job_id: str) -> Watch:
        """The watch of a job that exists. Raises :class:`~openrft.errors.NotFound`, and
        :class:`~openrft.errors.TooManyRequests` when too many listen already.
        """
        of_project = sum(watch.listeners for (owner, _), watch in self._watches.items() if owner == project_id)
        if of_project >= self._most_of_a_project or self.listeners >= _MOST_LISTENERS:
            raise TooManyRequests("too many streams are open; close some", retry_after=10)
        watch = self._watches.get((project_id, job_id))
        if watch is None:
            watch = Watch(project_id, job_id)
            await self._poll(watch)
        return watch

    async def tell(self, watch: Watch, known: int) -> AsyncIterator[str]:
        """The stream's text for a listener that knows the events up to the number ``known``."""
        watch = self._listen(watch)
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._longest_seconds
        shown: Any = None
        try:
            while loop.time() < ends and watch.problem is None:
                # First the job, then the events: those of its end are then among them.
                job, last = watch.job, watch.last
                assert job is not None  # join polled once
                is_caught_up = False
                while not is_caught_up:
                    fresh = await self._events_after(watch, known)
                    for event in fresh:
                        known = event.sequence
                        yield _message("event", event_object(event), event.sequence)
                    is_caught_up = known >= last or not fresh
                if _face(job) != shown:
                    shown = _face(job)
                    yield _message("job", self._job_object(watch, job))
                if job.status in TERMINAL:
                    yield _message("done", {"status": job.status})
                    return
                if watch.job is job and watch.last <= known and not await watch.change(self._heartbeat_seconds):
                    yield ": still here\n\n"
        finally:
            self._leave(watch)

    def _listen(self, watch: Watch) -> Watch:
        # Somebody else may have been faster.
        watch = self._watches.setdefault((watch.project_id, watch.job_id), watch)
        watch.listeners += 1
        if watch.task is None:
            watch.task = asyncio.create_task(self._follow(watch))
        return watch

    def _leave(self, watch: Watch) -> None:
        watch.listeners -= 1
        if watch.listeners == 0:
            self._watches.pop((watch.project_id, watch.job_id), None)
            if watch.task is not None:
                watch.task.cancel()
                watch.task = None

    async def _follow(self, watch: Watch) -> None:
        """Poll for all listeners of one job until it has ended or nobody listens any more."""
        while watch.job is None or watch.job.status not in TERMINAL:
            try:
                await self._poll(watch)
            except OpenRFTError as error:
                # The listeners' lines are closed; their clients come back and are told what is wrong.
                watch.problem = error
                watch.wake()
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _poll(self, watch: Watch) -> None:
        store = self._platform.store

        def read() -> tuple[JobRow, str | None, Sequence[EventRow]]:
            job = store.jobs.get(watch.project_id, watch.job_id)
            fresh: list[EventRow] = []
            # A first reading begins near the end; who wants more than is kept reads it from the store.
            after = watch.last
            if watch.job is None:
                newest = store.events.list(watch.project_id, watch.job_id, limit=_AT_ONCE).items
                return job, store.evals.of_job(job.id), newest[::-1]
            while part := store.events.tail(watch.project_id, watch.job_id, after=after, limit=_AT_ONCE):
                fresh += part
                after = part[-1].sequence
            return job, store.evals.of_job(job.id), fresh

        watch.note(*await anyio.to_thread.run_sync(read, limiter=self._threads))

    async def _events_after(self, watch: Watch, known: int) -> Sequence[EventRow]:
        kept = watch.after(known)
        if kept is not None:
            return kept
        tail = self._platform.store.events.tail
        return await anyio.to_thread.run_sync(
            lambda: tail(watch.project_id, watch.job_id, after=known, limit=_AT_ONCE), limiter=self._threads
        )

    def _job_object(self, watch: Watch, job: JobRow) -> dict[str, Any]:
        shown = job_object(job, organization=self._platform.organization, eval_id=watch.eval_id)
        return {**shown, "step": job.step, "total_steps": job.total_steps}


def _streams_of(app: Any, platform: Platform) -> Streams:
    if not hasattr(app.state, "streams"):
        app.state.streams = Streams(platform)
    streams: Streams = app.state.streams
    return streams


def _face(job: JobRow) -> tuple[Any, ...]:
    """What of a job is worth telling when it changes."""
    wishes = (job.cancel_requested, job.pause_requested)
    return (job.status, *wishes, job.step, job.total_steps, job.estimated_finish, job.fine_tuned_model, job.resolved)


def _last_event_id(request: Request) -> int:
    told = request.headers.get("last-event-id", "").strip()
    if not told:
        return 0
    if not told.isascii() or not told.isdecimal() or len(told) > 9:
        raise InvalidRequest("Last-Event-ID: expected the id of an event of this stream, a number", param="after")
    return int(told)


def _message(event: str, data: Any, number: int | None = None) -> str:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
