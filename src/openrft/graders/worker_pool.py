"""The parent's side of Python graders: processes that run user code, watched from outside.

A process is one grader's only. It is trusted with nothing: it has a wall-clock limit per grade, answers of
bounded size, and is killed with its whole process group when it is late, breaks the protocol or dies; the
next grade gets a new one.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from openrft.errors import GradeErrorKind
from openrft.graders.base import PythonLimits

START_SECONDS = 30.0
MAX_REQUEST_BYTES = 32 * 1024**2
MAX_ANSWER_BYTES = 256 * 1024
_SCRIPT = Path(__file__).with_name("python_worker.py")
_POLL_SECONDS = 0.25  # how soon the end of a process is seen whose children keep its socket open


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call: a score, or the kind and the words of an error."""

    score: float | None = None
    kind: GradeErrorKind | None = None
    message: str = ""
    printed: str = ""
    seconds: float = 0.0


class _Lost(Exception):
    """The process cannot be used any more; the text says why."""


class WorkerPool:
    """Up to ``limits.workers`` processes for one source, started when they are first needed."""

    def __init__(self, source: str, limits: PythonLimits) -> None:
        size = limits.workers or min(4, os.cpu_count() or 1)
        # A worker dies with the *thread* that started it (PR_SET_PDEATHSIG), so only the pool's own threads,
        # which live as long as the pool, ever start one.
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="python-grader")
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._workers = [_Worker(source, limits) for _ in range(size)]
        for worker in self._workers:
            self._idle.put(worker)
        # A pool that nobody closed takes its processes and folders with it, at the latest when the program
        # ends.
        self._last_resort = weakref.finalize(self, _stop_all, self._workers)

    def run(self, requests: Sequence[tuple[Any, Any]]) -> list[Answer]:
        """Grade each (sample, item); answers in the same order. Several threads may call this at once."""
        futures: list[Future[Answer]] = []
        try:
            futures.extend(self._threads.submit(self._run_one, sample, item) for sample, item in requests)
            return [future.result() for future in futures]
        finally:
            for future in futures:  # when this thread was interrupted, what has not begun need not begin
                future.cancel()

    def close(self) -> None:
        """Kill every worker; a grade under way comes back as an error."""
        for worker in self._workers:
            worker.retire()
        self._threads.shutdown(wait=True)
        self._last_resort()

    def _run_one(self, sample: Any, item: Any) -> Answer:
        worker = self._idle.get()
        try:
            return worker.run(sample, item)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, or none yet. Used by one thread at a time, but for ``retire``."""

    def __init__(self, source: str, limits: PythonLimits) -> None:
        self._source, self._limits = source, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._errors: IO[bytes] | None = None  # what the interpreter itself says when it dies
        self._folder = ""
        self._next_id = 0
        self._is_retired = False

    def run(self, sample: Any, item: Any) -> Answer:
        start = time.monotonic()
        self._next_id += 1
        try:
            request = _encode({"id": self._next_id, "sample": sample, "item": item})
        except (TypeError, ValueError, RecursionError) as error:
            return Answer(kind="sample_parse_error", message=f"the sample or row cannot be sent as JSON: {error}")
        if len(request) > MAX_REQUEST_BYTES:
            message = f"sample and row are {len(request):,} bytes, more than {MAX_REQUEST_BYTES:,}"
            return Answer(kind="other_error", message=message)
        if self._is_retired:
            return Answer(kind="python_grader_server_error", message="the grader was closed")
        try:
            self._start_if_needed()
        except (_Lost, OSError) as error:
            self.stop()
            return Answer(kind="python_grader_server_error", message=f"the worker could not be started: {error}")
        start = time.monotonic()
        try:
            answer = self._ask(request, self._next_id, start + self._limits.seconds)
        except TimeoutError:
            self.stop()
            message = f"grading took longer than {self._limits.seconds:g} seconds and was ended"
            return Answer(kind="python_grader_runtime_error", message=message, seconds=time.monotonic() - start)
        except (_Lost, OSError, ValueError, RecursionError) as error:
            message = self._why_lost(error)
            self.stop()
            return Answer(kind="python_grader_runtime_error", message=message, seconds=time.monotonic() - start)
        return _read_answer(answer, time.monotonic() - start)

    def retire(self) -> None:
        """From another thread: end the process now and start no other."""
        self._is_retired = True
        self._kill()

    def stop(self) -> None:
        """Kill the process and everything it started in its group; give back what it had."""
        self._kill()
        if self._process is not None:
            self._process.wait()
        if self._channel is not None:
            self._channel.close()
        if self._errors is not None:
            self._errors.close()
        if self._folder:
            # Its own processes may be writing there until the kernel has ended them; a leftover is no reason
            # to fail.
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = self._channel = self._errors = None
        self._folder = ""

    def _kill(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            # Not reaped yet, so the number still belongs to the group that start_new_session gave it.
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()

    def _start_if_needed(self) -> None:
        if self._process is not None and not _has_ended(self._process):
            return
        self.stop()
        self._folder = tempfile.mkdtemp(prefix="openrft-grader-")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_SCRIPT), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                cwd=self._folder,
                env=_environment(self._folder),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        if self._is_retired:  # close() came while it was being started
            raise _Lost("the grader was closed")
        limits = self._limits
        options = {
            "source": self._source,
            "memory_bytes": limits.memory_bytes,
            "file_bytes": limits.file_bytes,
            "open_files": limits.open_files,
            "cpu_seconds": 2 * limits.seconds,  # two cores for the whole of the wall time
            "parent": os.getpid(),
        }
        deadline = time.monotonic() + START_SECONDS
        try:
            if self._exchange(_encode(options), deadline) != {"ready": True}:
                raise _Lost("it did not say that it was ready")
        except TimeoutError:
            raise _Lost(f"it was not ready after {START_SECONDS:g} seconds") from None
        except (_Lost, OSError, ValueError) as error:
            raise _Lost(self._why_lost(error)) from None

    def _ask(self, request: bytes, request_id: int, deadline: float) -> dict[str, Any]:
        answer = self._exchange(request, deadline)
        if not isinstance(answer, dict) or answer.get("id") != request_id:
            raise _Lost("its worker answered something else than it was asked")
        return answer

    def _exchange(self, request: bytes, deadline: float) -> Any:
        assert self._channel is not None
        self._channel.settimeout(_remaining(deadline))
        self._channel.sendall(len(request).to_bytes(4, "big") + request)
        size = int.from_bytes(self._receive(4, deadline), "big")
        if size > MAX_ANSWER_BYTES:
            raise _Lost(f"its worker answered with {size:,} bytes, more than {MAX_ANSWER_BYTES:,}")
        return json.loads(self._receive(size, deadline))

    def _receive(self, size: int, deadline: float) -> bytes:
        assert self._channel is not None and self._process is not None
        received = bytearray()
        while len(received) < size:
            self._channel.settimeout(min(_remaining(deadline), _POLL_SECONDS))
            try:
                piece = self._channel.recv(size - len(received))
            except TimeoutError:
                if _has_ended(self._process):
                    raise _Lost("its worker ended") from None
                continue
            if not piece:
                raise _Lost("its worker ended")
            received += piece
        return bytes(received)

    def _why_lost(self, error: Exception) -> str:
        """What happened to the process, in words: its exit code or signal, and its last words."""
        if self._is_retired:
            return "the grader was closed"
        assert self._process is not None and self._errors is not None
        if not isinstance(error, OSError) and str(error) != "its worker ended":
            return f"the grader's answer could not be used: {error}"
        for _ in range(100):  # the socket closes a moment before the process can be waited for
            if _has_ended(self._process):
                break
            time.sleep(0.01)
        else:
            return "the grader's code closed the connection of its worker"
        self._kill()
        code = self._process.wait()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2_000))
        last_words = self._errors.read().decode("utf-8", "replace").strip()
        return f"the grader's process {_end_in_words(code)}" + (f"; its last words: {last_words}" if last_words else "")


def _stop_all(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.stop()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended, without reaping it: its number must stay its own until its group is
    killed.
    """
    if process.returncode is not None:
        return True
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def _end_in_words(code: int) -> str:
    if code >= 0:
        return f"ended itself with exit code {code}"
    reason = {
        signal.SIGKILL: ", perhaps because the machine ran out of memory",
        signal.SIGXCPU: ": it used too much processor time",
        signal.SIGSEGV: ": it crashed in compiled code or with a too deep recursion",
    }.get(-code, "")  # type: ignore[call-overload]
    return f"was ended by signal {signal.Signals(-code).name}{reason}"


def _environment(folder: str) -> dict[str, str]:
    """Nothing of ours: keys and paths in our environment are no business of a grader."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", **threads}


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _encode(message: Any) -> bytes:
    return json.dumps(message).encode()


def _read_answer(answer: dict[str, Any], seconds: float) -> Answer:
    printed = str(answer.get("printed", ""))
    score = answer.get("score")
    if isinstance(score, int | float) and "error" not in answer:
        return Answer(score=float(score), printed=printed, seconds=seconds)
    message = str(answer.get("error", "the worker gave neither a score nor an error"))
    return Answer(kind="python_grader_runtime_error", message=message, printed=printed, seconds=seconds)
