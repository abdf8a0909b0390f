"""
A worker: a process that decodes, one picture after the other, until its parent is gone.

It knows nothing of the application: no environment, no open files, no network connection, no working folder. What it
may take is limited by the kernel, so that a decoder that has gone wrong, or has been taken over, can do no more than
answer nonsense; it is no sandbox, though, and the kernel's other doors are open to it.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

from safeupload._decode import decoded
from safeupload._render import render
from safeupload.errors import Corrupt, Rejected
from safeupload.policy import Policy, Rendition

if sys.platform != "win32":
    import resource

#: What a request begins with: whether pictures are wanted, and the lengths of the policy and of the upload.
REQUEST: Final = struct.Struct("!?IQ")
#: What an answer begins with: how it went, and how many pictures follow, each with its length.
ANSWER: Final = struct.Struct("!BI")
LENGTH: Final = struct.Struct("!Q")
READY: Final = b"R"
DONE, CORRUPT, MEMORY = range(3)

#: Files that a worker may have open: the two pipes, three times nothing, and a margin for what Python loads late.
_FILES: Final = 32
#: By how many times a worker outlives the time for a picture if nobody ends it, because its parent is gone.
_ORPHAN: Final = 2


def encoded(policy: Policy) -> bytes:
    """Return a policy as JSON."""
    fields = {name: getattr(policy, name) for name in Policy.__dataclass_fields__}
    fields["formats"] = sorted(policy.formats)
    fields["renditions"] = {name: asdict(rendition) for name, rendition in policy.renditions.items()}
    return json.dumps(fields).encode()


def decoded_policy(text: bytes) -> Policy:
    """Return the policy again."""
    fields: dict[str, Any] = json.loads(text)
    for name in ("size", "background"):
        fields[name] = tuple(fields[name])
    fields["renditions"] = {
        name: Rendition(**{**rendition, "size": tuple(rendition["size"])})
        for name, rendition in fields["renditions"].items()
    }
    return Policy(**fields)


def answer(data: bytes, policy: Policy, *, pictures: bool) -> list[bytes]:
    """Do the work, and return the parts of the answer. Why a picture is corrupt stays here."""
    try:
        with decoded(data, policy) as (image, rebuilt, steps):
            made = [each.data for each in render(image, rebuilt, steps, policy)] if pictures else []
    except Corrupt:
        return [ANSWER.pack(CORRUPT, 0)]
    except Rejected:  # of memory: the parent has asked for everything else that could be refused
        return [ANSWER.pack(MEMORY, 0)]
    return [ANSWER.pack(DONE, len(made)), *(LENGTH.pack(len(each)) for each in made), *made]


def main(arguments: Sequence[str]) -> None:
    """Work until the parent closes the pipe: bytes of memory, seconds for a picture."""
    memory, seconds = int(arguments[0]), float(arguments[1])
    requests, answers = (os.fdopen(os.dup(number), mode) for number, mode in ((0, "rb"), (1, "wb")))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.chdir("/")
    _warm_up()
    _limit(memory)
    answers.write(READY)
    answers.flush()
    while head := requests.read(REQUEST.size):
        pictures, policy_size, size = REQUEST.unpack(head)
        policy = decoded_policy(requests.read(policy_size))
        data = requests.read(size)
        _limit_time(seconds)
        try:
            parts = answer(data, policy, pictures=pictures)
        except MemoryError:
            parts = [ANSWER.pack(MEMORY, 0)]
        del data
        _send(answers, parts)
        _limit_time(0)


def _send(answers: IO[bytes], parts: Sequence[bytes]) -> None:
    for part in parts:
        answers.write(part)
    answers.flush()


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
        resource.setrlimit(which, (most, most))


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
    resource.setrlimit(resource.RLIMIT_CPU, (processor, resource.getrlimit(resource.RLIMIT_CPU)[1]))
