"""The child process that runs the code of a Python grader. Imports only the standard library and nothing of
openrft.

Started as ``python -I python_worker.py SOCKET_NUMBER``. Both sides send frames: a length of four bytes and
JSON.

    parent: {"source", "memory_bytes", "file_bytes", "open_files", "cpu_seconds", "parent"}   →  child:
    {"ready": true} parent: {"id", "sample", "item"}     →  child: {"id", "score" or "error", "printed"}

What the code prints goes into ``printed`` and cannot be taken for an answer: answers travel on a socket of
their own.
"""

import contextlib
import ctypes
import io
import json
import linecache
import math
import os
import resource
import signal
import socket
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

FILENAME = "grader.py"  # what tracebacks call the user's source
MODULE_NAME = "grader"  # not "__main__": a block under `if __name__ == "__main__"` must not run
MAX_PRINTED = 8_000  # bytes
MAX_ERROR = 4_000  # characters
MAX_FRAME = 32 * 1024**2  # bytes
PR_SET_PDEATHSIG = 1


class BadScore(Exception):
    """The code returned something that is no score."""


class Capture(io.BytesIO):
    """Keeps the first bytes that are printed and counts the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = bytearray()
        self.dropped = 0

    def clear(self) -> None:
        """Begin anew, for the next grade."""
        self.kept.clear()
        self.dropped = 0

    def writable(self) -> bool:
        """Yes; asked by the text layer above."""
        return True

    def write(self, data: Any) -> int:
        """Take all of it, keep what there is room for."""
        size = len(data)
        room = MAX_PRINTED - len(self.kept)
        if room > 0:
            self.kept += bytes(data[:room])
        self.dropped += max(0, size - max(0, room))
        return size

    def text(self) -> str:
        """What was kept, and how much was not."""
        text = self.kept.decode("utf-8", "replace")
        return text + (f"\n… {self.dropped:,} more bytes were printed" if self.dropped else "")


class UserCode:
    """The grader's source: compiled and run once, at the first grade, then called for every grade."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._grade: Callable[[Any, Any], Any] | None = None
        self._failure: str | None = None

    def call(self, sample: Any, item: Any) -> dict[str, Any]:
        """One grade: a score, or the error in words."""
        if self._failure is not None:
            return {"error": self._failure}
        try:
            if self._grade is None:
                self._load()
            assert self._grade is not None
            return {"score": as_score(self._grade(sample, item))}
        except BaseException as error:  # SystemExit and KeyboardInterrupt of the user's code included
            message = describe(error)
            if self._grade is None:
                self._failure = f"the module could not be loaded: {message}"
                message = self._failure
            return {"error": message}

    def _load(self) -> None:
        # The entry without a time stamp makes tracebacks and inspect.getsource show the user's lines.
        linecache.cache[FILENAME] = (
            len(self._source),
            None,
            self._source.splitlines(keepends=True),
            FILENAME,
        )
        module = types.ModuleType(MODULE_NAME)
        module.__file__ = FILENAME
        sys.modules[MODULE_NAME] = module
        exec(compile(self._source, FILENAME, "exec", dont_inherit=True), module.__dict__)
        grade = module.__dict__.get("grade")
        if not callable(grade):
            raise BadScore("the source defines no function grade(sample, item)")
        self._grade = grade


def as_score(value: Any) -> float:
    """A finite float. Any real number will do (bool, int, Fraction, numpy's), text and None will not."""
    if value is None:
        raise BadScore("grade returned None, expected a number; does every path of it return one?")
    kind = type(value).__name__
    if not hasattr(type(value), "__float__"):
        raise BadScore(f"grade returned {cut(safe_repr(value), 200)}, of type {kind}, expected a number")
    try:
        score = float(value)
    except Exception as error:
        raise BadScore(f"grade returned a {kind} that is no single number: {error}") from None
    if not math.isfinite(score):
        raise BadScore(f"grade returned {score}, of type {kind}, expected a finite number")
    return score


def describe(error: BaseException) -> str:
    """The traceback from the user's first line on; our own frames above it would only distract."""
    if isinstance(error, BadScore):
        return str(error)
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != FILENAME:
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames)).rstrip()
        if isinstance(error, MemoryError):
            text += " (the grader's memory limit was reached)"
    except Exception:  # the user's own exception class may fail to print itself
        text = f"{type(error).__name__}, which could not be printed"
    return cut(text, MAX_ERROR)


def safe_repr(value: Any) -> str:
    """``repr``, also of objects whose own one fails."""
    try:
        return repr(value)
    except Exception:
        return "something that cannot be printed"


def cut(text: str, limit: int) -> str:
    """Keep the beginning and the end: a traceback says what happened in its last line."""
    return text if len(text) <= limit else f"{text[: limit // 4]}\n…\n{text[-(limit - limit // 4) :]}"


def receive(channel: socket.socket) -> Any:
    """The next message; None at the end of the conversation."""
    header = receive_bytes(channel, 4)
    if header is None:
        return None
    body = receive_bytes(channel, int.from_bytes(header, "big"))
    return None if body is None else json.loads(body)


def receive_bytes(channel: socket.socket, size: int) -> bytes | None:
    """Exactly ``size`` bytes; None at the end of the conversation."""
    if size > MAX_FRAME:
        return None
    received = bytearray()
    while len(received) < size:
        piece = channel.recv(min(size - len(received), 1 << 20))
        if not piece:
            return None
        received += piece
    return bytes(received)


def send(channel: socket.socket, message: Any) -> None:
    """Write one frame."""
    body = json.dumps(message).encode()
    channel.sendall(len(body).to_bytes(4, "big") + body)


def die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent ends, even while it runs an endless loop."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(0)


def set_limits(options: dict[str, Any]) -> None:
    """Limits that the kernel keeps; the processes that the code starts inherit them."""
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, options["memory_bytes"]),
        (resource.RLIMIT_FSIZE, options["file_bytes"]),
        (resource.RLIMIT_NOFILE, options["open_files"]),
    ):
        # macOS refuses some of these; the wall clock still holds there.
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (limit, limit))


def allow_cpu(seconds: float) -> None:
    """Processor time counts from the start of the process, so every grade moves the limit on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def serve(channel: socket.socket) -> None:
    """Answer until the parent closes its end."""
    options = receive(channel)
    if options is None:
        return
    die_with(options["parent"])
    set_limits(options)
    code, own_id = UserCode(options["source"]), os.getpid()
    capture, stream = Capture(), None
    send(channel, {"ready": True})
    while (request := receive(channel)) is not None:
        allow_cpu(options["cpu_seconds"])
        # One stream for all grades, because a logging handler made by the first keeps writing to it.
        if stream is None or stream.closed:
            capture = Capture()
            stream = io.TextIOWrapper(capture, "utf-8", "backslashreplace", write_through=True)
        capture.clear()
        sys.stdout = sys.stderr = stream
        answer = code.call(request["sample"], request["item"])
        if os.getpid() != own_id:  # the code forked and its child came back here: only one may answer
            os._exit(0)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        send(channel, {"id": request["id"], "printed": capture.text(), **answer})


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as private:
        private.set_inheritable(False)
        serve(private)
    # Threads that the code left running must not keep the process alive.
    os._exit(0)
