"""One process that decodes, and the two pipes to it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Final

if sys.platform != "win32":
    import fcntl

from PIL import Image

from safeupload._render import Shape
from safeupload._worker import CORRUPT, DONE, MEMORY, MODES, READY, REQUEST, as_json
from safeupload.errors import Corrupt, DecoderCrashed, DecoderMemory, DecoderTimeout, DecoderUnavailable
from safeupload.policy import Policy

__all__ = ["Process"]

#: How long a new process may take to load Python and Pillow, in seconds: a third of one, if the machine has nothing
#: else to do.
START: Final = 60
#: What Linux lets a pipe hold unless its administrator says otherwise, instead of 64 KiB: fewer turns for an upload.
_PIPE: Final = 1 << 20
#: What Python may need of the environment to find its libraries, and nothing else.
_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_MAIN: Final = """\
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from safeupload._worker import main
main(sys.argv[1:])
"""


class _Failed(Exception):
    """The process is gone, or of no use any more."""


class Process:
    """
    A process of `_worker`, used by one thread at a time; another one may only `kill` it.

    Args:
        memory: bytes that it may take.
        seconds: for a picture.
        pictures: after which it has done its work.

    Raises `DecoderUnavailable` if it cannot be started.

    """

    def __init__(self, memory: int, seconds: float, pictures: int) -> None:
        self._seconds = seconds
        self._left = pictures
        self._is_over = True
        self.has_worked = False
        path = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]  # noqa: PTH100 - as it is
        arguments = (json.dumps(path), str(memory), str(seconds))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - Python itself
                [sys.executable, "-I", "-c", _MAIN, *arguments],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                start_new_session=True,  # Ctrl-C is for the application
            )
        except OSError as error:
            raise DecoderUnavailable(f"could not start a worker: {error}") from error
        self._is_over = False
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - for the types
        self._pipes = self._process.stdin, self._process.stdout
        self._requests, self._answers = (pipe.fileno() for pipe in self._pipes)
        for number in (self._requests, self._answers):
            os.set_blocking(number, False)
            with suppress(AttributeError, OSError):  # not on Linux, or not allowed
                fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE)

    def __del__(self) -> None:
        self.end()  # an interrupt has kept it from being given back

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it lives, and has pictures left."""
        return not self._is_over and self._left > 0 and not self._has_ended()

    def comes_up(self) -> bool:
        """
        Wait until it can be asked; return false, and end it, if it cannot any more.

        So nothing that a worker says behind an answer is taken for the next one. Raises `DecoderUnavailable` if it
        could not be asked from the first.
        """
        deadline = time.monotonic() + (self._seconds if self.has_worked else START)
        with suppress(_Failed, TimeoutError):
            if bytes(self._read(len(READY), deadline)) == READY:
                self.has_worked = True
                return True
        self.end()
        if not self.has_worked:
            raise DecoderUnavailable("a worker did not start, or is of another version")
        return False

    def ask(self, data: bytes, policy: Policy, shapes: Sequence[Shape]) -> Generator[Image.Image]:
        """
        Let a process that has come up decode an upload; yield the pictures that it makes, of these shapes, if any.

        Only pixels come back, as many as there must be: whatever the process has become, it can answer nothing else.
        Unless the answer is complete, the process is ended.

        Raises `Corrupt`, `DecoderCrashed`, `DecoderTimeout` or `DecoderMemory`.
        """
        is_complete = False
        self._left -= 1
        try:
            deadline = time.monotonic() + self._seconds
            text = as_json(policy)
            self._write([REQUEST.pack(bool(shapes), len(text), len(data)), text, data], deadline)
            for shape in shapes:
                picture = self._picture(shape, deadline)
                given = time.monotonic()
                yield picture
                deadline += time.monotonic() - given  # what was done with it is not the decoder's time
            if self._sign(deadline) != DONE:
                raise _Failed("it says more than it was asked")  # noqa: TRY301 - one way out of here
            is_complete = True
        except Corrupt:
            is_complete = True
            raise
        except (_Failed, TimeoutError) as error:
            raise self._verdict(error) from error
        finally:
            if not is_complete:
                self.end()

    def kill(self) -> None:
        """End the process that another thread works with; that one does the rest."""
        with suppress(OSError):
            self._process.kill()

    def end(self) -> None:
        """End the process."""
        if not self._is_over:
            self._is_over = True
            if self._process.returncode is None:  # nobody has waited for it, so its number is nobody else's
                with suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)  # it may have children of its own
                self._process.wait()
            self._close()

    def forget(self) -> None:
        """Leave the process to whoever has started it, before a fork."""
        self._is_over = True
        self._process.returncode = 0  # it is no child of ours, so nobody here must wait for it
        self._close()

    def _close(self) -> None:
        for pipe in self._pipes:
            pipe.close()

    def _picture(self, shape: Shape, deadline: float) -> Image.Image:
        mode = MODES.get(self._sign(deadline))
        if mode is None or (mode == "RGBA" and not shape.has_alpha):
            raise _Failed("it answers something else than a picture")
        width, height = shape.size
        return Image.frombytes(mode, shape.size, self._read(width * height * len(mode), deadline))

    def _sign(self, deadline: float) -> bytes:
        """Return what comes next, unless the work was given up."""
        sign = bytes(self._read(1, deadline))
        if sign == CORRUPT:
            raise Corrupt
        if sign == MEMORY:
            raise DecoderMemory
        return sign

    def _verdict(self, error: Exception) -> DecoderCrashed | DecoderTimeout:
        """End the process, and return what is to be said of the picture."""
        self.end()
        by_time = isinstance(error, TimeoutError) or self._process.returncode in {-signal.SIGXCPU, -signal.SIGALRM}
        return DecoderTimeout() if by_time else DecoderCrashed()

    def _write(self, parts: Sequence[bytes], deadline: float) -> None:
        for part in parts:
            with memoryview(part) as view:
                done = 0
                while done < len(view):
                    _wait(self._requests, select.POLLOUT, deadline)
                    try:
                        done += os.write(self._requests, view[done : done + _PIPE])
                    except BlockingIOError:
                        continue
                    except OSError as error:
                        self._await_end(deadline)
                        raise _Failed(str(error)) from error

    def _read(self, size: int, deadline: float) -> bytearray:
        found = bytearray(size)
        done = 0
        with memoryview(found) as view:
            while done < size:
                _wait(self._answers, select.POLLIN, deadline)
                try:
                    count = os.readv(self._answers, [view[done : done + _PIPE]])
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise _Failed(str(error)) from error
                if not count:
                    self._await_end(deadline)
                    raise _Failed("it is gone")
                done += count
        return found

    def _await_end(self, deadline: float) -> None:
        """Wait for a process that has closed its pipe, so that it can be told how it ended."""
        deadline = max(deadline, time.monotonic() + 0.1)
        while not self._has_ended():
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.001)

    def _has_ended(self) -> bool:
        """Tell whether the process has ended; it is not waited for, so that its group can still be ended."""
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):  # the application waits for all children
                return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None


def _is_waiting(number: int, event: int, seconds: float) -> bool:
    """Return whether something can be read or written within the time. `poll` needs no descriptor of its own."""
    poller = select.poll()
    poller.register(number, event)
    return bool(poller.poll(seconds * 1000))


def _wait(number: int, event: int, deadline: float) -> None:
    """Wait until something can be read or written; raise `TimeoutError` when the time is over."""
    left = deadline - time.monotonic()
    if left <= 0 or not _is_waiting(number, event, left):
        raise TimeoutError
