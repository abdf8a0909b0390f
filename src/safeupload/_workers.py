"""Decoding in processes of their own, which may crash, hang, and be ended."""

from __future__ import annotations

import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

if sys.platform != "win32":
    import fcntl

from safeupload._arguments import Duration, count, seconds
from safeupload._threads import processors
from safeupload._worker import ANSWER, CORRUPT, DONE, LENGTH, MEMORY, READY, REQUEST, encoded
from safeupload.errors import (
    Corrupt,
    DecoderCrashed,
    DecoderMemory,
    DecoderTimeout,
    DecoderUnavailable,
    InvalidArgument,
)
from safeupload.policy import Policy

__all__ = ["WorkerProcesses"]

MiB: Final = 1 << 20
#: What a picture of the default policy may take, twice: a policy's `max_decode_bytes` is an estimate, and libraries
#: round what they ask the system for.
_MEMORY: Final = 512 * MiB
#: Longer than the costliest picture of the default policy takes on a slow machine; as long as users wait.
_SECONDS: Final = 10
#: So many pictures later, what a decoder may have lost or kept is gone with its process.
_PICTURES: Final = 1000
#: Uploads that wait for a worker. More of them would give up before it is their turn.
_WAITING: Final = 100
#: How long a new worker may take to load Python and Pillow, in seconds: a third of one, if the machine has nothing else
#: to do.
_START: Final = 60
#: What Linux lets a pipe hold unless its administrator says otherwise, instead of 64 KiB: fewer turns for an upload.
_PIPE: Final = 1 << 20
#: No picture that we make is larger: 4,096 x 4,096 pixels, 16 bytes each.
_MOST: Final = 256 * MiB
#: What the worker's Python may need of the environment to find its libraries, and nothing else.
_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_MAIN: Final = """\
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from safeupload._worker import main
main(sys.argv[1:])
"""


class WorkerProcesses:
    """
    Processes that decode, for `normalize`, `validate` and `Uploads`: ``decoder=WorkerProcesses()``.

    What goes wrong in a decoder goes wrong there: a crash is `DecoderCrashed`, a picture that takes longer than
    `timeout` is `DecoderTimeout`, one that takes more than `memory` is `DecoderMemory`. Each is a `Rejected`, of that
    picture alone; the process is replaced. The checks of a file, which find nearly everything, are made before it is
    sent there.

    A limit on resources and crashes, not a sandbox: a decoder that has been taken over can still make system calls. It
    has no secrets of the application's and no open files, and can answer nothing but bytes of a picture.

    Args:
        processes: how many (default: as many as there are processors). They are started when they are first needed,
            or by `start`.
        memory: bytes that each may take for a picture, beyond what Python and Pillow take. Enforced on Linux.
        timeout: for a picture, by the clock and by the processor.
        pictures: after so many a process is replaced.
        waiting: uploads that may wait for a process; one more is `DecoderUnavailable` (503).

    It can be made before a process forks; each then has workers of its own. Close it, or leave it by ``with``, to end
    them; they also end when the application does, however it ends. Not for Windows, where making one raises
    `InvalidArgument`.

    """

    def __init__(
        self,
        processes: int | None = None,
        *,
        memory: int = _MEMORY,
        timeout: Duration = _SECONDS,
        pictures: int = _PICTURES,
        waiting: int = _WAITING,
    ) -> None:
        if sys.platform == "win32":
            raise InvalidArgument("WorkerProcesses needs a POSIX system")
        self._processes = processors() if processes is None else count("processes", processes, 1)
        self._memory = count("memory", memory, 16 * MiB)
        self._seconds = seconds("timeout", timeout)
        if not self._seconds:
            raise InvalidArgument("timeout: expected more than 0 seconds")
        self._pictures = count("pictures", pictures, 1)
        self._waiting = count("waiting", waiting, 0)
        self._lock = threading.Lock()
        self._pool = _Pool()
        _ALL.add(self)

    def __repr__(self) -> str:
        return f"<WorkerProcesses: {self._processes}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the processes now, so that the first upload need not wait for them."""
        with self._lock:
            pool = self._current()
            for worker in list(pool.idle.queue):
                worker.start()

    def close(self) -> None:
        """End all processes, at once. Used again, it starts others."""
        with self._lock:
            self._pool.end()
            self._pool = _Pool()

    def forked(self) -> None:
        """Begin anew in a child process: the workers are the parent's, and so may be the lock."""
        self._lock = threading.Lock()
        self._pool.forget()
        self._pool = _Pool()

    def run(self, data: bytes, policy: Policy, *, pictures: bool) -> list[bytes]:
        """
        Return the pictures that a worker makes of an upload, unchecked; none, if only its decoding is asked for.

        Raises `Corrupt`, `DecoderCrashed`, `DecoderTimeout`, `DecoderMemory` or `DecoderUnavailable`.
        """
        with self._lock:
            pool = self._current()
            if pool.busy >= self._processes + self._waiting:
                raise DecoderUnavailable(f"{self._waiting} uploads wait for a worker already")
            pool.busy += 1
        try:
            worker = pool.idle.get()
            try:
                return worker.ask(data, policy, pictures=pictures)
            finally:
                pool.idle.put(worker)
        finally:
            with self._lock:
                pool.busy -= 1

    def _current(self) -> _Pool:
        """Return the pool, with workers in it, which have yet to be started."""
        if not self._pool.workers:
            for _ in range(self._processes):
                worker = _Worker(self._memory, self._seconds, self._pictures)
                self._pool.workers.append(worker)
                self._pool.idle.put(worker)
        return self._pool


#: All there are, for a fork.
_ALL: Final[weakref.WeakSet[WorkerProcesses]] = weakref.WeakSet()


def _forked() -> None:
    for each in list(_ALL):
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Pool:
    """Workers, and those of them that have nothing to do."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self.busy = 0
        self._finalizer = weakref.finalize(self, _end, self.workers, self.idle)

    def end(self) -> None:
        """End all."""
        self._finalizer()

    def forget(self) -> None:
        """Leave the workers to the process whose they are."""
        self._finalizer.detach()
        for worker in self.workers:
            worker.forget()


def _end(workers: Sequence[_Worker], idle: queue.LifoQueue[_Worker]) -> None:
    """End all; what is at work is ended for the thread that waits for it, and which will notice."""
    for worker in workers:
        worker.is_over = True
    with suppress(queue.Empty):
        while True:
            idle.get_nowait().end()
    for worker in workers:
        worker.kill()


class _Failed(Exception):
    """A worker is gone, or of no use any more."""


class _Worker:
    """One process after another, and the two pipes to it."""

    def __init__(self, memory: int, seconds: float, pictures: int) -> None:
        self._memory = memory
        self._seconds = seconds
        self._pictures = pictures
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._left = 0
        self.is_over = False

    def start(self) -> None:
        """Start a process if there is none; raise `DecoderUnavailable` if that cannot be."""
        if self.is_over:
            raise DecoderUnavailable("the workers have been closed")
        if self._process is None:
            environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            arguments = (json.dumps(sys.path), str(self._memory), str(self._seconds))
            try:
                self._process = subprocess.Popen(  # noqa: S603 - Python itself
                    [sys.executable, "-I", "-c", _MAIN, *arguments],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the application
                )
            except OSError as error:
                raise DecoderUnavailable(f"could not start a worker: {error}") from error
            for pipe in (self._process.stdin, self._process.stdout):
                os.set_blocking(_number(pipe), False)
                with suppress(AttributeError, OSError):  # not on Linux, or not allowed
                    fcntl.fcntl(_number(pipe), fcntl.F_SETPIPE_SZ, _PIPE)
            self._is_ready = False
            self._left = self._pictures

    def ask(self, data: bytes, policy: Policy, *, pictures: bool) -> list[bytes]:
        """Let the process do the work, and return the pictures."""
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it died with nothing to do, which is nobody's fault
        self.start()
        if not self._is_ready:
            try:
                self._is_ready = self._read(len(READY), time.monotonic() + _START) == READY
            except _Failed as error:
                self.end()
                raise DecoderUnavailable("a worker did not start") from error
        try:
            return self._asked(data, policy, pictures=pictures)
        except (_Failed, TimeoutError) as error:
            raise self._verdict(error) from error
        except Corrupt:
            raise
        except BaseException:  # an interrupt: what comes next from there would be the answer to this
            self.end()
            raise
        finally:
            self._left -= 1
            if self._left <= 0:
                self.end()
            with suppress(DecoderUnavailable):  # which whoever comes next is told
                self.start()

    def kill(self) -> None:
        """End the process of a worker that is in the hands of another thread, which does the rest."""
        process = self._process
        if process is not None:
            with suppress(OSError):
                process.kill()

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            self._close(process)

    def forget(self) -> None:
        """Leave the process to whoever has started it."""
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # it is no child of ours, so nobody here must wait for it
            self._close(process)

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _asked(self, data: bytes, policy: Policy, *, pictures: bool) -> list[bytes]:
        text = encoded(policy)
        deadline = time.monotonic() + self._seconds
        self._write([REQUEST.pack(pictures, len(text), len(data)), text, data], deadline)
        verdict, count = ANSWER.unpack(self._read(ANSWER.size, deadline))
        if count != (len(policy.pictures) if pictures and verdict == DONE else 0):
            raise _Failed("it made another number of pictures")
        if verdict == CORRUPT:
            raise Corrupt
        if verdict == MEMORY:
            raise DecoderMemory
        if verdict != DONE:
            raise _Failed("it gave an answer that there is not")
        sizes = [LENGTH.unpack(self._read(LENGTH.size, deadline))[0] for _ in range(count)]
        if any(size > _MOST for size in sizes):
            raise _Failed("its pictures are larger than can be")
        return [self._read(size, deadline) for size in sizes]

    def _verdict(self, error: Exception) -> DecoderCrashed | DecoderTimeout:
        """End the process, and return what is to be said of the picture."""
        code = None if self._process is None else self._process.poll()
        self.end()
        by_time = isinstance(error, TimeoutError) or code in {-signal.SIGXCPU, -signal.SIGALRM}
        return DecoderTimeout() if by_time else DecoderCrashed()

    def _write(self, parts: Sequence[bytes], deadline: float) -> None:
        number = _number(self._process and self._process.stdin)
        for part in parts:
            with memoryview(part) as view:
                done = 0
                while done < len(view):
                    _wait(number, selectors.EVENT_WRITE, deadline)
                    try:
                        done += os.write(number, view[done : done + _PIPE])
                    except BlockingIOError:
                        continue
                    except OSError as error:
                        raise _Failed(str(error)) from error

    def _read(self, size: int, deadline: float) -> bytes:
        number = _number(self._process and self._process.stdout)
        found = bytearray()
        while len(found) < size:
            _wait(number, selectors.EVENT_READ, deadline)
            try:
                block = os.read(number, min(_PIPE, size - len(found)))
            except BlockingIOError:
                continue
            except OSError as error:
                raise _Failed(str(error)) from error
            if not block:
                self._reap(deadline)
                raise _Failed("it is gone")
            found += block
        return bytes(found)

    def _reap(self, deadline: float) -> None:
        """Wait for a process that has closed its pipe, so that it can be told how it ended."""
        if self._process is not None:
            try:
                self._process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired as error:
                raise TimeoutError from error


def _number(pipe: object) -> int:
    """Return the descriptor of a pipe."""
    number: int = pipe.fileno()  # type: ignore[attr-defined]
    return number


def _wait(number: int, event: int, deadline: float) -> None:
    """Wait until something can be read or written; raise `TimeoutError` when the time is over."""
    left = deadline - time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(number, event)
        if left <= 0 or not selector.select(left):
            raise TimeoutError
