"""What a piece of work costs: time, and memory above the state before it."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from safeupload._image import normalize
from safeupload.errors import Rejected
from safeupload.policy import Policy

_PROC: Final = Path("/proc")
_RESET_PEAK: Final = "5"  # Linux: proc_pid_clear_refs(5)
_TRIED: Final = ("JPEG", "PNG", "WEBP", "GIF")


@dataclass
class Cost:
    """Seconds of wall time, and bytes of memory at the peak (None where the system does not tell)."""

    seconds: float = 0.0
    peak: int | None = None


@contextmanager
def measured() -> Generator[Cost]:
    """Measure the block; the result is there once it has ended, however it ends."""
    cost = Cost()
    before = reset_peak()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - start
        cost.peak = peak_above(before)


def reset_peak() -> int | None:
    """
    Begin a new measurement of this process's peak; return its memory now in bytes, None where that is unknown.

    Memory that is free but kept by the C library goes back first: reused, it would not show in the peak.
    """
    if sys.platform != "linux":
        return None
    gc.collect()
    with suppress(OSError, AttributeError):  # other C libraries have no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
    try:
        (_PROC / "self" / "clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return None
    return _status("self", "VmRSS")


def peak_above(before: int | None, process: str = "self") -> int | None:
    """Return by how much the peak of a process exceeds what `reset_peak` returned in it."""
    peak = None if before is None else _status(process, "VmHWM")
    return None if peak is None or before is None else max(0, peak - before)


def _status(process: str, name: str) -> int | None:
    """Return one line of /proc/PID/status in bytes."""
    try:
        found = re.search(rf"^{name}:\s+([0-9]+) kB$", (_PROC / process / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024


def warm_up(policy: Policy) -> None:
    """Have each decoder run once, so that the first file does not pay for loading it."""
    picture = Image.new("RGB", (64, 64), (200, 100, 50))
    for name in _TRIED:
        out = BytesIO()
        picture.save(out, name)
        with suppress(Rejected):  # of a format that the policy does not take
            normalize(out.getvalue(), policy)


def milliseconds(seconds: float) -> str:
    """Return a time for a table."""
    return f"{seconds * 1000:.1f}" if seconds < 1 else f"{seconds * 1000:.0f}"


def megabytes(count: int | None) -> str:
    """Return a number of bytes for a table, "-" where it is unknown."""
    return "-" if count is None else f"{count / 1e6:.1f}"
