"""An application in a thread of this process, on a free port of loopback, asked over real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI


class _Uvicorn(uvicorn.Server):
    """Leaves no connection open: a browser's that wait for its next request would be found when they are collected."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        for connection in list(self.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        await asyncio.sleep(0)  # in which they are


class Server:
    """A running application. ``url`` is its root, ``base_url`` what OpenAI's client wants."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        # As in cli/serve.py: named as TCP, or every answer waits 40 ms for a receipt.
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.listener.bind(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="auto", timeout_graceful_shutdown=2)
        self.uvicorn = _Uvicorn(config)
        self.thread = threading.Thread(target=self.uvicorn.run, kwargs={"sockets": [self.listener]}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return self.url + "/v1"

    def __enter__(self) -> Server:
        self.thread.start()
        end = time.monotonic() + 30
        while not self.uvicorn.started:
            assert self.thread.is_alive() and time.monotonic() < end, "the server did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(timeout=30)
        self.listener.close()
        assert not self.thread.is_alive(), "the server did not end"
