"""Decoding in processes of their own, which may crash, hang, and be ended."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from safeupload._arguments import Duration, count, seconds
from safeupload._process import Process
from safeupload._render import Encoded, encoded, shapes
from safeupload._threads import processors
from safeupload.errors import DecoderCrashed, DecoderUnavailable, InvalidArgument
from safeupload.policy import Policy

if TYPE_CHECKING:
    from safeupload._formats import Rebuilt
    from safeupload._plan import Plan

__all__ = ["WorkerProcesses"]

MiB: Final = 1 << 20
#: What a picture of the default policy may take, twice: a policy's `max_decode_bytes` is an estimate, and libraries
#: round what they ask the system for.
_MEMORY: Final = 512 * MiB
#: Beyond any machine's, and small enough for what the system counts in.
_MOST_MEMORY: Final = 1 << 46
#: Longer than the costliest picture of the default policy takes on a slow machine; as long as users wait.
_SECONDS: Final = 10
#: Nobody waits for a day.
_MOST_SECONDS: Final = 24 * 60 * 60
#: So many pictures later, what a decoder may have lost or kept is gone with its process.
_PICTURES: Final = 1000
#: Uploads that wait for a worker. More of them would give up before it is their turn.
_WAITING: Final = 100
#: How long each of them waits, in seconds: as long as nginx and most others before an application do.
_PATIENCE: Final = 60


class WorkerProcesses:
    """
    Processes that decode, for `normalize`, `validate` and `Uploads`: ``decoder=WorkerProcesses()``.

    What goes wrong in a decoder goes wrong there: a crash is `DecoderCrashed`, a picture that takes longer than
    `timeout` is `DecoderTimeout`, one that takes more than `memory` is `DecoderMemory`. Each is a `Rejected`, of that
    picture alone; the process is replaced. The checks of a file, which find nearly everything, are made before it is
    sent there.

    A limit on resources and crashes, not a sandbox: a decoder that has been taken over can still make system calls. It
    is given no secrets of the application's and no open files, and can answer nothing but pixels.

    Args:
        processes: how many (default: as many as there are processors). They are started when they are first needed,
            or by `start`.
        memory: bytes that each may take for a picture, beyond what Python and Pillow take: no less than the policy's
            `max_decode_bytes`. Enforced on Linux.
        timeout: for a picture, by the clock and by the processor.
        pictures: after so many a process is replaced.
        waiting: uploads that may wait for a process, for a minute; one more is `DecoderUnavailable` (503).

    It can be made before a process forks; each then has workers of its own. Close it, or leave it by ``with``, to end
    them; they also end when the application does, however it ends. Not for Windows, where making one raises
    `InvalidArgument`.

    """

    _pool: _Pool

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
        if not sys.executable:
            raise InvalidArgument("sys.executable is empty, so nobody can tell what program Python is")
        self._processes = processors() if processes is None else count("processes", processes, 1)
        self._memory = count("memory", memory, 16 * MiB)
        self._seconds = seconds("timeout", timeout)
        if not 0 < self._seconds <= _MOST_SECONDS:
            raise InvalidArgument(f"timeout: expected more than 0 and at most {_MOST_SECONDS} seconds, got {timeout!r}")
        if self._memory > _MOST_MEMORY:
            raise InvalidArgument(f"memory: expected at most {_MOST_MEMORY} bytes, got {memory!r}")
        self._pictures = count("pictures", pictures, 1)
        self._waiting = count("waiting", waiting, 0)
        self._begin()
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
        """
        Start the processes now, so that the first upload need not wait for them.

        Raises `DecoderUnavailable` if that cannot be.
        """
        self._pool.fill()

    def close(self) -> None:
        """End all processes, at once: uploads under way are `DecoderUnavailable`. Used again, it starts others."""
        with self._lock:
            pool, self._pool = self._pool, self._new_pool()
        pool.close()

    def _forked(self) -> None:
        """Begin anew, in a child process: the workers are the parent's, and so may be the locks."""
        pool = self._pool
        self._begin()
        pool.forget()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0
        self._pool = self._new_pool()

    def check(self, policy: Policy) -> None:
        """Raise `InvalidArgument` if a picture of the policy may need more memory than there is for it."""
        if policy.max_decode_bytes > self._memory:
            needed = f"the policy's max_decode_bytes, {policy.max_decode_bytes:,}"
            raise InvalidArgument(f"memory: expected at least {needed}, got {self._memory:,}")

    @contextmanager
    def place(self) -> Generator[None]:
        """Take a place in the queue for the block; raise `DecoderUnavailable` if it is full."""
        mine = 0
        try:
            with self._lock:
                if self._taken >= self._processes + self._waiting:
                    raise DecoderUnavailable(f"{self._waiting} uploads wait for a worker already")
                mine = 1
                self._taken += mine
            yield
        finally:
            with self._lock:
                self._taken -= mine

    def decode(self, data: bytes, policy: Policy) -> None:
        """Decode an upload and make nothing of it. Raises what `render` does."""
        with self._process() as process:
            list(process.ask(data, policy, ()))

    def render(self, data: bytes, policy: Policy, rebuilt: Rebuilt, steps: Sequence[Plan]) -> list[Encoded]:
        """
        Return the pictures that the policy asks for; a process makes the pixels, and they are encoded here.

        Raises `Corrupt`, `DecoderCrashed`, `DecoderTimeout`, `DecoderMemory` or `DecoderUnavailable`.
        """
        planned = shapes(rebuilt, steps, policy)
        with self._process() as process, closing(process.ask(data, policy, planned)) as pictures:
            return encoded(pictures, steps, policy)

    @contextmanager
    def _process(self) -> Generator[Process]:
        """Lend a process; what it dies of when all are closed is not the picture's fault."""
        pool = self._pool
        deadline = time.monotonic() + _PATIENCE
        while True:
            process = pool.take(deadline)
            try:
                if process.comes_up():
                    yield process
                    return
            except DecoderCrashed as error:
                if pool.is_closed:
                    raise DecoderUnavailable("the workers have been closed") from error
                raise
            finally:
                pool.give_back(process)

    def _new_pool(self) -> _Pool:
        return _Pool(self._processes, self._memory, self._seconds, self._pictures)


#: All there are, for a fork.
_ALL: Final[weakref.WeakSet[WorkerProcesses]] = weakref.WeakSet()


def _forked() -> None:
    for each in list(_ALL):
        each._forked()  # noqa: SLF001 - the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Pool:
    """
    Processes, of which each is lent to one thread at a time.

    None of them begins anew: one that is of no use any more is ended by the thread that has it, and another one
    started in its place.
    """

    def __init__(self, size: int, memory: int, seconds: float, pictures: int) -> None:
        self.is_closed = False
        self._size = size
        self._settings = memory, seconds, pictures
        self._changed = threading.Condition()
        self._idle: list[Process] = []
        self._all: weakref.WeakSet[Process] = weakref.WeakSet()  # one that an interrupt has lost gives up its place
        self._finalizer = weakref.finalize(self, _end, self._all)

    def fill(self) -> None:
        """Start as many processes as there may be."""
        with self._changed:
            while not self.is_closed and len(self._all) < self._size:
                self._idle.append(self._started())

    def take(self, deadline: float) -> Process:
        """Return a process that has nothing to do, started if need be; raise `DecoderUnavailable` if there is none."""
        with self._changed:
            try:
                return self._next(deadline)
            except BaseException:
                self._changed.notify()  # what this one was woken for is for the next
                raise

    def _next(self, deadline: float) -> Process:
        while not self.is_closed:
            while self._idle:
                process = self._idle.pop()
                if process.is_usable:
                    return process
                self._end(process)  # it died with nothing to do, which is nobody's fault
            if len(self._all) < self._size:
                return self._started()
            if not self._changed.wait(max(0, deadline - time.monotonic())):
                raise DecoderUnavailable(f"no worker was free for {_PATIENCE:.0f} s")
        raise DecoderUnavailable("the workers have been closed")

    def give_back(self, process: Process) -> None:
        """Take back a process, or start another one in its place; so the next upload need not wait for that."""
        with self._changed:
            if process.is_usable and not self.is_closed:
                self._idle.append(process)
            else:
                self._end(process)
                if process.has_worked and not self.is_closed:
                    with suppress(DecoderUnavailable):  # which whoever comes next is told
                        self._idle.append(self._started())
            self._changed.notify()

    def close(self) -> None:
        """End all processes; one that is lent is ended for good by the thread that has it."""
        with self._changed:
            self.is_closed = True
            while self._idle:
                self._end(self._idle.pop())
            for process in list(self._all):
                process.kill()
            self._changed.notify_all()

    def forget(self) -> None:
        """Leave the processes to the parent of this process."""
        self._finalizer.detach()
        for process in list(self._all):
            process.forget()

    def _started(self) -> Process:
        process = Process(*self._settings)
        self._all.add(process)
        return process

    def _end(self, process: Process) -> None:
        process.end()
        self._all.discard(process)


def _end(processes: Iterable[Process]) -> None:
    """End the processes of a pool that nobody has any more."""
    for process in list(processes):
        process.end()
