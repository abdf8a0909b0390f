"""
A worker: a process that decodes, one picture after the other, until its parent is gone.

It is given nothing of the application: no environment, no open files, no network connection, no working folder. What
it may take is limited by the kernel, so that a decoder that has gone wrong can do no more than answer wrong pixels. It
is no sandbox, though: to one that has been taken over, all that its user may do is open.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import PIL

from safeupload._decode import decoded
from safeupload._render import rendered
from safeupload.errors import Corrupt, Rejected
from safeupload.policy import Policy, Rendition

if sys.platform != "win32":
    import resource

#: What a request begins with: whether pictures are wanted, and the lengths of the policy and of the upload.
REQUEST: Final = struct.Struct("!?IQ")
#: Said before each request: whatever else a worker has said by then, it is of no use. A package that was upgraded
#: beneath a running application is told apart by the versions.
READY: Final = f"protocol 1, Pillow {PIL.__version__}\n".encode()
#: An answer is the pictures, each a mode and its pixels (whose number the parent knows), and then DONE; or it breaks
#: off with what has gone wrong.
DONE, CORRUPT, MEMORY = b"D", b"C", b"M"
MODES: Final = {b"3": "RGB", b"4": "RGBA"}
_SIGNS: Final = {mode: sign for sign, mode in MODES.items()}

#: Files that a worker may have open: the two pipes, three times nothing, and a margin for what Python loads late.
_FILES: Final = 32
#: By how many times a worker outlives the time for a picture if nobody ends it, because its parent is gone.
_ORPHAN: Final = 2


def as_json(policy: Policy) -> bytes:
    """Return a policy as JSON."""
    fields = {name: getattr(policy, name) for name in Policy.__dataclass_fields__}
    fields["formats"] = sorted(policy.formats)
    fields["renditions"] = {name: asdict(rendition) for name, rendition in policy.renditions.items()}
    return json.dumps(fields).encode()


def from_json(text: bytes) -> Policy:
    """Return the policy again."""
    fields: dict[str, Any] = json.loads(text)
    for name in ("size", "background"):
        fields[name] = tuple(fields[name])
    fields["renditions"] = {
        name: Rendition(**rendition | {"size": tuple(rendition["size"])})
        for name, rendition in fields["renditions"].items()
    }
    return Policy(**fields)


def answer(data: bytes, policy: Policy, *, pictures: bool) -> Generator[bytes]:
    """Do the work, and yield the parts of the answer. Why a picture is corrupt stays here."""
    try:
        with decoded(data, policy) as (image, rebuilt, steps):
            for picture in rendered(image, rebuilt, steps, policy) if pictures else ():
                pixels = picture.tobytes()  # before anything is said: there may be no memory for them
                yield _SIGNS[picture.mode]
                yield pixels
    except Corrupt:
        yield CORRUPT
    except Rejected:  # of memory: the parent has asked for everything else that could be refused
        yield MEMORY
    else:
        yield DONE


def main(arguments: Sequence[str]) -> None:
    """Work until the parent closes the pipe: bytes of memory, seconds for a picture."""
    memory, seconds = int(arguments[0]), float(arguments[1])
    requests, answers = (os.fdopen(os.dup(number), mode) for number, mode in ((0, "rb"), (1, "wb")))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    _mind_signals()
    _warm_up()
    os.chdir("/")
    _limit(memory)
    while True:
        answers.write(READY)
        answers.flush()
        if not (head := requests.read(REQUEST.size)):
            return
        pictures, policy_size, size = REQUEST.unpack(head)
        policy = from_json(requests.read(policy_size))
        data = requests.read(size)
        _limit_time(seconds)
        try:
            for part in answer(data, policy, pictures=pictures):
                _limit_time(0)  # the parent may be busy with the picture before
                answers.write(part)
                answers.flush()
                _limit_time(seconds)
        except MemoryError:
            answers.write(MEMORY)
            answers.flush()
        _limit_time(0)
        del data


def _mind_signals() -> None:
    """
    Be ended by the limits of time, and by nobody else who means the application.

    What the application blocks or ignores is inherited. A service manager sends SIGTERM to all processes: the
    application may go on with what is under way, and its end is ours.
    """
    if sys.platform == "win32":
        return
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _warm_up() -> None:
    """Load all that decoding loads, before there is less of everything."""
    import safeupload._icc  # noqa: F401, PLC0415

    with suppress(ImportError):
        import pillow_heif  # noqa: F401, PLC0415 - an extra


def _limit(memory: int) -> None:
    """Take no more than so many bytes above what is taken now, and write nothing."""
    if sys.platform == "win32":
        return
    taken = 0
    with suppress(OSError):  # only Linux tells
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: _FILES}
    if taken:
        limits[resource.RLIMIT_AS] = taken + memory
    for which, most in limits.items():
        allowed = resource.getrlimit(which)[1]
        lower = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(which, (lower, lower))


def _limit_time(seconds: float) -> None:
    """
    Be ended by the kernel if a picture takes longer than the parent waits, and the parent is not there to see it.

    0 ends that: whoever has nothing to do may wait for ever.
    """
    if sys.platform == "win32":
        return
    signal.setitimer(signal.ITIMER_REAL, _ORPHAN * seconds)
    if not seconds:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = int(used.ru_utime + used.ru_stime + seconds) + 1
    allowed = resource.getrlimit(resource.RLIMIT_CPU)[1]
    lower = processor if allowed == resource.RLIM_INFINITY else min(processor, allowed)
    resource.setrlimit(resource.RLIMIT_CPU, (lower, allowed))
