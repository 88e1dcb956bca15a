"""The thread that computes: asks wait here, get rows in the wave of their model, and are answered token by token.

    submit → inbox → model in memory? → room for its rows? → join a wave ─┐
                                              every step, one token a row ┴→ pieces

Each network and adapter has a wave of its own; the waves take turns, a step each. Whoever waits for a model that is
being read, or for room, lets those behind it pass only when they are for another model, and not for ever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from openrft.errors import EngineError, InvalidRequest, OpenRFTError, TooManyRequests
from openrft.models.decoder.cache import PREFILL_TOKENS
from openrft.rollout.joining import Drawn, JoiningWave, LiveRow
from openrft.rollout.joining_cache import HEADROOM, slots_for
from openrft.serving.fetch import Fetcher
from openrft.serving.networks import Networks, Ready
from openrft.serving.protocol import Ask
from openrft.serving.tickets import Pen, Ticket

MOST_WAITING = 256
"""Asks that wait; the next one is sent away."""

MOST_ROWS = 64
"""Rows that a wave decodes together."""

PATIENCE_SECONDS = 10.0
"""Nobody passes an ask that has waited for memory this long: those at work finish, and it has what they leave."""

LaneKey = tuple[str, str | None]
"""Of a network, and of its adapter or None."""

_log = logging.getLogger("openrft.serving")


@dataclass(eq=False, kw_only=True)
class Lane:
    """A wave, and whose rows are in it."""

    ready: Ready
    wave: JoiningWave
    pens: dict[int, Pen] = field(default_factory=dict)  # by row


class Desk:
    """Takes asks from any thread; :meth:`run` is the thread that computes."""

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        most_bytes: int,
        most_waiting: int = MOST_WAITING,
        most_rows: int = MOST_ROWS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._changed = threading.Condition()
        self._inbox: deque[Ticket] = deque()
        self._waiting: list[Ticket] = []
        self._lanes: dict[LaneKey, Lane] = {}
        self._most_waiting, self._most_rows = most_waiting, most_rows
        self._patience_seconds = patience_seconds
        self._is_closed = self._is_woken = False
        self._networks = Networks(
            fetcher=fetcher,
            most_bytes=most_bytes,
            wake=self._wake,
            is_busy=self._is_busy,
            cache_bytes=lambda: sum(lane.wave.num_bytes for lane in self._lanes.values()),
        )

    def submit(self, ask: Ask, send: Callable[[bytes | None], None]) -> Ticket:
        """Have ``ask`` answered; ``send`` is called from the computing thread. Raises :class:`TooManyRequests`."""
        ticket = Ticket(ask=ask, send=send)
        with self._changed:
            if len(self._inbox) + len(self._waiting) >= self._most_waiting:
                raise TooManyRequests(f"{self._most_waiting} requests are waiting already; ask again in a moment")
            self._inbox.append(ticket)
        self._wake()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Nobody waits for the answer any more: its rows are given to others."""
        ticket.is_withdrawn = True
        self._wake()

    def models(self) -> list[dict[str, Any]]:
        """What is in memory: name, bytes, adapters, and rows at work."""
        lanes = list(self._lanes.values())
        return [
            {
                "name": network.key,
                "bytes": network.all_bytes,
                "adapters": len(network.held),
                "rows": sum(len(lane.wave.rows) for lane in lanes if lane.ready.network is network),
            }
            for network in self._networks.all
        ]

    def close(self) -> None:
        """Let :meth:`run` return."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def run(self) -> None:
        """Answer until closed."""
        with torch.no_grad():
            while True:
                with self._changed:
                    while not (self._is_woken or self._is_closed or any(x.wave.rows for x in self._lanes.values())):
                        self._changed.wait()
                    self._is_woken = False
                    if self._is_closed:
                        break
                    self._waiting += self._inbox
                    self._inbox.clear()
                self._take_back()
                self._admit()
                for key in list(self._lanes):
                    self._step(key)
        self._networks.close()

    def _wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def _is_busy(self, network: str, adapter: str | None) -> bool:
        return any(
            lane.ready.network.key == network and (adapter is None or lane.ready.key[1] == adapter)
            for lane in self._lanes.values()
        )

    def _take_back(self) -> None:
        """Forget withdrawn asks and free their rows."""
        self._waiting = [ticket for ticket in self._waiting if not ticket.is_withdrawn]
        for key, lane in list(self._lanes.items()):
            gone = [pen.row for pen in lane.pens.values() if pen.ticket.is_withdrawn]
            if gone:
                self._leave(key, lane, gone)

    def _admit(self) -> None:
        """Give rows to those who wait, in their order."""
        joining: dict[LaneKey, list[Pen]] = {}
        promised: dict[LaneKey, int] = {}  # bytes that the caches will have grown by when those have joined
        stuck: set[LaneKey] = set()
        tokens = 0
        for ticket in self._waiting:
            try:
                ready = self._networks.get(ticket.ask.model)
                if ready is None:
                    if self._networks.lacks_room(ticket.ask.model) and self._is_overdue(ticket):
                        break
                    continue
                if ready.key in stuck:
                    continue
                prompt = ticket.prompt(ready.network)
                tokens += len(prompt.token_ids)
                if joining and tokens > PREFILL_TOKENS:  # the others' next token is not to wait for all of them
                    self._wake()
                    break
                pens = joining.setdefault(ready.key, [])
                rows = [*self._rows(ready.key), *(pen.row for pen in pens)]
                wanted = min(ticket.num_waiting, self._most_rows - len(rows))
                elsewhere = sum(promised.values()) - promised.get(ready.key, 0)
                count, num_bytes = self._room(ready, len(prompt.token_ids), rows, wanted, elsewhere)
                if count < ticket.num_waiting:
                    stuck.add(ready.key)
                if count > 0:
                    promised[ready.key] = num_bytes
                    pens += ticket.seat(count, ready.network)
                    self._lane(ready)
                elif wanted > 0 and self._is_overdue(ticket):
                    break
            except OpenRFTError as error:
                ticket.fail(error)
            except Exception as error:
                _log.exception("a request cannot be prepared")
                ticket.fail(EngineError(f"{ticket.ask.model.name} cannot answer: {type(error).__name__}: {error}"))
            if ticket.is_over:
                ticket.flush()
        self._waiting = [ticket for ticket in self._waiting if ticket.num_waiting]
        for key, pens in joining.items():
            if not pens:
                continue
            self._compute(key, pens)

    def _room(self, ready: Ready, prompt: int, rows: Sequence[LiveRow], wanted: int, elsewhere: int) -> tuple[int, int]:
        """How many of the wanted rows of a prompt fit beside ``rows``, and by how many bytes the cache grows for them.

        ``elsewhere``: bytes that other lanes are about to take.
        """
        lane = self._lanes.get(ready.key)
        longest = max([prompt, *(row.num_stored for row in rows)]) + HEADROOM
        row_bytes = ready.network.forward.token_bytes * longest
        held, slots = (lane.wave.num_bytes, lane.wave.num_slots) if lane else (0, 0)
        count = wanted
        while count > 0:
            grown = slots_for(len(rows) + count, slots) * row_bytes - held
            if self._networks.make_room(grown + elsewhere, keep=ready):
                return count, grown
            count //= 2
        if wanted > 0 and not self._lanes and not self._networks.is_reading:
            raise InvalidRequest(
                f"a prompt of {prompt} tokens takes {row_bytes / 1e9:.2f} GB of memory beside the weights, more than "
                "is left of serving_memory_gb in the table [server] of openrft.toml; shorten it, or raise that",
                param="messages",
                code="context_length_exceeded",
            )
        return 0, 0

    def _is_overdue(self, ticket: Ticket) -> bool:
        return time.monotonic() - ticket.since > self._patience_seconds

    def _rows(self, key: LaneKey) -> Sequence[LiveRow]:
        return self._lanes[key].wave.rows if key in self._lanes else ()

    def _lane(self, ready: Ready) -> Lane:
        if ready.key not in self._lanes:
            network = ready.network
            wave = JoiningWave(network.forward, network.stop_ids, network.compiler)
            self._lanes[ready.key] = Lane(ready=ready, wave=wave)
        return self._lanes[ready.key]

    def _step(self, key: LaneKey) -> None:
        lane = self._lanes[key]
        # When the cache outgrows the memory, its longest answers end here.
        while (growth := lane.wave.growth) > 0 and not self._networks.make_room(growth, keep=lane.ready):
            row = max(lane.wave.rows, key=lambda row: row.num_stored)
            pen = lane.pens[id(row)]
            pen.finish("length")
            pen.ticket.flush()
            self._leave(key, lane, [row])
        self._compute(key, [])

    def _compute(self, key: LaneKey, joining: list[Pen]) -> None:
        """Draw the first tokens of those who join a lane, or the next ones of all who are in it, and write them down.

        Whatever goes wrong ends the lane's answers, and no others.
        """
        lane = self._lanes.get(key)
        if lane is None:
            return
        lane.pens |= {id(pen.row): pen for pen in joining}
        try:
            lane.ready.network.adapters.use(key[1])
            drawn = lane.wave.join([pen.row for pen in joining]) if joining else lane.wave.step()
            self._write(key, lane, drawn)
        except Exception as error:
            _log.exception("a step of %s failed", key)
            shown = error.message if isinstance(error, OpenRFTError) else f"{type(error).__name__}: {error}"
            for ticket in {pen.ticket for pen in lane.pens.values()}:
                ticket.fail(EngineError(f"{ticket.ask.model.name} cannot go on: {shown}"))
                ticket.flush()
            del self._lanes[key]

    def _write(self, key: LaneKey, lane: Lane, drawn: list[Drawn]) -> None:
        finished: list[LiveRow] = []
        for one in drawn:
            pen = lane.pens[id(one.row)]
            if pen.ticket.is_over:
                finished.append(one.row)
            elif one.problem is not None:
                pen.ticket.fail(EngineError(f"{pen.ticket.ask.model.name} cannot go on: {one.problem}"))
                finished += pen.ticket.rows
            elif pen.write(one):
                finished.append(one.row)
        for ticket in {lane.pens[id(one.row)].ticket for one in drawn}:
            ticket.flush()
        self._leave(key, lane, finished)

    def _leave(self, key: LaneKey, lane: Lane, rows: list[LiveRow]) -> None:
        lane.wave.leave(rows)
        for row in rows:
            lane.pens.pop(id(row), None)
        if not lane.pens:
            del self._lanes[key]
            self._wake()  # its memory is free for whoever waits
