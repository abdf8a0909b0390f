"""What a piece of work costs: time of the processors, and memory above what the process had before."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"  # see proc_pid_clear_refs(5)

MB: Final = 1e6


def arguments(about: str, repeat: int) -> argparse.ArgumentParser:
    """Return what the command lines of all scripts have, to add to."""
    parser = argparse.ArgumentParser(description=about.strip().partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=repeat, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1, help="make the pictures smaller by this factor")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    return parser


class Cost(NamedTuple):
    """Seconds of all threads, seconds that went by, and bytes above the baseline (None where nothing tells)."""

    cpu: float
    wall: float
    peak: int | None


def cost(work: Callable[[], object]) -> Cost:
    """
    Run the work once and return what it cost.

    The peak is that of the whole process, so it counts the rasters that decoders allocate outside of Python. It needs
    Linux. What was in memory before, such as the upload's bytes, is not counted.
    """
    before = reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu, wall, peak_above(before))


def reset_peak() -> int | None:
    """Forget the peak so far; return the memory in use now."""
    if not _CLEAR_REFS.exists():
        return None
    _CLEAR_REFS.write_text(_RESET_PEAK)
    return _memory("VmRSS")


def peak_above(before: int | None) -> int | None:
    """Return how far memory rose above what `reset_peak` returned."""
    return None if before is None else max(0, _memory("VmHWM") - before)


def _memory(name: str) -> int:
    """Return a field of the process's status in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS} has no {name}")
    return int(found[1]) << 10


def megabytes(peak: float | None) -> str:
    """Return a peak for a table."""
    return "-" if peak is None else f"{peak / MB:.1f}"
